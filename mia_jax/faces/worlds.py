"""The worlds of the leakage game: the same experiment with a person, and without.

Each world is a protocol of its own. Without the person, a stand-in whom only the evaluators knew
takes the person's class; everybody else, their photographs and the order of the classes stay, so
that a target trained from the same seed starts from the same weights and meets the others in the
same batches and views. In the story this stands between `protocol` and `recognizer`.

Source: S. Yeom et al., "Privacy risk in machine learning: analyzing the connection to overfitting",
  2018; X. Wu et al., "A methodology for formalizing model-inversion attacks", 2016.
"""

import dataclasses

from mia_jax.faces.protocol import TARGET, Protocol, shuffled
from mia_jax.runtime.errors import UserError


def stand_ins(roles: Protocol) -> dict[str, str]:
    """Names who takes the class of each targeted person: in turn those known to evaluators only.

    Args:
      roles: Who is who.

    Returns:
      By targeted person, the stand-in.

    Raises:
      UserError: If there is nobody.
    """
    known = set(roles.classes[TARGET])
    registered = {name for role in roles.evaluators for name in roles.classes[role]}
    found = sorted(registered - known)
    if not found:
        raise UserError(
            "without evaluators nobody can stand in for a targeted person: leave --evaluators as "
            "it is, or name one"
        )
    return {name: found[i % len(found)] for i, name in enumerate(roles.targeted)}


def with_photographs(roles: Protocol, most: int | None) -> Protocol:
    """Lets the target learn everybody from a few photographs only.

    Args:
      roles: Who is who.
      most: How many photographs of each person train the target at most, 1 or more; None for all.
        Fewer are some of more. The evaluators keep theirs.

    Returns:
      The same experiment with fewer photographs: the world with everybody who is targeted.
    """
    kept = {
        name: _some(roles.seed, name, numbers, most)
        for name, numbers in roles.training[TARGET].items()
    }
    return dataclasses.replace(roles, training={**roles.training, TARGET: kept})


def without(roles: Protocol, person: str) -> Protocol:
    """Gives a targeted person's class to the stand-in, and leaves everything else as it is.

    Args:
      roles: The world with the person, from `with_photographs`.
      person: A targeted person.

    Returns:
      The world without, of the target alone. The stand-in trains by as many photographs as the
      person did, or by all if there are fewer.

    Raises:
      UserError: If there is no stand-in.
    """
    stand_in = stand_ins(roles)[person]
    evaluator = next(role for role in roles.evaluators if stand_in in roles.classes[role])
    trained = roles.training[TARGET]
    own = _some(roles.seed, stand_in, roles.training[evaluator][stand_in], len(trained[person]))
    names = tuple(stand_in if name == person else name for name in roles.classes[TARGET])
    return dataclasses.replace(
        roles,
        targeted=tuple(stand_in if name == person else name for name in roles.targeted),
        classes={TARGET: names},
        training={TARGET: {name: own if name == stand_in else trained[name] for name in names}},
    )


def _some(seed: int, name: str, numbers: tuple[int, ...], most: int | None) -> tuple[int, ...]:
    """Picks some of a person's photographs, an arbitrary choice, rising."""
    return tuple(sorted(shuffled(seed, numbers, name, "photographs")[:most]))
