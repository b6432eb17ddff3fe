"""VGGFace2 for TensorFlow Datasets, cropped to the faces, from the archives its authors made.

Importing this module registers the dataset as "vgg_face2". It imports tensorflow-datasets, which
takes a second, so `datasets.load_tfds` imports it only when asked for a dataset.
"""

import gzip
import importlib
import io
import pathlib
import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image
from tensorflow_datasets.core import shuffle

from mia_jax.faces import images
from mia_jax.runtime.errors import MissingError, UserError, list_some

# The authors extend a face's box by this factor, to include the whole head, before their own models
# see it (Cao et al., 2018): width and height grow by it, half of that in each direction.
BOX_EXTENSION = 0.3

_BOXES = "bb_landmark.tar.gz"
_ARCHIVES = {"train": "vggface2_train.tar.gz", "test": "vggface2_test.tar.gz"}
_JPEG_QUALITY = 95
_KEY_BITS = 128
_INDEX_BITS = 22  # 4.2 million photographs in a split; VGGFace2 has 3.1 million


class VggFace2(tfds.core.GeneratorBasedBuilder):
    """VGGFace2: 3.31 million photographs of 9131 people, 8631 in train and 500 in test.

    A photograph is cropped to its loose box, extended by `BOX_EXTENSION` and clipped to the
    picture. One without a box that overlaps it is kept whole, as the face may be anywhere.

    Records stay in the archives' order, and the metadata's "runs" holds, for each split, the
    people of consecutive records as `[name, count]`: who is on three million photographs is known
    without reading them.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Photographs cropped to the loose boxes."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    VGGFace2 must be fetched by hand. Put the archives {_ARCHIVES["train"]} and
    {_ARCHIVES["test"]}, and the boxes {_BOXES}, into the manual directory.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        """Describes the records."""
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs of 9131 people in varied pose, age and light.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "identity": tfds.features.Text(),  # n000002
                    "name": tfds.features.Text(),  # n000002/0001_01
                }
            ),
            homepage="https://github.com/ox-vgg/vgg_face2",
            citation="""@inproceedings{cao2018vggface2,
                title={{VGGFace2}: A dataset for recognizing faces across pose and age},
                author={Cao, Qiong and Shen, Li and Xie, Weidi and Parkhi, Omkar M. and
                    Zisserman, Andrew},
                booktitle={IEEE International Conference on Automatic Face and Gesture
                    Recognition},
                year={2018}}""",
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(runs={}),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        """Finds the archives."""
        archives = (*_ARCHIVES.values(), _BOXES)
        try:
            directory = pathlib.Path(dl_manager.manual_dir)
        except AssertionError as error:  # the directory is absent or empty
            reason, _, _ = str(error).partition(" Create it")
            raise MissingError(
                f"VGGFace2 needs {', '.join(archives)}, fetched by hand: {reason.rstrip('.')}"
            ) from error
        missing = [name for name in archives if not (directory / name).is_file()]
        if missing:
            raise MissingError(
                f"VGGFace2 needs {', '.join(missing)}, fetched by hand, in {directory}"
            )
        if max((directory / name).stat().st_size for name in _ARCHIVES.values()) > (
            shuffle.MAX_MEM_BUFFER_SIZE
        ):
            # Only records beyond this size pass through files, which tensorflow-datasets writes
            # with TensorFlow. Better to learn that it is missing now than after an hour.
            importlib.import_module("tensorflow")
        return {
            split: self._generate_examples(split, directory / archive, directory / _BOXES)
            for split, archive in _ARCHIVES.items()
        }

    def _generate_examples(
        self, split: str, archive: pathlib.Path, boxes: pathlib.Path
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields the readable photographs of a split, and note whose they are."""
        names, corners = _read_boxes(boxes, split)
        runs: list[list[Any]] = []
        self.info.metadata["runs"][split] = runs
        unreadable: list[str] = []
        whole: list[str] = []
        index = 0
        for match, encoded in _read_archive(archive, rf"{split}/((n\d{{6}})/\d+_\d+)\.jpg"):
            name, identity = match.groups()
            try:
                image = images.read_image(io.BytesIO(encoded)).convert("RGB")
            except UserError:
                unreadable.append(name)
                continue
            row = np.searchsorted(names, name.encode())
            found = row < len(names) and names[row] == name.encode()
            box = _crop_box(corners[row], image.size) if found else None
            if box is None:
                whole.append(name)

            if not runs or runs[-1][0] != identity:
                runs.append([identity, 0])
            runs[-1][1] += 1
            # Records too many for memory are sorted in a thousand files, by the top bits of keys
            # of 128 bits. An unshifted index would put all of them into the first file.
            yield (
                index << (_KEY_BITS - _INDEX_BITS),
                {"image": _jpeg(image.crop(box)), "identity": identity, "name": name},
            )
            index += 1

        if not index:
            raise UserError(
                f"the archive {archive} has no readable photograph named like "
                f"{split}/n000002/0001_01.jpg"
            )
        if unreadable:
            logging.warning(
                "%d of %d photographs in %s are not readable and are left out: %s.",
                len(unreadable),
                len(unreadable) + index,
                archive.name,
                list_some(unreadable),
            )
        if whole:
            logging.warning(
                "%d of %d photographs in %s have no box that overlaps them and are kept whole: %s.",
                len(whole),
                index,
                archive.name,
                list_some(whole),
            )


def _read_archive(archive: pathlib.Path, pattern: str) -> Iterator[tuple[re.Match[str], bytes]]:
    """Yields path and content of a tar's regular files whose path matches, in the tar's order.

    The archive is read as a stream and nothing is extracted, so neither the paths nor the links
    of its members can reach outside of it.
    """
    try:
        # Unlike tarfile's own decompression, gzip notices an end cut off between two members.
        with gzip.open(archive) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as tar:
            for member in tar:
                match = re.fullmatch(rf"(?:\./)?{pattern}", member.name)
                if match and member.isreg() and (stream := tar.extractfile(member)):
                    yield match, stream.read()
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"the archive {archive} is damaged or incomplete ({error})") from error


def _read_boxes(archive: pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a split's loose boxes: sorted photograph names `[n]`, and x, y, w, h int `[n, 4]`."""
    table = f"bb_landmark/loose_bb_{split}.csv"
    contents = [content for _, content in _read_archive(archive, re.escape(table))]
    if not contents:
        raise UserError(f"the archive {archive} lacks {table}")
    try:
        # As Python strings and tuples, three million boxes would take more than a gigabyte.
        rows = np.loadtxt(
            io.StringIO(contents[-1].decode("ascii")),  # a tar's last member of a name counts
            dtype=[("name", "S24"), ("box", np.int32, 4)],
            delimiter=",",
            quotechar='"',
            skiprows=1,
            ndmin=1,
        )
    except ValueError as error:
        raise UserError(f"{table} in {archive} has no rows NAME_ID,X,Y,W,H ({error})") from error
    rows = rows[np.argsort(rows["name"])]
    return rows["name"], rows["box"]


def _crop_box(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Extends a box (x, y, w, h) and clip it to the picture; None if the two do not overlap.

    Returns:
      Left, top, right and bottom edges, as Pillow wants them.
    """
    x, y, width, height = box.tolist()
    left, top = max(x, 0), max(y, 0)
    if min(x + width, size[0]) <= left or min(y + height, size[1]) <= top:
        return None
    margin_x, margin_y = width * BOX_EXTENSION / 2, height * BOX_EXTENSION / 2
    return (
        max(round(x - margin_x), 0),
        max(round(y - margin_y), 0),
        min(round(x + width + margin_x), size[0]),
        min(round(y + height + margin_y), size[1]),
    )


def _jpeg(image: Image.Image) -> bytes:
    """Encodes an image with little loss."""
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=_JPEG_QUALITY)
    return encoded.getvalue()
