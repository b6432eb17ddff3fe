"""Who is targeted, who trains which recognizer, who feeds the seed (sections 4.1 to 4.4).

The last step of the faces' part of the story: people and photographs get their roles, by the name
of the recognizer where it matters which. Every choice is the order of a hash of the seed and the
name, not a draw of a random generator: it is the same on every machine and with every version of
every library, whatever the order in which the names are given.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence

from mia_jax.runtime.errors import UserError, list_some, shorten

TARGET = "target"

Split = Mapping[str, tuple[int, ...]]  # The numbers of some photographs of each person, rising.


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The roles of the identities and of their photographs.

    Attributes:
      seed: The experiment's seed.
      targeted: The identities under attack, registered with every recognizer.
      classes: For "target", which comes first, and each evaluator, the names registered with that
        recognizer; their order is the order of its classes.
      auxiliary: The identities that train no recognizer and feed the seed image.
      training: For each recognizer and each identity registered with it, which of the photographs
        train it.
      validation: For each registered identity, which of the photographs tell when to stop.
      test: For each registered identity, which of the photographs are measured once, at the end.
    """

    seed: int
    targeted: tuple[str, ...]
    classes: Mapping[str, tuple[str, ...]]
    auxiliary: tuple[str, ...]
    training: Mapping[str, Split]
    validation: Split
    test: Split

    @property
    def evaluators(self) -> tuple[str, ...]:
        """The names of the recognizers that judge clones."""
        return tuple(name for name in self.classes if name != TARGET)


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
    evaluators: Sequence[str] = ("evaluator",),
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Splits the identities as the paper does.

    The targeted identities are common to all recognizers. Of the rest a first quarter trains the
    target, a second quarter trains the evaluators, and the second half trains none. Every evaluator
    knows the same people: evaluators differ in what training makes of them.

    Args:
      names: Identity names, each once, in any order.
      seed: The experiment's seed.
      targeted: How many identities are attacked, 1 or more.
      target_classes: How many identities to register with the target, the targeted ones included;
        by default those of the whole quarter. Identities left over take no part.
      evaluator_classes: The same for the evaluators; by default as `target_classes`.
      evaluators: Their names; none, if others judge the clones.

    Returns:
      The targeted names, the classes of "target" and of each evaluator, and the auxiliary names.

    Raises:
      UserError: If there are too few identities for what is asked, or two recognizers of one name.
    """
    roles = (TARGET, *evaluators)
    if len(set(roles)) < len(roles):
        raise UserError(f"evaluators={list(evaluators)} must have names of their own, not {TARGET}")
    order = shuffled(seed, set(names))
    if targeted < 1:
        raise UserError(f"targeted={targeted} identities cannot be attacked: give 1 or more")
    others = order[targeted:]
    quarter = round(len(others) / 4)
    if quarter < 1 or len(others) - 2 * quarter < 1:
        raise UserError(
            f"{len(order)} identities are too few to target {targeted}: the target needs another "
            f"one, so do the evaluators, and so does the seed image, {targeted + 3} in all"
        )

    def registered(role: str, members: list[str], size: int | None) -> tuple[str, ...]:
        size = targeted + quarter if size is None else size
        if not targeted < size <= targeted + quarter:
            raise UserError(
                f"{role}_classes={size} is not possible with {len(order)} identities of which "
                f"{targeted} are targeted: give {targeted + 1} to {targeted + quarter}"
            )
        return tuple(sorted(order[:targeted] + members[: size - targeted]))

    if evaluator_classes is None:
        evaluator_classes = target_classes
    of_target = registered("target", others[:quarter], target_classes)
    of_evaluators = registered("evaluator", others[quarter : 2 * quarter], evaluator_classes)
    classes = {TARGET: of_target, **dict.fromkeys(evaluators, of_evaluators)}
    return tuple(order[:targeted]), classes, tuple(sorted(others[2 * quarter :]))


def split_photographs(
    name: str, count: int, seed: int, held_out: float, validation: float, trained: int = 1
) -> tuple[list[int], tuple[int, ...], tuple[int, ...]]:
    """Splits one person's photographs: to train, to tell when to stop, and only to measure.

    Args:
      name: The person.
      count: How many photographs there are, at least `trained` and two.
      seed: The experiment's seed.
      held_out: The fraction that only measures, in (0, 1); at least one photograph.
      validation: The fraction that tells when to stop, in (0, 1); at least one photograph.
      trained: The fewest photographs that must be left to train.

    Returns:
      The numbers of the training photographs, in an arbitrary order, of those of the validation and
      of those of the test, both rising; from 0.

    Raises:
      UserError: If there are too few photographs.
    """
    needed = trained + 2
    if count < needed:
        raise UserError(
            f"{name} has {count} photograph(s), and at least {needed} are needed: {trained} to "
            "train, one to choose when to stop and one to measure; add some, or set --min_images="
            f"{needed}"
        )
    tests = min(max(round(held_out * count), 1), count - trained - 1)
    validations = min(max(round(validation * count), 1), count - trained - tests)
    order = shuffled(seed, range(count), name)
    rest = order[tests:]
    return rest[validations:], tuple(sorted(rest[:validations])), tuple(sorted(order[:tests]))


def make_protocol(
    photographs: Mapping[str, int],
    seed: int,
    targeted: int = 5,
    held_out: float = 0.3,
    validation: float = 0.1,
    target_classes: int | None = None,
    evaluator_classes: int | None = None,
    evaluators: Sequence[str] = ("evaluator",),
    disjoint: bool = False,
) -> Protocol:
    """Assigns every identity and every photograph its role.

    Args:
      photographs: How many photographs there are of each identity.
      seed: The experiment's seed.
      targeted: How many identities are attacked.
      held_out: The fraction of each person's photographs that is the test, in (0, 1).
      validation: The fraction that tells when to stop, in (0, 1).
      target_classes: See `assign_identities`.
      evaluator_classes: See `assign_identities`.
      evaluators: See `assign_identities`.
      disjoint: Whether the evaluators learn the people whom the target knows too from other
        photographs than it does: of those that train, one half trains the target and the other the
        evaluators. Otherwise all of them train all recognizers, as the paper's do.

    Returns:
      The protocol.

    Raises:
      UserError: If there are too few identities, or too few photographs of one, or a fraction is
        none.
    """
    for argument, fraction in (("held_out", held_out), ("validation", validation)):
        if not 0 < fraction < 1:
            raise UserError(f"{argument}={fraction} is no fraction: give one between 0 and 1")
    chosen, classes, auxiliary = assign_identities(
        photographs, seed, targeted, target_classes, evaluator_classes, evaluators
    )
    divided = set(chosen) if disjoint and evaluators else set()
    splits = {
        name: split_photographs(
            name, photographs[name], seed, held_out, validation, 2 if name in divided else 1
        )
        for name in sorted({name for members in classes.values() for name in members})
    }

    def trains(role: str, name: str) -> tuple[int, ...]:
        numbers = splits[name][0]
        if name in divided:
            half = (len(numbers) + 1) // 2
            numbers = numbers[:half] if role == TARGET else numbers[half:]
        return tuple(sorted(numbers))

    return Protocol(
        seed=seed,
        targeted=chosen,
        classes=classes,
        auxiliary=auxiliary,
        training={
            role: {name: trains(role, name) for name in members}
            for role, members in classes.items()
        },
        validation={name: split[1] for name, split in splits.items()},
        test={name: split[2] for name, split in splits.items()},
    )


def of_registered(
    photographs: Mapping[str, int],
    classes: Sequence[str],
    seed: int,
    held_out: float = 0.3,
    validation: float = 0.1,
) -> Protocol:
    """Assigns the roles where a recognizer that was trained elsewhere knows some of the people.

    Args:
      photographs: How many photographs there are of each person.
      classes: The names of the recognizer's classes in their order, some of them without
        photographs; of everybody else, the photographs are shown to judges alone.
      seed: The experiment's seed.
      held_out: The fraction of each person's photographs that is the test, in (0, 1).
      validation: The fraction that is neither test nor, where it is known by such, enrolled.

    Returns:
      The protocol, with all registered people of whom there are photographs targeted, and no
      evaluators. `training` are the photographs that the recognizer may have seen.

    Raises:
      UserError: If there are too few photographs of somebody, or nobody is registered.
    """
    known = tuple(name for name in classes if name in photographs)
    if not known:
        raise UserError(
            f"none of the recognizer's classes ({list_some(classes)}) is a person of the gallery "
            f"({list_some(tuple(photographs))})"
        )
    splits = {
        name: split_photographs(name, photographs[name], seed, held_out, validation)
        for name in known
    }
    return Protocol(
        seed=seed,
        targeted=known,
        classes={TARGET: tuple(classes)},
        auxiliary=(),
        training={TARGET: {name: tuple(sorted(split[0])) for name, split in splits.items()}},
        validation={name: split[1] for name, split in splits.items()},
        test={name: split[2] for name, split in splits.items()},
    )


def check_identities(protocol: Protocol, names: Iterable[str]) -> None:
    """Checks that identities are registered with the target.

    Args:
      protocol: The protocol.
      names: The names that a user asks for.

    Raises:
      UserError: If one is not, naming it.
    """
    for name in names:
        if name not in protocol.classes[TARGET]:
            raise UserError(
                f"identity {shorten(name)!r} is not registered with the target recognizer: "
                "choose from "
                f"{list_some(protocol.classes[TARGET])}"
            )
