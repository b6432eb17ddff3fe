"""The worlds of the leakage game: a work directory each, with a target and clones of its people.

<workdir>/game/protocol.json                      which faces, who is who with the first seed
<workdir>/game/seed-<s>/evaluators/               the evaluators of a seed, of all of its worlds
<workdir>/game/seed-<s>/<photographs>/with/       the target with everybody who is targeted
<workdir>/game/seed-<s>/<photographs>/without <person>/
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from experiments import attack, experiment, train
from experiments.experiment import Plan
from experiments.scenarios import Method, Prepared
from experiments.trained import Trained
from mia_jax.faces import Faces, make_protocol, worlds
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.recognizer.training import Settings
from mia_jax.runtime import records, sharding
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

ALL = "all"


def plan_of(plan: Plan, seed: int) -> Plan:
    """Gives everybody a part anew, with another seed."""
    division = dataclasses.replace(plan.division, seed=seed)
    roles = make_protocol(plan.photographs, **division.arguments())
    return dataclasses.replace(plan, division=division, protocol=roles)


def with_photographs(plan: Plan, photographs: str) -> Plan:
    """Lets the targets learn from so many photographs of each person, or from "all"."""
    most = None if photographs == ALL else int(photographs)
    return dataclasses.replace(plan, protocol=worlds.with_photographs(plan.protocol, most))


def without(plan: Plan, person: str) -> Plan:
    """Lets a stand-in take a person's class."""
    return dataclasses.replace(plan, protocol=worlds.without(plan.protocol, person))


def evaluators_of(games: WorkDirectory, seed: int) -> WorkDirectory:
    """Returns where the evaluators of a seed lie."""
    return WorkDirectory(games.root / f"seed-{seed}" / "evaluators")


def world_of(
    games: WorkDirectory, seed: int, photographs: str, person: str | None = None
) -> WorkDirectory:
    """Returns where a world lies: with everybody, or without a person."""
    root = games.root / f"seed-{seed}" / photographs
    # A name for a directory is made as that of a recognizer is.
    return WorkDirectory(WorkDirectory(root).recognizer(f"without {person}" if person else "with"))


def settle(home: WorkDirectory, plan: Plan) -> None:
    """Writes down who is who in a world, or checks that it is as it was.

    Args:
      home: The world's directory.
      plan: Its plan.

    Raises:
      UserError: If another plan was followed there.
    """
    if not home.protocol.exists():
        records.write(home.protocol, plan)
    elif records.read(home.protocol, Plan) != plan:
        raise UserError(
            f"{home.protocol} was made for other people or photographs: choose another --workdir, "
            "or delete it with all that lies beside it"
        )


def as_long(how: Settings, roles: Protocol, few: Protocol) -> Settings:
    """Lets a target of few photographs take about as many steps as one of all.

    Args:
      how: How to train on all photographs.
      roles: Who is who, with all photographs.
      few: The same with few.

    Returns:
      The same with more epochs, as each has fewer steps.
    """

    def steps(each: Protocol) -> int:
        count = sum(map(len, each.training[TARGET].values()))
        return max(round(count / min(how.batch_size, count)), 1)

    factor = steps(roles) / steps(few)
    lengths = ("max_epochs", "evaluate_every", "patience")
    return dataclasses.replace(
        how, **{name: round(factor * getattr(how, name)) for name in lengths}
    )


def nearest_class(attacked: Trained, roles: Protocol, photographs: np.ndarray) -> str:
    """Finds whose class takes a person's photographs most for its own.

    Args:
      attacked: The target without the person.
      roles: Who is who there.
      photographs: `[n, height, width, channels]` in [0, 1]: those that train where the person does.

    Returns:
      The name of the class of highest mean logit; it may be the stand-in's.
    """
    logits = jax.jit(attacked.logits)(attacked.params, jnp.asarray(photographs))
    means = np.asarray(logits).mean(axis=0)
    place = sharding.from_first_process(np.array(means.argmax()))
    return roles.classes[TARGET][int(place)]


def attacked_without(
    home: WorkDirectory, loaded: Faces, plan: Plan, person: str
) -> tuple[Trained, str, str]:
    """Says which classes are attacked where a person is not.

    Args:
      home: The world without the person, trained.
      loaded: All faces.
      plan: The plan of the world with the person.
      person: The person.

    Returns:
      The target, the nearest class and the stand-in's.
    """
    roles = worlds.without(plan.protocol, person)
    attacked = experiment.load_recognizer(home, TARGET)
    own = experiment.photographs_of(loaded, person, plan.protocol.training[TARGET])
    return attacked, nearest_class(attacked, roles, own), worlds.stand_ins(plan.protocol)[person]


def make(
    games: WorkDirectory,
    loaded: Faces,
    plan: Plan,
    photographs: str,
    person: str | None,
    how: Settings,
    wanted: Method,
    fit: Callable[[Trained, int], Prepared],
) -> None:
    """Trains and attacks the target of one world; skips what is done.

    Args:
      games: Where the games lie.
      loaded: All faces.
      plan: The plan of the world with everybody.
      photographs: How many of each person train, as the directory is named.
      person: Who is missing in this world; None for nobody.
      how: How to train.
      wanted: How to attack: everybody who is targeted, or the two classes that are asked for in
        place of the missing person.
      fit: From `attack.fitting`.
    """
    home = world_of(games, plan.protocol.seed, photographs, person)
    own = without(plan, person) if person else plan
    settle(home, own)
    train.learn(home, loaded, own.protocol, TARGET, how)
    if person:
        attacked, *classes = attacked_without(home, loaded, plan, person)
        logging.info("Nearest to %s is %s; %s stands in", person, *classes)
        names = tuple(dict.fromkeys(classes))
    else:
        attacked, names = experiment.load_recognizer(home, TARGET), own.protocol.targeted
    attack.make_clones(home, own.protocol, attacked, names, wanted, fit)
