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
    attack,
    beside,
    checks,
    console,
    evaluate,
    exhibits,
    experiment,
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
    apply = jax.jit(target.logits)

    def similarities(images: np.ndarray) -> np.ndarray:
        found = []
        for first in range(0, len(images), _BATCH):
            few = np.asarray(images[first : first + _BATCH])
            rest = np.zeros((_BATCH - len(few), *few.shape[1:]), few.dtype)
            logits = apply(target.params, np.concatenate([few, rest]))
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


def main() -> None:
    """Admits the model, attacks it, and evaluates."""
    wanted = scenario_flags.from_flags(trained_here=False)
    check_judge()
    workdir = experiment.work_directory()
    admission.admit(workdir, checks.whole_run)
    loaded, roles = experiment.open_experiment(workdir, checks.whole_run)
    judges = panel.from_flags(loaded, roles)
    attack.attack(workdir, wanted)
    if jax.process_index():
        return  # One process evaluates.
    evaluate.conclude(workdir, judges, first=functools.partial(unlock, workdir, loaded, roles))


if __name__ == "__main__":
    flags.FLAGS.set_default("recipe", "best")
    console.run(main)
