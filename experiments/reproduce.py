"""Runs the whole experiment of the paper into one work directory, skipping what is finished.

For example: python -m experiments.reproduce --workdir=runs/orl --recipe=best
"""

import jax
from absl import flags

from experiments import (
    attack,
    beside,
    checks,
    console,
    evaluate,
    experiment,
    panel,
    recipe,
    release_check,
    scenario_flags,
    train,
)

for _module in (experiment, train, recipe, scenario_flags, attack, panel, release_check, beside):
    flags.adopt_module_key_flags(_module)


def main() -> None:
    """Trains the recognizers, attacks, and evaluates."""
    wanted = scenario_flags.from_flags()
    workdir = experiment.work_directory()
    how = train.settings(workdir)
    loaded, roles = experiment.open_experiment(workdir, checks.whole_run)
    judges = panel.from_flags(loaded, roles)
    for role in roles.classes:
        train.train(workdir, role, how[role])
    attack.attack(workdir, wanted)
    if jax.process_index():
        return  # One process evaluates.
    evaluate.conclude(workdir, judges)


if __name__ == "__main__":
    flags.FLAGS.set_default("fail_on", [])  # An experiment, and no release check unless asked for.
    console.run(main)
