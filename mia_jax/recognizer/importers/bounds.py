"""How much memory a model from elsewhere may ask for."""

import math
from collections.abc import Collection, Iterator
from typing import Any

from mia_jax.runtime.errors import UserError


class TooLargeError(UserError):
    """What asks for too much memory: the rest of a sentence that begins with who does."""


LARGEST = 2**27  # Elements of an array: half a gigabyte of float32.
_TOGETHER = 2**29  # Elements that are needed at one time, weights not counted.


def check_size(shape: Collection[int], pictures: int = 1, most: int = LARGEST) -> None:
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


def check_traced(traced: Any, pictures: int = 1, most: int = LARGEST) -> None:
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
