"""What a file or a model of others may ask for at most: checked before anything is allocated."""

import math
import zipfile
from collections.abc import Collection, Sequence

from mia_jax.runtime.errors import UserError

# Of one array: a gigabyte of float32, twice the largest layer of a VGG face network.
ELEMENTS = 2**28
A_PICTURE = 2**27  # Of one array that a model makes of a picture: half a gigabyte of float32.
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


def check_size(shape: Collection[int], pictures: int = 1, most: int = A_PICTURE) -> None:
    """Refuses an array that is too large, of what a model makes of pictures.

    Args:
      shape: Its sides.
      pictures: How many pictures are evaluated side by side.
      most: How many elements are accepted for each of them.

    Raises:
      UserError: If it has more.
    """
    if math.prod(int(side) for side in shape) > most * max(pictures, 1):
        raise UserError(
            f"it asks for an array of {'x'.join(str(side) for side in shape)}, and at most "
            f"{most} elements a picture are accepted"
        )


def check_unpacked(where: str, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuses an archive that unpacks to more than memory may hold.

    A member that is not compressed takes no more than the file itself does.

    Args:
      where: The archive, in an error.
      members: What is in it.

    Raises:
      UserError: If what is compressed has more than a gigabyte, or is there twice.
    """
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
