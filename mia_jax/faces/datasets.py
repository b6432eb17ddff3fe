"""Photographs from TensorFlow Datasets, read from memory or, where they are many, from disk.

The same `Faces` as those of `sources`; `vgg_face2` has the builder of a dataset of our own.
"""

import dataclasses
import importlib
import io
import os
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from mia_jax.faces import images, sources
from mia_jax.runtime import packages
from mia_jax.runtime.errors import MissingError, UserError

_CREDITS = {
    "lfw": "Labeled Faces in the Wild (Huang, Ramesh, Berg and Learned-Miller, 2007).",
    "vgg_face2": "VGGFace2 (Cao, Shen, Xie, Parkhi and Zisserman, 2018), loosely cropped.",
}


def load_tfds(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int = 128,
    channels: int | None = None,
    min_images: int = 10,
    in_memory_limit: int = 4 * 2**30,
    download: bool = False,
) -> sources.Faces:
    """Loads LFW or VGGFace2 as TensorFlow Datasets prepares them, all splits united.

    Reading prepared data needs no TensorFlow. Preparing does, for all but tiny datasets.

    Args:
      name: "lfw" or "vgg_face2".
      data_dir: TensorFlow Datasets' directory; None means its default, ~/tensorflow_datasets.
        Archives fetched by hand are looked for in its sub-directory downloads/manual.
      image_size: Side of the square images, in pixels.
      channels: 1 (gray) or 3 (RGB, the default).
      min_images: People with fewer photographs are left out.
      in_memory_limit: The most bytes of float32 images to hold in memory. If there are more,
        `Faces.images` decodes photographs from disk whenever it is indexed.
      download: Whether to prepare the dataset if it is not: lfw is downloaded, vgg_face2 is read
        from archives fetched by hand.

    Returns:
      The faces, in natural order of the people and then in the dataset's order.

    Raises:
      MissingError: The dataset, its archives, or what is needed to prepare it are missing.
      UserError: An argument is out of range, or nobody has `min_images` photographs.
    """
    if name not in _CREDITS:
        raise UserError(f"{name!r} is no dataset known here: give {' or '.join(_CREDITS)}")
    images.check_format(image_size, channels)
    sources.check_minimum(min_images)

    builder = _prepared_builder(name, data_dir, download)
    people, person, counts = np.unique(_labels(builder), return_inverse=True, return_counts=True)
    names = tuple(sorted(people[counts >= min_images].tolist(), key=sources.natural_key))
    if not names:
        raise UserError(
            f"nobody in {name} has {min_images} photographs (--min_images={min_images}): the most "
            f"are {counts.max()}, give no more"
        )
    rank = {each: index for index, each in enumerate(names)}
    identities = np.array([rank.get(each, -1) for each in people.tolist()], np.int32)[person]
    order = np.argsort(identities, kind="stable")
    positions = order[identities[order] >= 0]

    streamed = _StreamedImages(
        _records(builder), positions, (len(positions), image_size, image_size, channels or 3)
    )
    fits = 4 * int(np.prod(streamed.shape, dtype=np.int64)) <= in_memory_limit
    return sources.Faces(
        images=streamed[np.arange(len(streamed))] if fits else streamed,
        identities=identities[positions],
        names=names,
        credit=_CREDITS[name],
    )


@dataclasses.dataclass(frozen=True)
class _StreamedImages:
    """Decodes records of a data source when it is indexed, as a numpy array would be.

    Attributes:
      records: The random-access source, whose records hold encoded images.
      positions: int `[n]`, the record of each image.
      shape: `[n, height, width, channels]`.
    """

    records: Any
    positions: np.ndarray
    shape: tuple[int, int, int, int]

    def __getitem__(self, indices: Any, /) -> np.ndarray:
        """Returns the photographs at `indices`, float32 in [0, 1]."""
        positions = self.positions[indices]
        _, height, width, channels = self.shape
        decoded = np.empty((positions.size, height, width, channels), np.float32)
        for image, position in zip(decoded, positions.flat, strict=True):
            # A prepared record is a sound image, so this needs no `read_image`, whose filter of
            # warnings must not be entered from several reading threads at once.
            encoded = io.BytesIO(self.records[int(position)]["image"])
            square = images.square(images.plain(Image.open(encoded)), height)
            image[:] = images.pixels(square, channels)
        return decoded.reshape(positions.shape + self.shape[1:])

    def __len__(self) -> int:
        """Returns the number of photographs."""
        return len(self.positions)


def _prepared_builder(name: str, data_dir: str | os.PathLike[str] | None, download: bool) -> Any:
    """Returns the dataset's builder, having prepared the dataset if allowed to."""
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
            raise MissingError(
                f"preparing {name} needs TensorFlow, which is not installed: "
                f"{packages.hint('prepare')}"
            ) from error
        except MissingError:
            raise
        except (
            OSError,
            tfds.download.DownloadError,
            tfds.download.download_manager.NonMatchingChecksumError,
            tfds.download.extractor.ExtractError,
        ) as error:
            raise MissingError(f"downloading {name} failed: {error}") from error
    if not builder.info.splits:
        raise MissingError(
            f"{name} is not prepared in data_dir {builder.data_dir_root}: pass download=True "
            "(--download), or a data_dir in which it is"
        )
    if "array_record" not in {each.value for each in builder.info.available_file_formats()}:
        raise MissingError(
            f"{name} in {builder.data_dir} is prepared as {builder.info.file_format.value}, and "
            "only array_record can be read: prepare it in another data_dir"
        )
    return builder


def _records(builder: Any) -> Any:
    """Returns all splits as one random-access source, images left encoded."""
    import tensorflow_datasets as tfds

    return builder.as_data_source(
        "+".join(builder.info.splits), decoders={"image": tfds.decode.SkipDecoding()}
    )


def _labels(builder: Any) -> np.ndarray:
    """Returns the person's name of each record, str `[n]`, in the order of `_records`."""
    runs = (builder.info.metadata or {}).get("runs")
    if runs is None:
        return np.array([record["label"].decode() for record in _records(builder)])
    names, counts = zip(*(run for split in builder.info.splits for run in runs[split]), strict=True)
    return np.repeat(names, counts)
