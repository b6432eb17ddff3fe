"""Landmarks of faces, for a prior that tells a face's shape from its texture.

A landmark function takes images `[n, height, width, channels]` in [0, 1] to points
`[n, points, 2]`, row and column in pixels, NaN for an image without a face. dlib's is built in.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from mia_jax.faces import images
from mia_jax.runtime import packages
from mia_jax.runtime.errors import MissingError, UserError

LandmarkFn = Callable[[np.ndarray], np.ndarray]

PACKAGE = "face_recognition_models"
_FILE = "shape_predictor_68_face_landmarks.dat"
_POINTS = 68
_SIDE = 256  # Of the longer side, as the detector sees it.


def dlib_landmarks() -> LandmarkFn:
    """Loads dlib's predictor of 68 landmarks: jaw, brows, nose, eyes and mouth.

    The predictor was trained on iBUG 300-W, whose license excludes commercial use; that of five
    points, which does not, shows too little of a face. The package face_recognition_models carries
    both: extra judge.

    Returns:
      The landmark function.

    Raises:
      MissingError: If dlib or the predictor is not installed.
      UserError: If the predictor's file is damaged.

    Source: Kazemi and Sullivan 2014, "One millisecond face alignment with an ensemble of regression
      trees"; github.com/davisking/dlib-models.
    """
    path = _path()
    try:
        import dlib
    except ImportError as error:
        raise _missing("dlib is not installed") from error
    detector = dlib.get_frontal_face_detector()
    try:
        predictor = dlib.shape_predictor(str(path))
    except RuntimeError as error:
        raise UserError(
            f"{path} is damaged ({error}): pip install --force-reinstall {PACKAGE}==0.3.0"
        ) from error

    def find(faces: np.ndarray) -> np.ndarray:
        return np.stack([_look(detector, predictor, face) for face in np.asarray(faces)])

    return find


def _look(detector: Any, predictor: Any, image: np.ndarray) -> np.ndarray:
    """Returns the landmarks of the largest face in an image, NaN where there is none."""
    scale = _SIDE / max(image.shape[:2])
    picture = images.picture(image).convert("RGB")
    size = (round(scale * image.shape[1]), round(scale * image.shape[0]))
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
    faces = detector(pixels)
    if not faces:
        return np.full((_POINTS, 2), np.nan)
    parts = predictor(pixels, max(faces, key=lambda face: face.area())).parts()
    # The middle of a pixel is at whole numbers, before and after scaling.
    return (np.array([[part.y, part.x] for part in parts]) + 0.5) / scale - 0.5


def _path() -> pathlib.Path:
    """Finds the predictor in its package, which cannot be imported without pkg_resources."""
    found = packages.files(PACKAGE)
    if found is None:
        raise _missing(f"{PACKAGE} is not installed")
    if _FILE not in found:
        raise MissingError(
            f"the package {PACKAGE} lacks {_FILE}: pip install --force-reinstall {PACKAGE}==0.3.0"
        )
    return found[_FILE]


def _missing(what: str) -> MissingError:
    """Says what to install."""
    return MissingError(f"landmarks need dlib, but {what}: {packages.hint('judge')}")
