"""Audits a face recognizer that was trained elsewhere: check, attack, judges, verdict, report.

For example: python -m experiments.audit --model=model.onnx --gallery_dir=registered \
    --auxiliary_dir=public --workdir=runs/audit

Run again after an interruption, it goes on where it stopped.
"""

import functools

import jax
import numpy as np
from absl import flags, logging

from experiments import (
    admission,
    asked_target,
    attack,
    beside,
    console,
    evaluate,
    exhibits,
    experiment,
    identities,
    imported,
    model_flags,
    panel,
    recipe,
    release_check,
    scenario_flags,
)
from mia_jax.evidence import embedders, unlocking
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.workdir import WorkDirectory

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
_BATCH = 50


def check_judge() -> None:
    """Refuses an audit that nobody could judge, before anything is computed.

    Raises:
      MissingError: If dlib is not installed, and no judge is named.
    """
    asked, own = flags.FLAGS["judges"].value, flags.FLAGS["judge"].value
    if not own and asked is None and not embedders.dlib_installed():
        raise MissingError(
            'an audit needs a judge: pip install "mia_jax[judge]", or name your own as '
            "--judge=module:function"
        )


def unlock(workdir: WorkDirectory, loaded: Faces, roles: Protocol) -> None:
    """Asks an embedder whom it would let in, at its own threshold.

    Args:
      workdir: The work directory, with clones.
      loaded: All faces.
      roles: Who is who.
    """
    facts = records.read(workdir.model, imported.ModelFacts)
    if facts.threshold is None or facts.returns != imported.FEATURES:
        return
    target = experiment.load_recognizer(workdir, TARGET)
    look = asked_target.through(workdir, target, asked_target.EVALUATION).look()

    def similarities(images: np.ndarray) -> np.ndarray:
        found = []
        for first in range(0, len(images), _BATCH):
            few = np.asarray(images[first : first + _BATCH])
            rest = np.repeat(few[-1:], _BATCH - len(few), axis=0)
            logits = look(np.concatenate([few, rest]))
            found.append(np.asarray(logits)[: len(few)] / facts.scale)
        return np.concatenate([*found, np.zeros((0, len(roles.classes[TARGET])))])

    names = exhibits.attacked(workdir, roles, roles.classes[TARGET])
    test = {name: experiment.photographs_of(loaded, name, roles.test) for name in names}
    seen = {}
    for name in names:
        place = roles.classes[TARGET].index(name)
        clones = storage.map_array(workdir.clones_of(name), "clones")
        others = exhibits.of_others(workdir, name, names, len(clones))
        strangers = np.concatenate([test[name][:0], *[v for n, v in test.items() if n != name]])
        shown = (
            *(clones, storage.map_array(workdir.clones_of(name), "seed")),
            *(others, test[name], strangers),
        )
        seen[name] = unlocking.Similarities(*[similarities(each)[:, place] for each in shown])
    found = unlocking.unlocking(seen, facts.threshold, roles.seed)
    records.write(workdir.unlocking, found)
    logging.info(
        "At its threshold of %.3f the model takes %.1f%% of the clones for their person, %.1f%% of "
        "real photographs, %.1f%% of strangers",
        facts.threshold,
        *(100 * each.value for each in (found.clones, found.photographs, found.strangers)),
    )


def _check_attacked(roles: Protocol) -> None:
    """Refuses to attack classes of which there are no photographs, so that nobody could judge."""
    for name in identities.chosen(roles):
        if name not in roles.test:
            raise UserError(
                f"--identities names {name}, of whom --gallery_dir has no photographs: nobody "
                "could say whether a clone is like them"
            )


def main() -> None:
    """Admits the model, attacks it, and evaluates."""
    workdir = experiment.work_directory()
    wanted = scenario_flags.from_flags()
    check_judge()
    beside.check()
    admission.admit(workdir)
    loaded, roles = experiment.open_experiment(workdir)
    _check_attacked(roles)
    if experiment.load_recognizer(workdir, TARGET).remote is not None:
        names = identities.chosen(roles)
        asked_target.plan(workdir, wanted, roles, names, attack.RESTARTS.value)
    judges = panel.from_flags(loaded, roles)
    release_check.check_judges(judges)
    attack.attack(workdir, wanted)
    if jax.process_index():
        return  # One process evaluates.
    evaluate.conclude(workdir, judges, first=functools.partial(unlock, workdir, loaded, roles))


if __name__ == "__main__":
    flags.FLAGS.set_default("recipe", "best")
    console.run(main)
