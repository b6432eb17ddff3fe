"""Face embedders: functions from images to vectors, which lie near each other for one person.

An embedder was trained elsewhere, for people in general; it knows the people here only by the
photographs that `judges.embedder_judge` shows it. That makes it a stranger to the target, and its
word the strongest of the evidence. dlib's is built in; another is one function.
"""

import atexit
import concurrent.futures
import functools
import hashlib
import importlib.util
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from mia_jax.faces import images
from mia_jax.runtime import packages, workload
from mia_jax.runtime.errors import MissingError, UserError

DLIB = "dlib"
_PACKAGE = "face_recognition_models"
_WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"
_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
# Of real ORL photographs (128 pixels, people of seed 10) dlib's embedder ranks all first at sides
# of 128 to 320 and 98.6% at 384; its detector finds 98.0, 95.8, 99.0, 98.8 and 98.3% of the faces
# at 128, 192, 256, 320 and 384.
_SIDE = 256
_REMEMBERED = 100_000  # Images whose features are kept: of many clones, as numbers only.


class Embedder(NamedTuple):
    """A function from images to vectors, with a name.

    Attributes:
      name: What to call it.
      embed: From images `[n, height, width, channels]` float32 in [0, 1] to `[n, features]`.
      detect: From the same to bool `[n]`, whether a face is found; None where it cannot tell.
    """

    name: str
    embed: Callable[[Any], np.ndarray]
    detect: Callable[[Any], np.ndarray] | None = None


def dlib_installed() -> bool:
    """Tells whether dlib and the package with its weights are installed."""
    carried = packages.files(_PACKAGE) is not None
    return carried and importlib.util.find_spec("dlib") is not None


def dlib_embedder(processes: int = 1) -> Embedder:
    """Makes dlib's face embedder, a residual network trained by a metric loss on 7,485 people.

    A face is found by the detector of oriented gradients and aligned by five points; where none is
    found, the whole frame is taken for one. The people that trained it are celebrities: it may
    have met those of VGGFace2, and none of ORL. An image takes 80 ms of a core.

    Args:
      processes: How many to look with. More than one need a program whose main module is guarded by
        `if __name__ == "__main__"`.

    Returns:
      The embedder, to `[n, 128]`, with its detector.

    Raises:
      MissingError: If dlib or its weights are not installed.
      UserError: If a file of weights is damaged.

    Source: Davis King, "High Quality Face Recognition with Deep Metric Learning", 2017;
      github.com/davisking/dlib-models. The weights are public domain.
    """
    networks = _networks()
    look: Callable[[Sequence[np.ndarray]], Iterable[np.ndarray]] = functools.partial(
        map, functools.partial(_look, networks)
    )
    if processes > 1:  # dlib holds Python's lock while it computes, so threads do not help.
        pool = concurrent.futures.ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), initializer=_start
        )
        atexit.register(pool.shutdown)  # Not as late as its collection: modules are gone by then.
        look = functools.partial(pool.map, _look_here, chunksize=4)
    remembered = _remembering(look)
    return Embedder(
        DLIB,
        lambda images: remembered(images)[:, :-1],
        lambda images: remembered(images)[:, -1] > 0,
    )


class _Networks(NamedTuple):
    """What dlib needs, loaded."""

    dlib: Any
    detector: Any
    predictor: Any
    network: Any


def _networks() -> _Networks:
    """Loads dlib and its weights."""
    weights, landmarks = _files([_WEIGHTS, _LANDMARKS])
    try:
        import dlib
    except ImportError as error:
        raise _missing() from error
    return _Networks(
        dlib,
        dlib.get_frontal_face_detector(),
        _load(dlib.shape_predictor, landmarks),
        _load(dlib.face_recognition_model_v1, weights),
    )


def _look(networks: _Networks, image: np.ndarray) -> np.ndarray:
    """Returns an image's 128 features, and 1 if a face is found in it, else 0."""
    dlib, pixels = networks.dlib, _pixels(image)
    faces = networks.detector(pixels)
    whole = dlib.rectangle(0, 0, _SIDE - 1, _SIDE - 1)
    face = max(faces, key=lambda each: each.area()) if faces else whole
    chip = dlib.get_face_chip(pixels, networks.predictor(pixels, face))
    return np.array([*networks.network.compute_face_descriptor(chip), len(faces) > 0], np.float32)


_HERE: list[_Networks] = []  # In a process of the pool, which loads them once.


def _start() -> None:
    """Prepares a process of the pool, which is interrupted and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _HERE.append(_networks())


def _end_with_parent() -> None:
    """Ends this process once its parent is gone, killed or not."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _look_here(image: np.ndarray) -> np.ndarray:
    """Looks at an image in a process of the pool."""
    return _look(_HERE[0], image)


def own_embedder(
    name: str, function: Callable[[np.ndarray], ArrayLike], image_shape: Sequence[int]
) -> Embedder:
    """Makes an embedder of a user's function, once it is seen to work.

    Args:
      name: What to call it.
      function: From images `[n, height, width, channels]` float32 in [0, 1] to `[n, features]`.
      image_shape: Height, width and channels of the images that it will be shown.

    Returns:
      The embedder.

    Raises:
      UserError: If the function fails on two images of noise, or what it returns is not finite or
        not of that shape.
    """
    noise = np.random.default_rng(0).random((2, *image_shape), np.float32)
    try:
        vectors = np.asarray(function(noise), np.float32)
    except Exception as error:
        raise UserError(
            f"the judge {name} fails on float32 images of shape {noise.shape} in [0, 1]: "
            f"{type(error).__name__}: {error}"
        ) from error
    if vectors.ndim != 2 or len(vectors) != 2 or not vectors.size:
        raise UserError(
            f"the judge {name} returns {vectors.shape} for images of shape {noise.shape}: it must "
            "return [n, features]"
        )
    if not np.isfinite(vectors).all():
        raise UserError(f"the judge {name} returns values that are not finite")

    def look(new: Sequence[np.ndarray]) -> Iterable[np.ndarray]:
        return workload.in_batches(function, np.stack(new)).astype(np.float32) if new else ()

    return Embedder(name, _remembering(look))


def _remembering(
    look: Callable[[Sequence[np.ndarray]], Iterable[np.ndarray]],
) -> Callable[[Any], np.ndarray]:
    """Applies a slow function of many images to those that it has not seen yet.

    The photographs of an evaluation are enrolled, are a gallery and are strangers; a person's
    clones are compared with others'.
    """
    known: dict[bytes, np.ndarray] = {}

    def apply(images: np.ndarray | jax.Array) -> np.ndarray:
        pixels = np.asarray(images)
        keys = [hashlib.sha256(image.tobytes()).digest() for image in pixels]
        if len(known) > _REMEMBERED:
            known.clear()
        new = {key: image for key, image in zip(keys, pixels, strict=True) if key not in known}
        known.update(zip(new, look([*new.values()]), strict=True))
        return np.stack([known[key] for key in keys])

    return apply


def _pixels(image: np.ndarray) -> np.ndarray:
    """Returns an image as dlib takes it, uint8 `[256, 256, 3]`; what is not finite is black."""
    picture = images.picture(image).convert("RGB")
    return np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))


def _files(names: Sequence[str]) -> list[pathlib.Path]:
    """Finds files of the package of weights, which cannot be imported without pkg_resources."""
    found = packages.files(_PACKAGE)
    if found is None:
        raise _missing()
    for name in names:
        if name not in found:
            raise MissingError(
                f"the package {_PACKAGE} lacks {name}: pip install --force-reinstall "
                f"{_PACKAGE}==0.3.0"
            )
    return [found[name] for name in names]


def _load(kind: Callable[[str], Any], path: pathlib.Path) -> Any:
    """Reads a file of weights."""
    try:
        return kind(str(path))
    except RuntimeError as error:
        raise UserError(
            f"{path} is damaged ({error}): pip install --force-reinstall "
            "face_recognition_models==0.3.0"
        ) from error


def _missing() -> MissingError:
    """Says what to install."""
    return MissingError(
        'the judge dlib needs dlib and its weights, which are not installed: pip install "mia_jax'
        '[judge]"'
    )
