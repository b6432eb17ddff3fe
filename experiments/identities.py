"""Whom to attack, as the flags say."""

import os
import pathlib
import re

from experiments import path_flags
from mia_jax.faces import protocol
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.names import normalize

_IDENTITIES = path_flags.define(
    "identities",
    None,
    "Whom to attack, of the people registered with the target: names with commas between them; "
    "all; a range of classes such as 0:100, the end not included; or a file with a name in each "
    "line. By default the targeted ones.",
)


def chosen(roles: protocol.Protocol) -> tuple[str, ...]:
    """Returns the names of the people that the flags ask to attack.

    Args:
      roles: Who is who.

    Raises:
      UserError: If somebody is not registered with the target.
    """
    asked, registered = _IDENTITIES.value, roles.classes[protocol.TARGET]
    if asked is None:
        return tuple(roles.targeted)
    if asked == "all":
        return tuple(registered)
    if (ends := re.fullmatch(r"(\d+):(\d+)", asked)) and asked not in registered:
        first, end = (int(end) for end in ends.groups())
        if not first < end <= len(registered):
            raise UserError(
                f"--identities={asked} is no range of the target's {len(registered)} classes: give "
                f"FIRST:END with 0 <= FIRST < END <= {len(registered)}"
            )
        return tuple(registered[first:end])
    names = asked.split(",")
    if os.path.isfile(asked) and asked not in registered:  # noqa: PTH113 pathlib's raises where the text is too long for a path.
        names = pathlib.Path(asked).read_text(encoding="utf-8-sig").split("\n")
    names = [found for name in names if (found := normalize(name))]
    if not names:
        raise UserError(f"--identities={asked} names nobody: give at least one person")
    protocol.check_identities(roles, names)
    return tuple(dict.fromkeys(names))
