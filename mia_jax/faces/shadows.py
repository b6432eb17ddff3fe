"""Shadows: the auxiliary people as a world of their own, where an attacker may look.

Whoever attacks knows the auxiliary people's faces, and may train recognizers of them to learn on
these how best to attack. In the story this stands between `protocol` and `recognizer`.

Source: R. Shokri et al., "Membership inference attacks against machine learning models", 2017, for
  shadow models.
"""

import dataclasses
from collections.abc import Mapping

from mia_jax.faces.protocol import TARGET, Protocol, make_protocol
from mia_jax.runtime.errors import UserError

# `make_protocol` registers the targeted people and a quarter of the others: together 0.6 of all.
_TARGETED = 7 / 15
_FEWEST = 6


def make_shadow(
    roles: Protocol,
    photographs: Mapping[str, int],
    number: int,
    held_out: float = 0.3,
    validation: float = 0.1,
) -> Protocol:
    """Gives the auxiliary people of an experiment parts of their own.

    Args:
      roles: The experiment's.
      photographs: How many photographs there are of each identity, of the auxiliary ones at least.
      number: Of the shadow, from 0: each has another seed, and knows others of them.
      held_out: As in `make_protocol`.
      validation: As in `make_protocol`.

    Returns:
      A protocol without evaluators, whose target knows about 60% of the auxiliary people. All
      others of them are auxiliary again.

    Raises:
      UserError: If there are too few auxiliary people.
    """
    people = roles.auxiliary
    if len(people) < _FEWEST:
        raise UserError(
            f"{len(people)} people of the data set train no recognizer, and a shadow recognizer "
            f"needs {_FEWEST} of them: add people, or lower --targeted"
        )
    shadow = make_protocol(
        {name: photographs[name] for name in people},
        seed=roles.seed + 1 + number,
        targeted=round(_TARGETED * len(people)),
        held_out=held_out,
        validation=validation,
        evaluators=(),
    )
    known = {*shadow.classes[TARGET]}
    return dataclasses.replace(shadow, auxiliary=tuple(n for n in people if n not in known))
