"""What a user can mend, told apart from what is a bug: the errors of every room.

A binary says the sentence of a `UserError` and ends; anything else keeps its traceback.
"""

from collections.abc import Sequence

_NAMED = 10  # A message names this many and counts the rest.
_SHOWN = 60  # Characters of what a user gave.


class UserError(ValueError):
    """What a user can mend: one sentence with the flag, file or value, and what is accepted."""


class MissingError(UserError, FileNotFoundError):
    """The same, where something is not there."""


def printable(text: str) -> str:
    """Returns a text in which what could move a terminal's cursor, or end a line, is spelled out.

    Args:
      text: Anything, such as a name that somebody else chose.
    """
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def shorten(text: str) -> str:
    """Returns a text, or the beginning of one too long for a message, in one line."""
    text = printable(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def list_some(names: Sequence[str]) -> str:
    """Returns the first few names, and how many more there are, for a message."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(printable(name) for name in names[:_NAMED]) + more
