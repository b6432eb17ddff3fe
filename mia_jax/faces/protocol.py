"""Who is targeted, who trains which recognizer, who feeds the seed (sections 4.1 to 4.4).

Every choice is the order of a hash of the seed and the name, not a draw of a random generator: it
is the same on every machine and with every version of every library, whatever the order in which
the names are given.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping

from mia_jax.faces.sources import list_some

TARGET, EVALUATOR = "target", "evaluator"


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The roles of the identities and of their photographs.

    Attributes:
      seed: The experiment's seed.
      targeted: The identities under attack, registered with both recognizers.
      classes: For "target" and "evaluator", the names registered with that recognizer; their order
        is the order of its classes.
      auxiliary: The identities that train neither recognizer and feed the seed image.
      training: For each registered identity, which of its photographs train.
      held_out: For each registered identity, which of its photographs only measure.
    """

    seed: int
    targeted: tuple[str, ...]
    classes: Mapping[str, tuple[str, ...]]
    auxiliary: tuple[str, ...]
    training: Mapping[str, tuple[int, ...]]
    held_out: Mapping[str, tuple[int, ...]]


def shuffled(seed: int, items: Iterable[str | int], *context: str) -> list:
    """Orders items by a hash: an arbitrary order that is the same everywhere.

    Args:
      seed: The experiment's seed.
      items: What to order.
      *context: Words that make one order independent of another.

    Returns:
      The items, each once.
    """

    def digest(item: str | int) -> bytes:
        return hashlib.sha256("\0".join([str(seed), *context, str(item)]).encode()).digest()

    return sorted(items, key=digest)


def assign_identities(
    names: Iterable[str],
    seed: int,
    targeted: int = 5,
    target_classes: int | None = None,
    evaluator_classes: int | None = None,
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Splits the identities as the paper does.

    The targeted identities are common to both recognizers. Of the rest a first quarter trains the
    target, a second quarter trains the evaluator, and the second half trains neither.

    Args:
      names: Identity names, each once, in any order.
      seed: The experiment's seed.
      targeted: How many identities are attacked, 1 or more.
      target_classes: How many identities to register with the target, the targeted ones included;
        by default those of the whole quarter. Identities left over take no part.
      evaluator_classes: The same for the evaluator; by default as `target_classes`.

    Returns:
      The targeted names, the classes of "target" and "evaluator", and the auxiliary names.

    Raises:
      ValueError: If there are too few identities for what is asked.
    """
    order = shuffled(seed, set(names))
    if targeted < 1:
        raise ValueError(f"targeted={targeted} identities cannot be attacked: give 1 or more")
    others = order[targeted:]
    quarter = round(len(others) / 4)
    if quarter < 1 or len(others) - 2 * quarter < 1:
        raise ValueError(
            f"{len(order)} identities are too few to target {targeted}: each recognizer needs one "
            f"other identity and the seed image needs one more, {targeted + 3} in all"
        )
    quarters = {TARGET: others[:quarter], EVALUATOR: others[quarter : 2 * quarter]}
    wanted = {
        TARGET: target_classes,
        EVALUATOR: target_classes if evaluator_classes is None else evaluator_classes,
    }
    classes = {}
    for role, members in quarters.items():
        asked = wanted[role]
        size = targeted + quarter if asked is None else asked
        if not targeted < size <= targeted + quarter:
            raise ValueError(
                f"{role}_classes={size} is not possible with {len(order)} identities of which "
                f"{targeted} are targeted: give {targeted + 1} to {targeted + quarter}"
            )
        classes[role] = tuple(sorted(order[:targeted] + members[: size - targeted]))
    return tuple(order[:targeted]), classes, tuple(sorted(others[2 * quarter :]))


def split_photographs(
    name: str, count: int, seed: int, held_out: float
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Splits one person's photographs into those that train and those that only measure.

    Args:
      name: The person.
      count: How many photographs there are, at least two.
      seed: The experiment's seed.
      held_out: The fraction to hold out, in (0, 1); at least one photograph, but never all.

    Returns:
      The numbers of the training photographs and of the held-out ones, from 0, rising.

    Raises:
      ValueError: If there are fewer than two photographs.
    """
    if count < 2:
        raise ValueError(
            f"{name} has {count} photograph(s): at least 2 are needed, to train and to hold out"
        )
    size = min(max(round(held_out * count), 1), count - 1)
    order = shuffled(seed, range(count), name)
    return tuple(sorted(order[size:])), tuple(sorted(order[:size]))


def make_protocol(
    photographs: Mapping[str, int],
    seed: int,
    targeted: int = 5,
    held_out: float = 0.3,
    target_classes: int | None = None,
    evaluator_classes: int | None = None,
) -> Protocol:
    """Assigns every identity and every photograph its role.

    Args:
      photographs: How many photographs there are of each identity.
      seed: The experiment's seed.
      targeted: How many identities are attacked.
      held_out: The fraction of each person's photographs that trains nothing, in (0, 1).
      target_classes: See `assign_identities`.
      evaluator_classes: See `assign_identities`.

    Returns:
      The protocol.

    Raises:
      ValueError: If there are too few identities, or too few photographs of one.
    """
    chosen, classes, auxiliary = assign_identities(
        photographs, seed, targeted, target_classes, evaluator_classes
    )
    splits = {
        name: split_photographs(name, photographs[name], seed, held_out)
        for name in sorted({*classes[TARGET], *classes[EVALUATOR]})
    }
    return Protocol(
        seed=seed,
        targeted=chosen,
        classes=classes,
        auxiliary=auxiliary,
        training={name: split[0] for name, split in splits.items()},
        held_out={name: split[1] for name, split in splits.items()},
    )


def check_identities(protocol: Protocol, names: Iterable[str]) -> None:
    """Checks that identities are registered with the target.

    Args:
      protocol: The protocol.
      names: The names that a user asks for.

    Raises:
      ValueError: If one is not, naming it.
    """
    for name in names:
        if name not in protocol.classes[TARGET]:
            raise ValueError(
                f"identity {name!r} is not registered with the target recognizer: choose from "
                f"{list_some(protocol.classes[TARGET])}"
            )


def to_json(protocol: Protocol) -> dict:
    """Returns the protocol as plain dictionaries, lists, texts and numbers."""
    return dataclasses.asdict(protocol)


def from_json(data: Mapping) -> Protocol:
    """Restores what `to_json` made, after it went through a file.

    Args:
      data: The dictionary.

    Returns:
      The protocol.

    Raises:
      ValueError: If a field is missing.
    """

    def tuples(mapping: Mapping) -> dict:
        return {name: tuple(values) for name, values in mapping.items()}

    try:
        return Protocol(
            seed=int(data["seed"]),
            targeted=tuple(data["targeted"]),
            classes=tuples(data["classes"]),
            auxiliary=tuple(data["auxiliary"]),
            training=tuples(data["training"]),
            held_out=tuples(data["held_out"]),
        )
    except KeyError as error:
        raise ValueError(f"the protocol has no field {error}: was it written by mia_jax?") from None
