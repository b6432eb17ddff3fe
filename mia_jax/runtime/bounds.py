"""What a file of others may ask for at most: checked before anything of it is allocated."""

import itertools
import math
import zipfile
from collections.abc import Sequence

from mia_jax.runtime.errors import UserError, shorten

_HEADER = 30  # Bytes before each file within a zip archive, at least.
# Of one array: a gigabyte of float32, twice the largest layer of a VGG face network.
ELEMENTS = 2**28
SIDE = 4096  # Pixels of a picture, of which a face network has a few hundred.
JSON = 2**27  # Characters of a text of JSON: Python makes up to twenty times as many bytes of it.
_UNPACKED = 2**30  # Bytes of one member of an archive that is compressed.


def check_elements(where: str, shape: Sequence[int]) -> None:
    """Refuses an array that no recognizer needs.

    Args:
      where: What asks for it, in an error.
      shape: Of the array.

    Raises:
      UserError: If it has more than `ELEMENTS` numbers, or a negative side.
    """
    if any(side < 0 for side in shape) or math.prod(shape) > ELEMENTS:
        raise UserError(
            f"{where} asks for an array of {'x'.join(map(str, shape))} numbers: at most {ELEMENTS} "
            "are read from a file"
        )


def check_sides(where: str, sides: Sequence[float]) -> None:
    """Refuses pictures that are larger than any face network takes.

    Args:
      where: What asks for them, in an error.
      sides: In pixels.

    Raises:
      UserError: If one has more than `SIDE`.
    """
    if max(sides, default=0) > SIDE:
        raise UserError(
            f"{where} asks for pictures of {max(sides):g} pixels: a side has at most {SIDE}"
        )


def check_unpacked(where: str, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuses an archive that unpacks to more than memory may hold.

    A member that is not compressed takes no more than the file itself does, unless several are the
    same bytes of it.

    Args:
      where: The archive, in an error.
      members: What is in it.

    Raises:
      UserError: If what is compressed has more than a gigabyte, members overlap, or one is there
        twice.
    """
    ordered = sorted(members, key=lambda each: each.header_offset)
    for one, after in itertools.pairwise(ordered):
        if one.header_offset + _HEADER + one.compress_size > after.header_offset:
            raise UserError(
                f"{where} holds files that overlap ({shorten(one.filename)}): pack it anew"
            )
    compressed = [each for each in members if each.compress_type != zipfile.ZIP_STORED]
    total = sum(each.file_size for each in compressed)
    if total > _UNPACKED:
        raise UserError(
            f"{where} unpacks to {total} bytes: at most {_UNPACKED} are unpacked, so save it "
            "without compression"
        )
    names = [each.filename for each in members]
    if len(set(names)) < len(names):
        raise UserError(f"{where} holds a file twice: each needs a name of its own")
