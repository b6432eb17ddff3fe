"""The attack's work as a list: chunks of restarts of one person each, in a fixed order.

The list depends on the people, the number of restarts and the size of a chunk only. Which device
does an item, and in which run, changes nothing of its clones.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


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
      chunk: Restarts in one item; a person's last item may hold fewer.

    Returns:
      The items, person by person.
    """
    return [
        Item(name, first, min(first + chunk, restarts) - 1)
        for name in identities
        for first in range(0, restarts, chunk)
    ]


def groups(items: Sequence[Item], width: int) -> Iterator[list[Item]]:
    """Groups items that are done at the same time.

    Args:
      items: The work.
      width: How many devices there are, from 1.

    Yields:
      `width` items each time, fewer at the end.
    """
    for first in range(0, len(items), width):
        yield list(items[first : first + width])
