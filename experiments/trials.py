"""Trials of the calibration: one candidate on one victim each, stored as soon as it is done."""

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import logging

from experiments import attack, panel, scenarios, victims
from experiments.scenarios import Method, Prepared
from experiments.victims import Victim
from mia_jax.evidence import calibration
from mia_jax.evidence.calibration import Reading, Trial
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import AttackFacts
from mia_jax.runtime import checkpoints, records
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory


def try_candidate(
    workdir: WorkDirectory,
    name: str,
    wanted: Method,
    cast: Sequence[Victim],
    asked: panel.Wanted,
    judges_of: Callable[[Victim], Sequence[Judge]],
) -> list[Trial] | None:
    """Attacks all victims with a candidate, or reads what an earlier run stored.

    Args:
      workdir: The work directory.
      name: The candidate's.
      wanted: The candidate.
      cast: The victims.
      asked: Who is to judge.
      judges_of: From a victim to its judges; asked only where something is to be judged.

    Returns:
      A trial for each victim; None if the candidate needs more faces, or a package.
    """
    trials: list[Trial] = []
    fitted: tuple[np.ndarray, Prepared] | None = None
    for victim in cast:
        facts = attack.facts_of(wanted, victim.plan)
        weights, by = (
            checkpoints.digest(victim.world.attacked.params),
            panel.digests_of(victim.home, victims.panel_of(victim, asked)),
        )
        path = path_of(workdir, victim.name, name, facts, weights, by)
        if not path.exists():
            # Features to aim at are the victim's own; all else fits whoever has the same faces.
            if fitted is None or fitted[0] is not victim.world.auxiliary or wanted.feature_weight:
                how = fit(name, wanted, victim)
                if how is None:
                    return None
                fitted = victim.world.auxiliary, how
            clones, seconds = clone(victim, fitted[1])
            readings = {judge.name: read_all(judge, clones) for judge in judges_of(victim)}
            records.write(path, Trial(facts, weights, by, seconds, readings))
        trials.append(records.read(path, Trial))
    return trials


def fit(name: str, wanted: Method, victim: Victim) -> Prepared | None:
    """Fits a candidate to a victim and its attacker's faces; says so and returns None if it cannot.

    Without features to aim at, it fits all victims of this architecture and with these faces.
    """
    try:
        return scenarios.prepare(victim.world, wanted)
    except UserError as error:
        logging.warning("The candidate %s is left out: %s", name, error)
        return None


def read_all(judge: Judge, clones: Mapping[str, np.ndarray]) -> dict[str, Reading]:
    """Shows a judge the clones of everybody whom it knows."""
    return {
        person: calibration.read(judge, images, person)
        for person, images in clones.items()
        if person in judge.people
    }


def path_of(
    workdir: WorkDirectory,
    victim: str,
    name: str,
    facts: AttackFacts,
    weights: str,
    by: dict[str, str | None],
) -> pathlib.Path:
    """Returns where a trial lies: whatever changes its result changes the file's name."""
    digest = records.digest(facts, weights, by)
    return workdir.calibration / victim / "trials" / f"{name}-{digest}.json"


def clone(victim: Victim, prepared: Prepared) -> tuple[dict[str, np.ndarray], float]:
    """Attacks everybody whom a victim knows.

    Args:
      victim: The victim.
      prepared: The attack, on whatever recognizer of this architecture.

    Returns:
      The clones of each person, `[restarts, height, width, channels]`, and the seconds that one
      took: those of the first people count only if there are no more, as they wait for the
      compilation.
    """
    prepared = prepared._replace(params=victim.world.attacked.params)
    clones, seconds, together = {}, [], 0
    started = time.perf_counter()
    for group in attack.on_people(prepared, victim.world.key, victim.people, victim.people):
        seconds.append(time.perf_counter() - started)
        clones.update({person: np.asarray(each.images) for person, each in group.items()})
        together = max(together, len(group))
        started = time.perf_counter()
    return clones, float(np.median(seconds[1:] or seconds)) / (together * attack.RESTARTS.value)
