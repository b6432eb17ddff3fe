"""Trains the target or the evaluator, or both.

For example: python -m experiments.train --workdir=runs/orl --role=target
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence

import jax
import numpy as np
import tensorboardX
from absl import flags, logging

from experiments import console, devices, experiment, options
from mia_jax import faces
from mia_jax.evidence import evaluation
from mia_jax.faces import protocol
from mia_jax.recognizer import training
from mia_jax.runtime import sharding, storage
from mia_jax.runtime.storage import WorkDirectory

flags.adopt_module_key_flags(experiment)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Adam's rate in training.", 1e-8)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Photographs in one step of training.", 1)
_MAX_STEPS = flags.DEFINE_integer("max_steps", 500, "Most steps of training.", 1)
_EVALUATE_EVERY = flags.DEFINE_integer(
    "evaluate_every", 25, "Steps of training between looks at the held-out photographs.", 1
)
_PATIENCE = flags.DEFINE_integer(
    "patience", 200, "Steps without a better held-out accuracy that end training.", 1
)
_NOISE = flags.DEFINE_float(
    "training_noise",
    training.AUGMENTATION.noise,
    "Largest standard deviation of the noise on the photographs that train; the gray levels lie "
    "in [0, 1].",
    lower_bound=0.0,
)


def settings() -> training.Settings:
    """Returns the training settings that the flags ask for."""
    return training.Settings(
        learning_rate=_LEARNING_RATE.value,
        batch_size=_BATCH_SIZE.value,
        max_steps=_MAX_STEPS.value,
        evaluate_every=_EVALUATE_EVERY.value,
        patience=_PATIENCE.value,
        augmentation=dataclasses.replace(training.AUGMENTATION, noise=_NOISE.value),
    )


def photographs(
    loaded: faces.Faces, roles: protocol.Protocol, role: str
) -> tuple[training.Photographs, training.Photographs]:
    """Picks a recognizer's training and held-out photographs.

    Args:
      loaded: All faces.
      roles: Who is who.
      role: "target" or "evaluator".

    Returns:
      The photographs that train and those that measure.
    """

    def pick(split: Mapping[str, tuple[int, ...]]) -> training.Photographs:
        positions = [loaded.indices_of(name)[list(split[name])] for name in roles.classes[role]]
        labels = np.repeat(np.arange(len(positions)), [len(part) for part in positions])
        return training.Photographs(loaded.images, np.concatenate(positions), labels)

    return pick(roles.training), pick(roles.held_out)


def train(workdir: WorkDirectory, role: str, how: training.Settings) -> None:
    """Trains one recognizer, or goes on where an interrupted run stopped.

    Args:
      workdir: The work directory.
      role: "target" or "evaluator".
      how: How to train.

    Raises:
      ValueError: If the recognizer there was trained with other settings.
    """
    home = workdir.recognizer(role)
    options.check_against(workdir)
    started_with = home / "settings.json"
    described = experiment.described(how)
    if started_with.exists() and storage.read_json(started_with) != described:
        raise ValueError(
            f"{home} was trained with other settings ({started_with}): give the same flags, or "
            "choose another --workdir"
        )
    if (home / "recognizer.json").exists():
        logging.info("The %s is trained already: %s", role, home)
        return
    loaded, roles = experiment.open_experiment(workdir)
    storage.write_json(started_with, described)
    train_on, held_out = photographs(loaded, roles, role)
    classes = len(roles.classes[role])
    key = jax.random.fold_in(jax.random.key(roles.seed), sorted(experiment.ROLES).index(role))
    _, *shape = loaded.images.shape
    first_key, view_key = jax.random.split(key)
    mesh = sharding.make_mesh(devices=devices.for_training(how.batch_size))
    state = training.start(first_key, classes, shape, how.learning_rate)
    rows: list[dict] = []
    checkpoints = storage.steps_of(home / "training")
    if checkpoints:
        state = storage.restore_checkpoint(checkpoints[-1], state)
        rows = [
            row for row in storage.read_table(home / "metrics.csv") if row["step"] <= state.step
        ]
        logging.info("Going on with the %s from step %d", role, state.step)
    logging.info(
        "Training the %s: %d classes, %d photographs, %d held out",
        role,
        classes,
        len(train_on.indices),
        len(held_out.indices),
    )
    first_process = jax.process_index() == 0
    writer = tensorboardX.SummaryWriter(
        str(home), purge_step=int(state.step), write_to_disk=first_process
    )
    batch = training.batches(train_on, how.batch_size, roles.seed, mesh)
    state = sharding.place_training(mesh, state)
    with console.progress(how.max_steps, int(state.step), role, "step") as bar:
        rounds = training.rounds(state, batch, held_out, view_key, how, mesh)
        while True:
            with experiment.timed(workdir, f"train_{role}"):
                following = next(rounds, None)
                if following is None:
                    break
                state, metrics = following
                rows.append(metrics._asdict())
                if first_process:
                    storage.write_table(home / "metrics.csv", rows)
                storage.save_step(home / "training", metrics.step, sharding.gather(mesh, state))
            for name, value in rows[-1].items():
                if name != "step":
                    writer.add_scalar(name, value, metrics.step)
            bar.update(metrics.step - bar.n)
            logging.info(
                "%s step %d: loss %.4f, held out %.4f, accuracy %.4f",
                role,
                *metrics,
            )
    writer.close()

    storage.save_checkpoint(home / "checkpoint", sharding.gather(mesh, state.best_params))
    if not first_process:
        sharding.wait_for_all(f"{role} trained")
        return
    accuracy = float(state.best_accuracy)
    count = len(held_out.indices)
    interval = evaluation.wilson_interval(accuracy, count)
    summary = {
        "role": role,
        "classes": classes,
        "image_shape": shape,
        "best_step": int(state.best_step),
        "training_photographs": len(train_on.indices),
        "held_out_photographs": count,
        "held_out_accuracy": accuracy,
        "held_out_accuracy_interval": interval,
        "settings": described,
    }
    storage.write_json(home / "recognizer.json", summary)
    shutil.rmtree(home / "training")
    sharding.wait_for_all(f"{role} trained")
    logging.info(
        "The %s recognizes %.1f%% of %d held-out photographs (95%% interval %.1f%% to %.1f%%)",
        role,
        100 * accuracy,
        count,
        *(100 * end for end in interval),
    )


def main(roles: Sequence[str]) -> None:
    """Trains the recognizers of these roles."""
    workdir = experiment.work_directory()
    for role in roles:
        train(workdir, role, settings())


if __name__ == "__main__":
    _ROLE = flags.DEFINE_multi_enum(
        "role",
        experiment.ROLES,
        experiment.ROLES,
        "Which recognizer to train: the one under attack, or the one that scores the clones; by "
        "default both.",
    )
    console.run(lambda: main(_ROLE.value))
