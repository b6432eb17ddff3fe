"""Audits a face recognizer that was trained elsewhere: check, attack, judges, verdict, report.

For example: python -m experiments.audit --model=model.onnx --gallery_dir=registered \
    --auxiliary_dir=public --workdir=runs/audit

Run again after an interruption, it goes on where it stopped.
"""

import jax
from absl import flags

from experiments import (
    admission,
    asked_target,
    attack,
    beside,
    checks,
    console,
    evaluate,
    experiment,
    identities,
    model_flags,
    panel,
    recipe,
    release_check,
    scenario_flags,
)
from mia_jax.evidence import embedders
from mia_jax.faces.protocol import TARGET
from mia_jax.runtime import packages
from mia_jax.runtime.errors import MissingError

for _module in (
    experiment,
    model_flags,
    admission,
    recipe,
    scenario_flags,
    attack,
    panel,
    release_check,
    beside,
):
    flags.adopt_module_key_flags(_module)


def check_judge() -> None:
    """Refuses an audit that nobody could judge, before anything is computed.

    Raises:
      MissingError: If dlib is not installed, and no judge is named.
    """
    asked, own = flags.FLAGS["judges"].value, flags.FLAGS["judge"].value
    if not own and asked is None and not embedders.dlib_installed():
        raise MissingError(f"an audit needs a judge: {packages.hint('judge')}, or {panel.OWN}")


def main() -> None:
    """Admits the model, attacks it, and evaluates."""
    wanted = scenario_flags.from_flags(trained_here=False)
    check_judge()
    workdir = experiment.work_directory()
    admission.admit(workdir, checks.whole_run)
    loaded, roles = experiment.open_experiment(workdir, checks.whole_run)
    target = experiment.load_recognizer(workdir, TARGET)
    names = identities.chosen(roles)
    if target.remote is not None:
        asked_target.plan(workdir, wanted, roles, names, attack.RESTARTS.value)
    judges = panel.from_flags(loaded, roles)
    seen = asked_target.through(workdir, target, asked_target.EVALUATION)
    panel.check_strangers(loaded, roles, names, seen, judges.embedders)
    attack.attack(workdir, wanted)
    if jax.process_index():
        return  # One process evaluates.
    evaluate.conclude(workdir, judges)


if __name__ == "__main__":
    flags.FLAGS.set_default("recipe", "best")
    console.run(main)
