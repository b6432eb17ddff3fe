"""What a file or a model of others may ask for at most: checked before anything is allocated."""

import itertools
import math
import zipfile
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from mia_jax.runtime.errors import UserError, shorten

_HEADER = 30  # Bytes before each file within a zip archive, at least.
# Of one array: a gigabyte of float32, twice the largest layer of a VGG face network.
ELEMENTS = 2**28
SIDE = 4096  # Pixels of a picture, of which a face network has a few hundred.
JSON = 2**27  # Characters of a text of JSON: Python makes up to twenty times as many bytes of it.
A_PICTURE = 2**27  # Of one array that a model makes of a picture: half a gigabyte of float32.
_TOGETHER = 2**29  # Of all that a picture needs at one time, weights not counted.
_UNPACKED = 2**30  # Bytes of one member of an archive that is compressed.


class TooLargeError(UserError):
    """What asks for too much memory: the rest of a sentence that begins with who does."""


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


def check_size(shape: Collection[int], pictures: int = 1, most: int = A_PICTURE) -> None:
    """Refuses an array that is too large, before anything is allocated.

    Args:
      shape: Its sides.
      pictures: How many pictures are evaluated side by side.
      most: How many elements are accepted for each of them.

    Raises:
      TooLargeError: If it has more.
    """
    count = 1
    for side in shape:  # Python's own integers do not overflow.
        count *= int(side)
    if count > most * max(pictures, 1):
        raise TooLargeError(
            f"it asks for an array of {'x'.join(str(side) for side in shape)}, and at most "
            f"{most} elements a picture are accepted"
        )


def check_traced(traced: Any, pictures: int = 1, most: int = A_PICTURE) -> None:
    """Refuses a function for what it makes on its way, before it is compiled.

    A small result may follow from what no memory holds, such as a product of which only a sum is
    kept; and arrays that are acceptable each may be too many together.

    Args:
      traced: `jax.core.ClosedJaxpr`.
      pictures: How many pictures are evaluated side by side.
      most: How many elements of an array are accepted for each of them.

    Raises:
      TooLargeError: If an array has more, or so many are needed at one time.
    """
    needed = _needed(traced.jaxpr, pictures, most)
    constants = sum(math.prod(getattr(each, "shape", ())) for each in traced.consts)
    if needed + constants > _TOGETHER * max(pictures, 1):
        raise TooLargeError(
            f"it needs {needed + constants} numbers at one time, and at most {_TOGETHER} a picture "
            "are accepted"
        )


def _needed(jaxpr: Any, pictures: int, most: int) -> int:
    """Counts the elements that exist at one time, in the order of the steps."""
    last = {id(each): place for place, step in enumerate(jaxpr.eqns) for each in step.invars}
    last |= {id(each): len(jaxpr.eqns) for each in jaxpr.outvars}
    sizes: dict[int, int] = {}
    there = needed = 0
    for place, step in enumerate(jaxpr.eqns):
        within = max((_needed(each, pictures, most) for each in _inner(step)), default=0)
        for each in step.outvars:
            shape = getattr(each.aval, "shape", ())
            check_size(shape, pictures, most)
            sizes[id(each)] = math.prod(shape)
            there += sizes[id(each)]
        needed = max(needed, there + within)
        for name in {id(each) for each in (*step.invars, *step.outvars)}:
            if last.get(name, place) <= place:
                there -= sizes.pop(name, 0)
    return needed


def _inner(step: Any) -> Iterator[Any]:
    """Goes through the functions within a step, such as the body of a loop."""
    for value in step.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(each, "jaxpr", each)
            if hasattr(inner, "eqns"):
                yield inner
