"""What the judges say of the plays of the leakage game, from what its worlds hold."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments import attack, exhibits, experiment, panel, provenance, worlds
from experiments.experiment import Plan
from experiments.trained import Trained
from mia_jax.evidence import game
from mia_jax.evidence.game import Game, Ideal, JudgeFacts, Play, Ranks
from mia_jax.evidence.judges import Judge
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET
from mia_jax.runtime import storage
from mia_jax.runtime.workdir import WorkDirectory


def judge_games(
    games: WorkDirectory,
    loaded: Faces,
    plans: Mapping[int, Plan],
    numbers: Sequence[str],
    wanted: panel.Wanted,
) -> tuple[dict[str, Game], dict[str, JudgeFacts], dict[str, Ideal]]:
    """Shows the clones of all worlds to the judges.

    Args:
      games: Where the games lie, all worlds attacked.
      loaded: All faces.
      plans: The plan of each seed.
      numbers: Of photographs, a game each.
      wanted: Who is to judge.

    Returns:
      The games by number of photographs, who judged, and the ideal world of each seed.
    """
    plays: dict[str, list[Play]] = {photographs: [] for photographs in numbers}
    judges: list[Judge] = []
    ideals = {}
    for seed, plan in plans.items():
        for photographs in numbers:
            few = worlds.with_photographs(plan, photographs)
            home = worlds.world_of(games, seed, photographs)
            attacked = experiment.load_recognizer(home, TARGET)
            judges = panel.make_judges(
                *(worlds.evaluators_of(games, seed), loaded, few.protocol, attacked.params, wanted),
                attacked=home,
            )
            for person in few.protocol.targeted:
                plays[photographs].append(
                    judge_play(games, loaded, few, photographs, person, attacked, judges)
                )
        if str(seed) not in ideals:  # The same for any number of photographs.
            guesses = guesses_of(loaded, plan, worlds.world_of(games, seed, numbers[0]))
            ideals[str(seed)] = game.ideal(judges, guesses, plan.protocol.targeted)
    facts = {
        judge.name: JudgeFacts(len(judge.people), tuple(sorted(judge.shares))) for judge in judges
    }
    found = {
        photographs: Game(
            *accuracies(games, plans, photographs),
            plays=tuple(each),
            figures=game.figures(each, facts, ideals),
        )
        for photographs, each in plays.items()
    }
    return found, facts, ideals


def judge_play(
    games: WorkDirectory,
    loaded: Faces,
    plan: Plan,
    photographs: str,
    person: str,
    attacked: Trained,
    judges: Sequence[Judge],
) -> Play:
    """Shows the clones of both worlds of one person to the judges.

    Args:
      games: Where the games lie.
      loaded: All faces.
      plan: The plan of the world with the person.
      photographs: How many of each person train.
      person: The person.
      attacked: The target with the person.
      judges: Who looks.

    Returns:
      The play.
    """
    seed = plan.protocol.seed
    home = worlds.world_of(games, seed, photographs)
    with_person = places(home, plan, attacked, person, person, judges)
    home, other = worlds.world_of(games, seed, photographs, person), worlds.without(plan, person)
    outside, nearest, stand_in = worlds.attacked_without(home, loaded, plan, person)
    of_nearest, of_stand_in = (
        places(home, other, outside, name, person, judges) for name in (nearest, stand_in)
    )
    return Play(
        person=person,
        seed=seed,
        photographs=len(plan.protocol.training[TARGET][person]),
        stand_in=stand_in,
        stand_in_photographs=len(other.protocol.training[TARGET][stand_in]),
        nearest=nearest,
        ranks={
            judge.name: game.Worlds(
                with_person[judge.name], of_nearest[judge.name], of_stand_in[judge.name]
            )
            for judge in judges
        },
    )


def places(
    home: WorkDirectory,
    plan: Plan,
    attacked: Trained,
    name: str,
    person: str,
    judges: Sequence[Judge],
) -> dict[str, Ranks]:
    """Asks all judges how much the clones of one class look like the person of the play.

    Args:
      home: The world.
      plan: Its plan.
      attacked: Its target.
      name: Whose class it is.
      person: The person of the play.
      judges: Who looks.

    Returns:
      The person's ranks, by judge.
    """
    clones = np.asarray(storage.map_array(home.clones_of(name), "clones"))
    place = plan.protocol.classes[TARGET].index(name)
    pick = int(exhibits.robust_scores(attacked, clones, place, plan.protocol.seed).argmax())
    return {judge.name: game.place(judge, clones, pick, person) for judge in judges}


def guesses_of(loaded: Faces, plan: Plan, home: WorkDirectory) -> list[np.ndarray]:
    """Collects what an attacker without a model could show for everybody.

    Args:
      loaded: All faces.
      plan: The seed's.
      home: The world with everybody, attacked.

    Returns:
      Each auxiliary photograph, their mean, and the images from which each person's attack began.
    """
    auxiliary = experiment.auxiliary_faces(loaded, plan.protocol, attack.AUXILIARY_LIMIT.value)
    seeds = [
        np.asarray(storage.map_array(home.clones_of(name), "seed"))
        for name in plan.protocol.targeted
    ]
    return [*auxiliary[:, None], auxiliary.mean(axis=0, keepdims=True), *seeds]


def accuracies(
    games: WorkDirectory, plans: Mapping[int, Plan], photographs: str
) -> tuple[float, float]:
    """Averages the test accuracy of the targets, with everybody and without somebody."""

    def mean(homes: list[WorkDirectory]) -> float:
        facts = [provenance.recognizer_facts(home, TARGET) for home in homes]
        return float(np.mean([each.test_accuracy for each in facts]))

    everybody = [worlds.world_of(games, seed, photographs) for seed in plans]
    others = [
        worlds.world_of(games, seed, photographs, person)
        for seed, plan in plans.items()
        for person in plan.protocol.targeted
    ]
    return mean(everybody), mean(others)
