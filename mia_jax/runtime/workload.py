"""The work as lists: restarts of the attack in a fixed order, and images in batches.

The lists depend on how much there is to do and on the most that is done at once. Which device does
what, and in which run, changes nothing of the results. No list has more in it than there is to do.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

_Work = TypeVar("_Work")


class Item(NamedTuple):
    """Some restarts of one person.

    Attributes:
      identity: The person's name.
      first: Number of the first restart.
      last: Number of the last.
    """

    identity: str
    first: int
    last: int

    @property
    def restarts(self) -> int:
        """How many there are."""
        return self.last - self.first + 1


def divide(identities: Sequence[str], restarts: int, chunk: int) -> list[Item]:
    """Lists all work.

    Args:
      identities: Names of the people to attack.
      restarts: Clones of each.
      chunk: The most restarts in one item. A person's items are of one size, but for the last,
        which may hold fewer: the larger ones would only be filled up.

    Returns:
      The items, person by person.
    """
    size = max(1, _evenly(restarts, chunk))
    return [
        Item(name, first, min(first + size, restarts) - 1)
        for name in identities
        for first in range(0, restarts, size)
    ]


def bundles(items: Sequence[Item], chunk: int) -> list[list[Item]]:
    """Puts items together that one call does, so that few restarts of many people fill a device.

    Args:
      items: All work, from `divide`.
      chunk: The most restarts in one call.

    Returns:
      The items in order, in lists of one length, but for the last, which may be shorter.
    """
    if not items:
        return []
    size = _evenly(len(items), max(1, chunk // max(item.restarts for item in items)))
    return [list(items[first : first + size]) for first in range(0, len(items), size)]


def _evenly(count: int, most: int) -> int:
    """Returns the size of as few parts as there must be, when they are as equal as can be."""
    return math.ceil(count / max(1, math.ceil(count / most)))


def in_batches(function: Callable[[Any], Any], images: Any, most: int = 64) -> np.ndarray:
    """Applies a compiled function to images, few enough at a time, and none that is not asked for.

    The sizes are powers of two: a program is compiled for each of these few, however many different
    numbers of images there are, and no batch is filled up.

    Args:
      function: From `[n, ...]` to `[n, ...]`, each row of one image.
      images: `[n, ...]`, 1 or more; may be mapped from a file.
      most: The most at a time, at least 1.

    Returns:
      `[n, ...]`.
    """
    found, first = [], 0
    for size in sizes(len(images), most):
        found.append(np.asarray(function(np.asarray(images[first : first + size]))))
        first += size
    return np.concatenate(found)


def sizes(count: int, most: int) -> Iterator[int]:
    """Divides images into batches of few different sizes, powers of two, none of them filled up.

    Args:
      count: How many images there are, from 0.
      most: The most at a time, at least 1.

    Yields:
      The batches' sizes, the largest first.
    """
    size = 1 << (most.bit_length() - 1)
    while count:
        while size > count:
            size //= 2
        yield size
        count -= size


def groups(items: Sequence[_Work], width: int) -> Iterator[list[_Work]]:
    """Groups work that is done at the same time.

    Args:
      items: The work: items, or bundles of them.
      width: How many devices there are, from 1.

    Yields:
      `width` of them each time, fewer at the end.
    """
    for first in range(0, len(items), width):
        yield list(items[first : first + width])
