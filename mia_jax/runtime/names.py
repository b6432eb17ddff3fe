"""Names of people, written in one way: as folders, labels and templates spell them differently."""

import difflib
import unicodedata
from collections.abc import Collection, Iterable

from mia_jax.runtime.errors import UserError, list_some

_NO_LETTERS = "\ufeff\u200b\u200c\u200d\u2060"  # Byte-order marks, and spaces of no width.


def normalize(name: str | bytes) -> str:
    """Writes a name in one way: composed letters, no blanks around it, no byte-order mark.

    Args:
      name: As a folder or a file spells it; bytes are UTF-8.

    Returns:
      The name, in Unicode's form NFC.

    Raises:
      UserError: If bytes are no UTF-8.
    """
    try:
        text = name.decode() if isinstance(name, bytes) else str(name)
    except UnicodeDecodeError:
        raise UserError(f"the name {name!r} is no UTF-8: write it anew") from None
    text = text.translate(dict.fromkeys(map(ord, _NO_LETTERS)))
    return unicodedata.normalize("NFC", text).strip()


def check_unique(names: Iterable[str], what: str) -> None:
    """Refuses names that two have.

    Args:
      names: Normalized.
      what: What holds them, to begin the sentence with.

    Raises:
      UserError: If one occurs twice, or is empty.
    """
    listed = list(names)
    nobody = [place for place, name in enumerate(listed) if not name]
    if nobody:
        raise UserError(f"{what} has no name for number {nobody[0]}, counted from 0: give one")
    twice = [name for name in dict.fromkeys(listed) if listed.count(name) > 1]
    if twice:
        raise UserError(
            f"{what} names {list_some(twice)} twice: each needs a name of its own, and blanks "
            "around it do not count"
        )


def unmatched(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Lists names that nobody knows, each with the nearest that somebody does.

    Args:
      names: Normalized.
      known: Normalized.

    Returns:
      In words, such as "Anne (nearest: Ann)".
    """
    said = []
    folded = {each.casefold(): each for each in known}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name.casefold(), folded, 1)
            said.append(f"{name} (nearest: {folded[near[0]]})" if near else name)
    return said
