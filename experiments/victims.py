"""The victims of the calibration: shadow recognizers of auxiliary people, or the targets.

<workdir>/calibration/shadow_<n>/      a shadow, and what candidates reach on it
<workdir>/calibration/target_<seed>/   the same of a target; that of the experiment's own seed lies
                                       where it always does
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from experiments import attack, experiment, panel, provenance, train, worlds
from experiments.experiment import Plan
from experiments.scenarios import World
from mia_jax.evidence.calibration import VictimFacts
from mia_jax.evidence.game import JudgeFacts
from mia_jax.evidence.judges import Judge
from mia_jax.faces import Faces, shadows
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.runtime.workdir import WorkDirectory


class Victim(NamedTuple):
    """A recognizer whose people are all attacked.

    Attributes:
      name: What to call it.
      home: The work directory where it lies.
      plan: Who is who there.
      world: The recognizer, and the attacker's faces: the same array for all victims where they
        come from elsewhere.
      gallery: Among whom strangers choose.
    """

    name: str
    home: WorkDirectory
    plan: Plan
    world: World
    gallery: tuple[str, ...]

    @property
    def people(self) -> tuple[str, ...]:
        """Whom the recognizer knows, in the order of its classes."""
        return self.plan.protocol.classes[TARGET]


def make_shadows(workdir: WorkDirectory, loaded: Faces, plan: Plan, count: int) -> list[Victim]:
    """Trains recognizers of auxiliary people as the target was trained, where they are missing.

    Args:
      workdir: The work directory, with a trained target.
      loaded: All faces.
      plan: The experiment's.
      count: How many.

    Returns:
      The shadows. Strangers choose among all auxiliary people of the data set.

    Raises:
      UserError: If there are too few of these, or the target is not trained.
    """
    people = plan.protocol.auxiliary
    division = plan.division
    plans = {}
    for number in range(count):
        roles = shadows.make_shadow(
            *(plan.protocol, plan.photographs, number, division.held_out, division.validation)
        )
        plans[f"shadow_{number}"] = dataclasses.replace(plan, protocol=roles)
    return _trained(workdir, loaded, plan, plans, people)


def make_targets(workdir: WorkDirectory, loaded: Faces, plan: Plan, count: int) -> list[Victim]:
    """Takes the target, and trains others with the seeds that follow, where they are missing.

    Args:
      workdir: The work directory, with a trained target.
      loaded: All faces.
      plan: The experiment's.
      count: How many.

    Returns:
      The targets. Strangers choose among everybody in the data set.

    Raises:
      UserError: If the target is not trained.
    """
    first = plan.protocol.seed
    plans = {f"target_{first}": plan}
    for seed in range(first + 1, first + count):
        plans[f"target_{seed}"] = worlds.plan_of(plan, seed)
    return _trained(workdir, loaded, plan, plans, loaded.names)


def _trained(
    workdir: WorkDirectory,
    loaded: Faces,
    own: Plan,
    plans: dict[str, Plan],
    gallery: tuple[str, ...],
) -> list[Victim]:
    """Trains whoever is missing, all with the settings of the work directory's target."""
    experiment.load_recognizer(workdir, TARGET)  # Says what to do if there is none.
    how = provenance.training_settings(workdir, TARGET)
    public = None if loaded.auxiliary is None else _auxiliary(loaded, own.protocol)
    found = []
    for name, plan in plans.items():
        home = workdir
        if plan is not own:
            home = WorkDirectory(workdir.calibration / name)
            logging.info("%s is the target of %s", name, home.root)
            worlds.settle(home, plan)
            train.learn(home, loaded, plan.protocol, TARGET, how)
        attacked = experiment.load_recognizer(home, TARGET)
        auxiliary = _auxiliary(loaded, plan.protocol) if public is None else public
        world = attack.world_of(loaded, plan.protocol, attacked, auxiliary)
        found.append(Victim(name, home, plan, world, gallery))
    return found


def _auxiliary(loaded: Faces, roles: Protocol) -> np.ndarray:
    """Reads the attacker's faces."""
    return experiment.auxiliary_faces(loaded, roles, attack.AUXILIARY_LIMIT.value)


def panel_of(victim: Victim, asked: panel.Wanted) -> panel.Wanted:
    """Returns who of those asked can judge: evaluators where they are trained beside the victim."""
    trained = tuple(
        role
        for role in asked.evaluators
        if (victim.home.recognizer(role) / "recognizer.json").exists()
    )
    return asked._replace(evaluators=trained)


def judges_of(victim: Victim, loaded: Faces, asked: panel.Wanted) -> list[Judge]:
    """Makes the judges of a victim, who know its gallery by photographs.

    Args:
      victim: The victim.
      loaded: All faces.
      asked: Who is to judge.

    Returns:
      The judges, strangers first.
    """
    return panel.make_judges(
        *(victim.home, loaded, victim.plan.protocol, victim.world.attacked.params),
        panel_of(victim, asked),
        enrolled=victim.gallery,
    )


def facts_of(victim: Victim) -> VictimFacts:
    """Says what a victim is."""
    return VictimFacts(
        provenance.recognizer_facts(victim.home, TARGET), len(victim.world.auxiliary)
    )


def judge_facts(cast: Sequence[Victim], asked: panel.Wanted) -> dict[str, JudgeFacts]:
    """Says who judges, strangers first, without a look at any image."""
    found = {each.name: JudgeFacts(len(cast[0].gallery), ()) for each in asked.embedders}
    for victim in cast:
        roles = victim.plan.protocol
        for role in panel_of(victim, asked).evaluators:
            shares = panel.shares_of(victim.home, roles, role)
            found[role] = JudgeFacts(len(roles.classes[role]), tuple(sorted(shares)))
    return found
