"""The generator against a graph computed layer by layer, and against the original's images."""

import pathlib

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
import scipy.signal
import tiny_stylegan

from mia_jax.attack.generators import mobile_stylegan, mobile_stylegan_files
from mia_jax.runtime.errors import MissingError, UserError

# Styles and images of two draws by OpenVINO 2026.4.1 in float32, from the files of random-face
# 2021.7.21.1: the first 64 numbers of each style, the images averaged over 32 by 32 pixels, and a
# part of each.
RECORDED = pathlib.Path(__file__).parent / "data/mobile_stylegan.npz"
STYLE = np.random.default_rng(1).normal(size=tiny_stylegan.SIZE).astype(np.float32)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tiny")
    graphs = tiny_stylegan.write(directory)
    return mobile_stylegan_files.load(directory), *graphs


def test_styles_are_those_of_the_graph(tiny):
    network, mapping, _ = tiny
    expected = mapping.run(STYLE[None].astype(np.float64))[0]
    np.testing.assert_allclose(
        mobile_stylegan.style(network, STYLE), expected, rtol=1e-4, atol=1e-6
    )


def test_images_are_those_of_the_graph(tiny):
    network, _, synthesis = tiny
    expected = synthesis.run(STYLE[None].astype(np.float64)).transpose(1, 2, 0)
    found = mobile_stylegan.image(network, STYLE)
    assert found.shape == (network.side, network.side, 3) == (tiny_stylegan.SIDE,) * 2 + (3,)
    assert np.std(expected) > 0.05
    np.testing.assert_allclose(2 * found - 1, expected, rtol=1e-3, atol=1e-4)


def test_features_of_every_layer_lead_to_the_next(tiny):
    network = tiny[0]
    for last in range(tiny_stylegan.LAYERS):
        found = mobile_stylegan.features(network, STYLE, last)
        assert found.shape == (8 << last, 8 << last, mobile_stylegan.width(network, last))


@pytest.mark.parametrize("corner", [(0, 0), (3, 10), (10, 2)])
def test_a_window_becomes_its_part_of_the_image(tiny, corner):
    """But for a margin of two places, where it does not end with the image."""
    network, last, size = tiny[0], 0, 6
    features = mobile_stylegan.features(network, STYLE, last)
    row, column = start = np.minimum(corner, 8 - size)
    part = features[row : row + size, column : column + size]
    found = mobile_stylegan.window(network, STYLE, part, last, start)
    whole = mobile_stylegan.image(network, STYLE)
    factor = network.side // 8
    assert found.shape == (size * factor, size * factor, 3)
    inner = tuple(
        slice(0 if first == 0 else 2, size if first + size == 8 else size - 2) for first in start
    )
    places = np.zeros((size, size), bool)
    places[inner] = True
    kept = np.kron(places, np.ones((factor, factor))).astype(bool)
    rows, columns = (slice(factor * first, factor * (first + size)) for first in start)
    np.testing.assert_allclose(found[kept], whole[rows, columns][kept], atol=1e-5)


def test_gradient_is_that_of_finite_differences(tiny):
    network = tiny[0]
    weights = np.random.default_rng(2).normal(size=(tiny_stylegan.SIDE, tiny_stylegan.SIDE, 3))

    @jax.jit
    def total(style):
        return jnp.sum(weights * mobile_stylegan.image(network, style)) / 100

    jax.test_util.check_grads(total, (STYLE,), 1, ["rev"], 0.02, 0.02, 1e-3)


@pytest.mark.parametrize("channels", [1, 5])
def test_depthwise_convolves_each_channel_by_itself(channels):
    random = np.random.default_rng(3)
    x = random.normal(size=(6, 7, channels)).astype(np.float32)
    kernel = random.normal(size=(3, 3, channels)).astype(np.float32)
    other = random.normal(size=x.shape).astype(np.float32)
    found, pull = jax.vjp(mobile_stylegan.depthwise, x, kernel)
    for channel in range(channels):
        one = kernel[..., channel]
        expected = scipy.signal.correlate2d(x[..., channel], one, "same")
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-5)
        expected = scipy.signal.convolve2d(other[..., channel], one, "same")
        np.testing.assert_allclose(pull(other)[0][..., channel], expected, atol=1e-5)


def test_inverse_haar_keeps_energy_and_means():
    """The transform is orthonormal, and a mean stands in four pixels, halved."""
    x = np.random.default_rng(4).normal(size=(3, 5, 8)).astype(np.float32)
    found = np.asarray(mobile_stylegan.inverse_haar(x))
    np.testing.assert_allclose(np.sum(found**2), np.sum(x**2), rtol=1e-5)
    means = found.reshape(3, 2, 5, 2, 2).mean((1, 3))
    np.testing.assert_allclose(means, x[..., :2] / 2, atol=1e-6)


def test_inverse_leaky_inverts():
    x = np.linspace(-3, 3, 13, dtype=np.float32)
    there_and_back = mobile_stylegan.leaky(mobile_stylegan.inverse_leaky(x))
    np.testing.assert_allclose(there_and_back, x, rtol=1e-6)


def damage_xml(directory):
    path = directory / "SynthesisNetwork.xml"
    path.write_text(path.read_text()[:-200])


def damage_constants(directory):
    path = directory / "MappingNetwork.bin"
    path.write_bytes(path.read_bytes()[:-100])


def rename(directory):
    path = directory / "SynthesisNetwork.xml"
    path.write_text(path.read_text().replace("m.input.input", "something else"))


def empty(directory):
    (directory / "MappingNetwork.xml").write_text("<net/>")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_xml, "SynthesisNetwork.xml .* is damaged"),
        (damage_constants, r"MappingNetwork.bin is damaged \("),
        (rename, r"does not hold the generator of random-face 2021.7.21.1 \('m.input.input'\)"),
        (empty, "MappingNetwork.xml is damaged"),
    ],
)
def test_damaged_files_get_one_sentence(tmp_path, damage, message):
    tiny_stylegan.write(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=f"{message}.*: pip install --force-reinstall") as caught:
        mobile_stylegan_files.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["MappingNetwork.xml", "SynthesisNetwork.bin"])
def test_a_missing_file_gets_one_sentence(tmp_path, missing):
    tiny_stylegan.write(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(MissingError, match=f"{missing} is missing: pip install"):
        mobile_stylegan_files.load(tmp_path)


def test_a_missing_package_gets_one_sentence(monkeypatch):
    monkeypatch.setattr(mobile_stylegan_files, "PACKAGE", "no-such-package-here")
    assert not mobile_stylegan_files.installed()
    with pytest.raises(MissingError, match="no-such-package-here, which is not installed: pip"):
        mobile_stylegan_files.load()


@pytest.mark.skipif(
    not mobile_stylegan_files.installed(),
    reason="pip install --no-deps random-face==2021.7.21.1: the real generator's files",
)
def test_the_real_generator_makes_the_original_s_images():
    network = mobile_stylegan_files.load()
    assert (network.side, len(network.layers)) == (1024, 7)
    with np.load(RECORDED, allow_pickle=False) as recorded:
        style, small, crop = (recorded[name] for name in ("style", "small", "crop"))
    draws = np.random.default_rng(0).normal(size=(2, 512)).astype(np.float32)
    styles = jax.vmap(mobile_stylegan.style, (None, 0))(network, draws)
    np.testing.assert_allclose(styles[:, : style.shape[1]], style, atol=1e-4)
    found = np.asarray(jax.jit(mobile_stylegan.image)(network, styles[1]))
    means = found.reshape(32, 32, 32, 32, 3).mean((1, 3))
    np.testing.assert_allclose(2 * means - 1, small[1], atol=2e-3)  # Recorded as float16.
    np.testing.assert_allclose(2 * found[400:416, 380:396] - 1, crop[1], atol=2e-3)
