"""What a file of others may ask for at most: checked before anything of it is allocated."""

import math
import zipfile
from collections.abc import Sequence

from mia_jax.runtime.errors import UserError

# Of one array: a gigabyte of float32, twice the largest layer of a VGG face network.
ELEMENTS = 2**28
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
