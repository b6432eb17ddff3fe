"""Calibrates the attack: tries all candidates on shadow recognizers, of people the attacker knows.

For example: python -m experiments.calibrate --workdir=runs/orl

The shadows choose, and the targets have no say. With --victims=target the same candidates attack
the targets: a table to report, by which nothing is to be chosen. See docs/calibrate.md.
"""

import functools
from collections.abc import Mapping, Sequence

import jax
from absl import flags, logging

from experiments import (
    attack,
    candidates,
    console,
    experiment,
    identities,
    panel,
    provenance,
    recipe,
    scenario_flags,
    train,
    trials,
    victims,
)
from experiments.scenarios import Method
from experiments.victims import Victim
from mia_jax.evidence import calibration
from mia_jax.evidence.calibration import SHADOWS, TARGET, Calibration, Trial
from mia_jax.faces import Faces
from mia_jax.faces.protocol import Protocol
from mia_jax.report import calibration as report
from mia_jax.runtime import packages, records
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

for _module in (experiment, panel):
    flags.adopt_module_key_flags(_module)
for _name in ("restarts", "auxiliary_limit"):
    flags.declare_key_flag(_name)
_VICTIMS = flags.DEFINE_enum(
    "victims",
    SHADOWS,
    [SHADOWS, TARGET],
    "Whom to attack: recognizers of auxiliary people, to choose by; or the target, to report.",
)
_CANDIDATES = flags.DEFINE_list(
    "candidates", [], "Names of experiments/candidates.py with commas between them; by default all."
)
_SHADOWS = flags.DEFINE_integer("shadows", 2, "How many shadow recognizers.", lower_bound=1)
_SEEDS = flags.DEFINE_integer(
    "target_seeds", 1, "How many targets: of --seed and of those that follow it.", lower_bound=1
)
COUNTS = {SHADOWS: _SHADOWS, TARGET: _SEEDS}
MAKERS = {SHADOWS: victims.make_shadows, TARGET: victims.make_targets}
DEFAULTS = {"restarts": 4}  # Where no flag says otherwise: there are many candidates.


def check_flags() -> None:
    """Refuses flags that have no effect here.

    Raises:
      UserError: If one was given.
    """
    idle = {
        flag.name: "--candidates names whole recipes, and all people are attacked by recognizers "
        "that are trained as the target was"
        for module in (recipe, scenario_flags, identities, train)
        for flag in flags.FLAGS.get_flags_for_module(module.__name__)
    }
    for kind, flag in COUNTS.items():
        if kind != _VICTIMS.value:
            idle[flag.name] = f"it is for --victims={kind}"
    for name, reason in idle.items():
        if flags.FLAGS[name].present:
            raise UserError(f"--{name} has no effect here: {reason}")


def judging(loaded: Faces, roles: Protocol) -> panel.Wanted:
    """Makes the panel that the flags ask for.

    Args:
      loaded: All faces.
      roles: Who is who.

    Returns:
      Who is to judge.

    Raises:
      UserError: If nobody of them is a stranger.
    """
    asked = panel.from_flags(loaded, roles)
    if not asked.embedders:
        raise UserError(
            f"the calibration needs a judge who is a stranger: {packages.hint('judge')}, or "
            f"{panel.OWN}"
        )
    return asked


def try_all(
    workdir: WorkDirectory,
    loaded: Faces,
    wanted: Mapping[str, Method],
    cast: Sequence[Victim],
    asked: panel.Wanted,
) -> dict[str, list[Trial]]:
    """Tries every candidate on every victim, or goes on where an interrupted run stopped.

    Args:
      workdir: The work directory.
      loaded: All faces.
      wanted: The candidates, by name.
      cast: The victims.
      asked: Who is to judge.

    Returns:
      The trials of each candidate that could be tried.

    Raises:
      UserError: If none could.
    """
    by_name = {victim.name: victim for victim in cast}
    made = functools.cache(lambda name: victims.judges_of(by_name[name], loaded, asked))
    found = {}
    with console.progress(len(wanted), 0, "calibrate", "candidate") as bar:
        for name, candidate in wanted.items():
            each = trials.try_candidate(
                *(workdir, name, candidate, cast, asked),
                judges_of=lambda victim: made(victim.name),
            )
            if each:
                found[name] = each
                logging.info("%s is tried", name)
            bar.update()
    if not found:
        raise UserError(f"none of --candidates={','.join(wanted)} can be tried here")
    return found


def summed_up(
    workdir: WorkDirectory,
    loaded: Faces,
    roles: Protocol,
    cast: Sequence[Victim],
    asked: panel.Wanted,
    wanted: Mapping[str, Method],
    found: Mapping[str, Sequence[Trial]],
) -> Calibration:
    """Makes the table of all candidates, and lets the shadows choose.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who in the experiment.
      cast: The victims.
      asked: Who judged.
      wanted: The candidates.
      found: The trials of those that could be tried.

    Returns:
      The table.
    """
    rows = {
        name: calibration.row(candidates.as_flags(wanted[name]), each, roles.seed)
        for name, each in found.items()
    }
    strangers = [embedder.name for embedder in asked.embedders]
    return Calibration(
        kind=_VICTIMS.value,
        victims={victim.name: victims.facts_of(victim) for victim in cast},
        judges=victims.judge_facts(cast, asked),
        restarts=attack.RESTARTS.value,
        rows=rows,
        left_out=tuple(name for name in wanted if name not in found),
        choice=calibration.choose(rows, strangers) if _VICTIMS.value == SHADOWS else None,
        device=jax.devices()[0].device_kind,
        dataset=provenance.dataset_facts(workdir, loaded, roles),
        provenance=provenance.provenance(),
    )


def main() -> None:
    """Tries all candidates, and writes and prints the table."""
    check_flags()
    wanted, kind = candidates.chosen(_CANDIDATES.value), _VICTIMS.value
    workdir = experiment.work_directory()
    if jax.process_count() > 1:
        raise UserError("the calibration is the work of one process: leave --distributed out")
    experiment.need_protocol(workdir)
    loaded, roles = experiment.open_experiment(workdir)
    asked = judging(loaded, roles)
    plan = records.read(workdir.protocol, experiment.Plan)
    cast = MAKERS[kind](workdir, loaded, plan, COUNTS[kind].value)
    found = try_all(workdir, loaded, wanted, cast, asked)
    table = summed_up(workdir, loaded, roles, cast, asked, wanted, found)
    path = workdir.calibration / f"{kind}.json"
    records.write(path, table)
    print(report.text(table))
    logging.info("The table: %s", path)
    if table.choice:
        logging.info("The shadows choose %s: %s", table.choice, table.rows[table.choice].flags)


if __name__ == "__main__":
    for _name, _value in DEFAULTS.items():
        flags.FLAGS.set_default(_name, _value)
    console.run(main)
