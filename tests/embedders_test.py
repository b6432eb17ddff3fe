"""Tests of the face embedders: dlib's on real faces, a user's own, and what can be wrong."""

import importlib.metadata

import numpy as np
import pytest

from mia_jax import faces
from mia_jax.evidence import embedders, judges
from mia_jax.runtime import packages
from mia_jax.runtime.errors import MissingError, UserError


def noise(count=2):
    return np.random.default_rng(0).random((count, 16, 16, 1), np.float32)


def flat(images):
    return images.reshape(len(images), -1)


def test_dlib_knows_real_people_again_and_finds_their_faces():
    pytest.importorskip("dlib", reason="needs the extra judge")
    loaded = faces.load_orl()
    photographs = {
        name: np.asarray(loaded.images[loaded.indices_of(name)]) for name in loaded.names[:6]
    }
    dlib = embedders.dlib_embedder()
    judge = judges.embedder_judge(dlib, [(name, each[:2]) for name, each in photographs.items()])
    shown = np.concatenate([each[2:4] for each in photographs.values()])
    scores = judge.match(judge.features(shown))
    np.testing.assert_array_equal(scores.argmax(axis=1), np.repeat(np.arange(6), 2))
    assert judge.features(shown).shape == (12, 128)
    assert judge.detect(shown).mean() > 0.8
    assert not judge.detect(noise()).any()


def test_dlib_takes_colors_and_what_is_no_number():
    pytest.importorskip("dlib", reason="needs the extra judge")
    embed = embedders.dlib_embedder().embed
    gray = noise(1)
    np.testing.assert_allclose(embed(gray), embed(np.repeat(gray, 3, axis=-1)), atol=1e-5)
    assert np.isfinite(embed(np.full((1, 16, 16, 1), np.nan, np.float32))).all()


def test_an_image_is_looked_at_once():
    seen = []

    def look(images):
        seen.extend(images)
        return [image.mean(axis=(0, 1)) for image in images]

    remembered = embedders._remembering(look)
    images = noise(3)
    first = remembered(images)
    np.testing.assert_array_equal(remembered(images[::-1]), first[::-1])
    np.testing.assert_array_equal(first, images.mean(axis=(1, 2)))
    assert len(seen) == 3


def test_processes_see_what_one_sees():
    pytest.importorskip("dlib", reason="needs the extra judge")
    images = noise(5)
    one, two = (embedders.dlib_embedder(processes) for processes in (1, 2))
    np.testing.assert_array_equal(one.embed(images), two.embed(images))
    np.testing.assert_array_equal(one.detect(images), two.detect(images))


def test_without_the_weights_one_sentence_says_what_to_install(monkeypatch):
    def nothing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", nothing)
    with pytest.raises(
        MissingError, match=r'pip install -e "\.\[judge\]" in the clone of mia_jax$'
    ):
        embedders.dlib_embedder()


def test_without_dlib_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(embedders, "_file", lambda name: name)
    monkeypatch.setitem(__import__("sys").modules, "dlib", None)
    with pytest.raises(
        MissingError, match=r'pip install -e "\.\[judge\]" in the clone of mia_jax$'
    ):
        embedders.dlib_embedder()


def test_a_missing_file_of_weights_is_named(monkeypatch):
    monkeypatch.setattr(packages, "files", lambda name: {})
    with pytest.raises(MissingError, match=r"lacks dlib_face_recognition_resnet_model_v1.dat: pip"):
        embedders.dlib_embedder()


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (embedders._LANDMARKS, r"shape_predictor_5_face_landmarks.dat is damaged \("),
        (embedders._WEIGHTS, r"resnet_model_v1.dat is not dlib's network for faces \("),
    ],
)
def test_a_damaged_file_of_weights_is_named(monkeypatch, tmp_path, damaged, words):
    pytest.importorskip("dlib", reason="needs the extra judge")
    files = packages.files("face_recognition_models")
    files[damaged] = tmp_path / damaged
    files[damaged].write_bytes(b"not a network")
    monkeypatch.setattr(packages, "files", lambda name: files)
    with pytest.raises(UserError, match=rf"{words}.*: pip install --force-reinstall"):
        embedders.dlib_embedder()


def test_an_own_embedder_is_shown_what_it_will_see():
    shapes = []

    def function(images):
        shapes.append((images.shape, images.dtype))
        return flat(images)

    made = embedders.own_embedder("mine", function, (16, 16, 1))
    assert shapes == [((2, 16, 16, 1), np.float32)]
    np.testing.assert_array_equal(made.embed(noise(5)), flat(noise(5)))
    assert made.detect is None


def test_an_own_embedder_is_shown_each_image_once_and_nothing_else():
    shown = []

    def function(images):
        shown.append(len(images))
        return flat(images).astype(np.float64)

    made, images = embedders.own_embedder("mine", function, (16, 16, 1)), noise(103)
    shown.clear()
    np.testing.assert_array_equal(made.embed(images[:3]), flat(images[:3]))
    found = made.embed(images[[5, 5, *range(103), 0]])
    np.testing.assert_array_equal(found[2:-1], flat(images))
    assert found.dtype == np.float32
    assert sum(shown) == 103
    assert max(shown) <= 64


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda images: images, r"returns \(2, 16, 16, 1\) for images of shape \(2, 16, 16, 1\)"),
        (lambda images: images.mean(), r"returns \(\) for"),
        (lambda images: flat(images)[:1], r"returns \(1, 256\) for"),
        (lambda images: flat(images)[:, :0], r"returns \(2, 0\) for"),
        (lambda images: flat(images) / 0 * 0, "not finite"),
        (lambda images: images.missing, "the judge mine fails on float32 images .*AttributeError"),
        (lambda: None, "the judge mine fails on float32 images .*TypeError"),
        (lambda images: "words", "the judge mine fails on float32 images"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_own_embedder_that_does_not_work_is_refused(function, words):
    with pytest.raises(UserError, match=words):
        embedders.own_embedder("mine", function, (16, 16, 1))
