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
    checks,
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
from mia_jax.evidence import embedders, examination, unlocking
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.recognizer.answers import FEATURES
from mia_jax.runtime import packages, records, storage, workload
from mia_jax.runtime.errors import MissingError
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


def check_judge() -> None:
    """Refuses an audit that nobody could judge, before anything is computed.

    Raises:
      MissingError: If dlib is not installed, and no judge is named.
    """
    asked, own = flags.FLAGS["judges"].value, flags.FLAGS["judge"].value
    if not own and asked is None and not embedders.dlib_installed():
        raise MissingError(
            f"an audit needs a judge: {packages.hint('judge')}, or name your own as "
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
    if facts.threshold is None or facts.returns != FEATURES:
        return
    target = experiment.load_recognizer(workdir, TARGET)
    logits = asked_target.through(workdir, target, asked_target.EVALUATION).look()

    def similarities(images: np.ndarray) -> np.ndarray:
        return workload.in_batches(logits, images) / facts.scale

    def stored(name: str, what: str) -> np.ndarray:
        return similarities(storage.map_array(workdir.clones_of(name), what))

    names = exhibits.attacked(workdir, roles, roles.classes[TARGET])
    places = {name: roles.classes[TARGET].index(name) for name in names}
    test = {n: similarities(experiment.photographs_of(loaded, n, roles.test)) for n in names}
    own, others = {}, {}
    for name in names:  # Each clone is shown once: the first ones are compared with others too.
        clones, seeds = stored(name, "clones"), stored(name, "seed")
        own[name] = clones[:, places[name]], seeds[:, places[name]]
        shares = examination.share_of_others(name, names, len(clones))
        others[name] = clones[: max(shares.values(), default=0)]
    seen = {}
    for name, place in places.items():
        shares = examination.share_of_others(name, names, len(own[name][0]))
        strangers = [each for other, each in test.items() if other != name]
        compared = [others[other][:count] for other, count in shares.items()]
        shown = (
            np.concatenate([test[name][:0], *compared]),
            *(test[name], np.concatenate([test[name][:0], *strangers])),
        )
        seen[name] = unlocking.Similarities(*own[name], *[each[:, place] for each in shown])
    found = unlocking.unlocking(seen, facts.threshold)
    records.write(workdir.unlocking, found)
    logging.info(
        "At its threshold of %.3f the model takes %.1f%% of the clones for their person, %.1f%% of "
        "real photographs, %.1f%% of strangers",
        facts.threshold,
        *(100 * each.value for each in (found.clones, found.photographs, found.strangers)),
    )


def main() -> None:
    """Admits the model, attacks it, and evaluates."""
    wanted = scenario_flags.from_flags(trained_here=False)
    check_judge()
    workdir = experiment.work_directory()
    admission.admit(workdir, checks.whole_run)
    loaded, roles = experiment.open_experiment(workdir, checks.whole_run)
    if experiment.load_recognizer(workdir, TARGET).remote is not None:
        names = identities.chosen(roles)
        asked_target.plan(workdir, wanted, roles, names, attack.RESTARTS.value)
    judges = panel.from_flags(loaded, roles)
    attack.attack(workdir, wanted)
    if jax.process_index():
        return  # One process evaluates.
    evaluate.conclude(workdir, judges, first=functools.partial(unlock, workdir, loaded, roles))


if __name__ == "__main__":
    flags.FLAGS.set_default("recipe", "best")
    console.run(main)
