"""Photographs brought into the model's frame when they are read, each searched for faces once.

<workdir>/points.npz  the points of every face that was found, by the pixels of its photograph
"""

import contextlib
import hashlib
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from absl import logging
from PIL import Image

from experiments import console
from mia_jax.attack.generators import landmarks
from mia_jax.faces import Faces, alignment, images
from mia_jax.faces.alignment import Aligner, Alignment, PointsFn
from mia_jax.runtime import storage
from mia_jax.runtime.errors import UserError

_TIMED = 8  # Photographs after which it is said how long the rest takes, if it is worth a word.
_WORTH_A_WORD = 5.0  # Seconds.


class Frame(NamedTuple):
    """Where faces are brought to.

    Attributes:
      alignment: Where the points of a face have to be.
      kept: The file that remembers the points of all faces.
    """

    alignment: Alignment
    kept: pathlib.Path


@contextlib.contextmanager
def aligner(frame: Frame | None, directory: str | None) -> Iterator[Aligner | None]:
    """Makes what aligns the faces of a folder, with progress; what it finds is kept at the end.

    Args:
      frame: Where to; None where photographs are taken as they are.
      directory: The folder.

    Yields:
      The aligner; None without a frame.

    Raises:
      MissingError: If faces are sought, and dlib or its landmarks are not installed.
      UserError: If what was kept is damaged.
    """
    if frame is None:
        yield None
        return
    home = pathlib.Path(directory or "").expanduser()
    count = sum(path.is_file() for pattern in ("*", "*/*") for path in home.glob(pattern))
    spent: list[float] = []
    with _finder(frame.kept) as find, console.progress(count, 0, "faces", "photograph") as bar:

        def timed(photograph: Image.Image) -> np.ndarray:
            started = time.perf_counter()
            found = find(photograph)
            spent.append(time.perf_counter() - started)
            left = (count - _TIMED) * sum(spent) / _TIMED
            if len(spent) == _TIMED and left > _WORTH_A_WORD:
                logging.info("Finding the faces in %s will take about %.0f s, once", home, left)
            bar.update()
            return found

        yield Aligner(timed, frame.alignment)


@contextlib.contextmanager
def _finder(kept: pathlib.Path) -> Iterator[PointsFn]:
    """Makes what finds faces, of those photographs in which none were found before."""
    known = _read(kept)
    before = len(known)
    search: PointsFn | None = None  # It takes a second to load, and is not always needed.

    def find(photograph: Image.Image) -> np.ndarray:
        nonlocal search
        key = _key(photograph)
        if key not in known:
            search = search or landmarks.dlib_points()
            known[key] = search(photograph)
        return known[key]

    try:
        yield find
    finally:
        if len(known) > before and jax.process_index() == 0:
            _write(kept, known)


def photographs(loaded: Faces, positions: Sequence[int], frame: Frame) -> np.ndarray:
    """Reads some photographs again and aligns them; those without a face stay as they are.

    Args:
      loaded: Faces from files.
      positions: Which of them.
      frame: Where to.

    Returns:
      `[n, height, width, channels]`, of the same size and channels.
    """
    made = np.array(loaded.images[np.asarray(positions)])
    _, side, _, channels = made.shape
    with _finder(frame.kept) as find:
        for image, position in zip(made, positions, strict=True):
            photograph = images.read_image(loaded.files[position])
            found = find(photograph)
            if len(found):
                chip = alignment.align(photograph, found[0], frame.alignment, side)
                image[:] = images.pixels(chip, channels)
    return made


def _key(photograph: Image.Image) -> bytes:
    """Names a photograph by its pixels."""
    about = f"{photograph.mode} {photograph.size} ".encode()
    return hashlib.sha256(about + photograph.tobytes()).digest()


def _read(kept: pathlib.Path) -> dict[bytes, np.ndarray]:
    """Reads the points of the faces of each photograph, which is named by `_key`."""
    if not kept.exists():
        return {}
    arrays = storage.read_arrays(kept, ("photographs", "faces", "points"))
    keys, counts, points = (arrays[name] for name in ("photographs", "faces", "points"))
    whole = keys.dtype == np.uint8 and counts.dtype.kind == "i" and points.dtype.kind == "f"
    shapes = keys.shape[1:] == (32,) and counts.shape == keys.shape[:1]
    if not whole or not shapes or (counts < 0).any() or points.shape != (counts.sum(), 5, 2):
        raise UserError(f"{kept} does not hold the points of faces: delete it to redo it")
    if not np.isfinite(points).all():
        raise UserError(f"{kept} holds points that are not finite: delete it to redo it")
    split = np.split(points, np.cumsum(counts)[:-1])
    return {key.tobytes(): each for key, each in zip(keys, split, strict=True)}


def _write(kept: pathlib.Path, known: dict[bytes, np.ndarray]) -> None:
    """Writes what `_read` reads."""
    arrays = {
        "photographs": np.frombuffer(b"".join(known), np.uint8).reshape(-1, 32),
        "faces": np.array([len(each) for each in known.values()]),
        "points": np.concatenate([*known.values()]),
    }
    storage.write_arrays(kept, arrays)
