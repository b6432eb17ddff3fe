"""Judges that are files: how they are prepared, what they are called, what is refused."""

import json
import logging

import gallery
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from absl import flags
from absl.testing import flagsaver
from onnx_networks import Network

from experiments import judge_files, panel
from mia_jax import faces
from mia_jax.evidence import judges
from mia_jax.faces import protocol
from mia_jax.recognizer import preprocessing
from mia_jax.recognizer.preprocessing import Preprocessing
from mia_jax.runtime.errors import MissingError, UserError

SIDE = gallery.SIDE
NAMES = tuple(f"p{n}" for n in range(12))
LOADED = faces.Faces(
    (gallery.photographs()[:12].reshape(120, SIDE, SIDE, 3) / 255).astype(np.float32),
    np.repeat(np.arange(12), 10).astype(np.int32),
    NAMES,
    "",
)
ROLES = protocol.of_registered(dict.fromkeys(NAMES, 10), NAMES, 0)


@pytest.fixture(autouse=True)
def nothing_read_before(monkeypatch):
    flags.FLAGS.mark_as_parsed()
    for cached in (judge_files._read, judge_files._embedder):
        cached.cache_clear()


def network(how, net=None, side=SIDE):
    """Features along the directions in which people differ, of pictures prepared in one way."""
    net = net or Network()
    kernel, bias = gallery.weights(12)
    x = net.add("Mul", "image", net.weight(np.array(how.deviation, np.float32)))
    x = net.add("Add", x, net.weight(np.array(how.mean, np.float32)))
    x = net.add("Div", x, net.weight(np.float32(how.range)))
    if how.channels == preprocessing.BGR:
        x = net.add("Gather", x, net.weight(np.array([2, 1, 0])), axis=3)
    # What is far from [0, 1] is lost, as in a network that was not trained on it.
    x = net.add("Clip", x, net.weight(np.float32(0)), net.weight(np.float32(1)))
    x = net.add("Gemm", net.add("Flatten", x), net.weight(kernel), net.weight(bias))
    return net.model(x, (side, side, 3), outputs=None)


def judge_of(path, loaded=LOADED):
    with flagsaver.flagsaver(judges=[], judge=[str(path)]):
        (made,) = panel.from_flags(loaded, ROLES).embedders
    return made


WAYS = {
    "RGB in [0, 1]": Preprocessing((SIDE, SIDE)),
    "RGB in [0, 255]": Preprocessing((SIDE, SIDE), range=255.0),
    "BGR in [-1, 1]": Preprocessing((SIDE, SIDE), "BGR", mean=(0.5,), deviation=(0.5,)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_judge_finds_out_how_its_pictures_are_prepared(tmp_path, caplog, way):
    path = gallery.save(network(WAYS[way]), tmp_path / "eyes.v2.onnx")
    with caplog.at_level(logging.INFO):
        made = judge_of(path)
    assert made.name == "eyes.v2"
    assert "The judge eyes.v2 names 28 of 28 photographs of the gallery right" in caplog.text
    pictures = preprocessing.prepare(WAYS[way], jnp.asarray(LOADED.images[:5]))
    session = onnxruntime.InferenceSession(path)
    expected = session.run(None, {"image": np.asarray(pictures)})[0]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(made.embed(LOADED.images[:5]), expected, atol=1e-5)


def test_what_is_said_beside_the_file_is_not_tried_otherwise(tmp_path, caplog):
    path = gallery.save(network(WAYS["RGB in [0, 255]"]), tmp_path / "eyes.onnx")
    said = {"range": 3, "mean": [0.1, 0.2, 0.3], "channels": "BGR"}
    (tmp_path / "eyes.onnx.json").write_text(json.dumps(said))
    with caplog.at_level(logging.INFO):
        made = judge_of(path)
    assert "BGR with white at 3, less 0.1, 0.2, 0.3, divided by 1" in caplog.text
    how = Preprocessing((SIDE, SIDE), "BGR", 3.0, (0.1, 0.2, 0.3))
    pictures = preprocessing.prepare(how, jnp.asarray(LOADED.images[:2]))
    session = onnxruntime.InferenceSession(path)
    expected = session.run(None, {"image": np.asarray(pictures)})[0]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(made.embed(LOADED.images[:2]), expected, atol=1e-5)


@pytest.mark.parametrize(("side", "channels"), [(32, 3), (12, 3), (24, 1)])
def test_images_of_any_size_and_color_are_resized(tmp_path, side, channels):
    path = gallery.save(network(WAYS["RGB in [0, 1]"]), tmp_path / "eyes.onnx")
    images = np.random.default_rng(0).random((120, side, side, channels), np.float32)
    made = judge_of(path, faces.Faces(images, LOADED.identities, NAMES, ""))
    seen = made.embed(images[:40])
    assert seen.shape == (40, 12)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(made.embed(images[30:31]), seen[30:31], atol=1e-5)


def test_nothing_that_tests_finds_out_the_preparation():
    sample = panel._sample(LOADED, ROLES)
    assert len(sample.images) == 64
    shown = {image.tobytes() for image in sample.images.astype(np.float32)}
    for name in NAMES:
        tests = LOADED.images[LOADED.indices_of(name)[list(ROLES.test[name])]]
        assert not shown & {image.tobytes() for image in tests}


def test_a_judge_that_knows_nobody_is_said_to_and_kept(tmp_path, caplog):
    net = Network()
    x = net.add("Mul", net.add("Flatten", "image"), net.weight(np.float32(0)))
    x = net.add("Add", x, net.weight(np.arange(SIDE * SIDE * 3, dtype=np.float32)))
    judge_of(gallery.save(net.model(x, (SIDE, SIDE, 3), outputs=None), tmp_path / "blind.onnx"))
    assert "no better than chance" in caplog.text
    assert "blind.onnx.json how its pictures are prepared" in caplog.text


def of_any_size():
    net = Network()
    x = net.add("ReduceMean", "image", axes=[1, 2], keepdims=0)
    return net.model(x, ("h", "w", 3), outputs=None)


REFUSED = {
    "missing": (None, {}, "does not exist"),
    "any size": (of_any_size, {}, r"takes pictures of any size .* size in .*eyes.onnx.json"),
    "another size": (
        lambda: network(WAYS["RGB in [0, 1]"]),
        {"size": 32},
        r"size in .*json=32x32 is not that of .*\[16, 16\]",
    ),
    "another order": (
        lambda: network(WAYS["RGB in [0, 1]"]),
        {"channels": "gray"},
        r"channels in .*json=gray does not fit .*, which takes 3 channels",
    ),
    "an unknown field": (lambda: network(WAYS["RGB in [0, 1]"]), {"sise": 3}, "sise is unknown"),
    "a detector": (lambda: gallery.classifier(kind="detector"), {}, "is it a detector"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_judge_is_refused_in_a_sentence(tmp_path, name):
    make, said, words = REFUSED[name]
    path = tmp_path / "eyes.onnx"
    if make:
        gallery.save(make(), path)
    if said:
        (tmp_path / "eyes.onnx.json").write_text(json.dumps(said))
    with pytest.raises((UserError, MissingError), match=words) as refused:
        judge_of(path)
    assert "\n" not in str(refused.value)


def test_two_files_of_one_name_are_refused_before_they_are_read(tmp_path):
    paths = [str(tmp_path / folder / "eyes.onnx") for folder in ("one", "two")]
    with (
        flagsaver.flagsaver(judges=[], judge=paths),
        pytest.raises(UserError, match="eyes, eyes need names of their own"),
    ):
        panel.from_flags(LOADED, ROLES)


def test_the_home_directory_is_meant_by_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with flagsaver.flagsaver():
        flags.FLAGS(["audit", "--judge=~/eyes.onnx", "--judge=module:function"])
        assert flags.FLAGS["judge"].value == [str(tmp_path / "eyes.onnx"), "module:function"]


DRAW = np.random.default_rng(0)
SEEN = DRAW.normal(size=(16, 12))
TURNED, _ = np.linalg.qr(DRAW.normal(size=(12, 12)))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (SEEN, True),
        (7 * SEEN @ TURNED, True),  # Rotated and scaled.
        (np.concatenate([SEEN, 0 * SEEN], axis=1), True),
        (SEEN + 0.01 * DRAW.normal(size=SEEN.shape), True),  # Rounded.
        (SEEN + 0.3 * DRAW.normal(size=SEEN.shape), False),
        (DRAW.normal(size=(16, 12)), False),
        (np.ones((16, 12)), False),  # It tells nobody from anybody.
    ],
)
def test_who_gives_the_same_answers_is_the_target(other, same):
    if same:
        with pytest.raises(UserError, match="the judge eyes gives the same answers as the target"):
            judges.check_answers("judge eyes", other, SEEN)
    else:
        judges.check_answers("judge eyes", other, SEEN)


@pytest.mark.parametrize(
    ("params", "same"),
    [
        ({"b": SEEN, "a": TURNED}, True),
        ([TURNED], True),  # The target has a layer more.
        ([SEEN, TURNED, SEEN[:3]], True),  # The judge has.
        ([SEEN, DRAW.normal(size=3)], False),
        ([np.zeros(3), np.ones(3)], False),  # Any network may have these.
        (None, False),
    ],
)
def test_who_has_the_same_weights_is_the_target(params, same):
    target = {"x": TURNED, "y": SEEN, "z": np.zeros(3)}
    if same:
        with pytest.raises(UserError, match="the judge eyes has the same weights as the target"):
            judges.check_independent("judge eyes", params, target)
    else:
        judges.check_independent("judge eyes", params, target)
