"""Trains the recognizers: the target, and those that score its clones.

For example: python -m experiments.train --workdir=runs/orl --role=target
"""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import jax
import tensorboardX
from absl import flags, logging

from experiments import console, devices, experiment, options
from mia_jax.evidence import statistics
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.recognizer import Params, RecognizerFacts, photographs, placement, training
from mia_jax.recognizer.architectures import ARCHITECTURES
from mia_jax.recognizer.photographs import Photographs
from mia_jax.runtime import checkpoints, records, sharding, storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

flags.adopt_module_key_flags(experiment)
_NOISE = flags.DEFINE_float(
    "training_noise",
    training.AUGMENTATION.noise,
    "Largest standard deviation of the noise on the photographs that train; the gray levels lie "
    "in [0, 1].",
    lower_bound=0.0,
)
_RESIDUAL = flags.DEFINE_list(
    "residual",
    [],
    f"Recognizers that are small residual networks instead of the paper's: {TARGET}, or some of "
    "--evaluators; whoever is of the same architecture is the easier fooled by the same noise.",
)
# Each is the field of `training.Settings` of that name: what it says, its bounds.
_SETTINGS = {
    "learning_rate": ("Adam's rate in training.", 1e-8, None),
    "batch_size": ("Photographs in one step of training.", 1, None),
    "dropout": (
        "Fraction of the units of L5 and L6, or of a residual network's features, that a step of "
        "training leaves out.",
        0,
        0.95,
    ),
    "averaging": ("Part of the running mean of the weights that a step leaves.", 0, 0.9999),
    "max_epochs": ("Most epochs of training.", 1, None),
    "evaluate_every": ("Epochs between looks at the validation photographs.", 1, None),
    "patience": ("Epochs without progress on them that end training.", 1, None),
}
for _name, (_help, _least, _most) in _SETTINGS.items():
    _default = getattr(training.Settings(), _name)
    _define: Callable[..., Any] = flags.DEFINE_float
    if isinstance(_default, int):
        _define = flags.DEFINE_integer
    _define(_name, _default, _help, _least, _most)


def settings(workdir: WorkDirectory) -> dict[str, training.Settings]:
    """Returns the training settings that the flags ask for, before anything is computed.

    Args:
      workdir: The work directory.

    Returns:
      Those of the target and of each evaluator.

    Raises:
      UserError: If --residual names nobody of them.
    """
    plan = experiment.check_flags(workdir)
    division = plan.division if plan else options.of_division()
    names = [TARGET, *division.evaluators]
    _check_names("residual", _RESIDUAL.value, names)
    augmentation = dataclasses.replace(training.AUGMENTATION, noise=_NOISE.value)
    values: dict[str, Any] = {name: flags.FLAGS[name].value for name in _SETTINGS}
    how = training.Settings(**values, augmentation=augmentation)
    residual = dataclasses.replace(how, architecture="resnet")
    return {role: residual if role in _RESIDUAL.value else how for role in names}


def _check_names(flag: str, given: Sequence[str], names: Sequence[str]) -> None:
    """Refuses who is no recognizer."""
    for name in given:
        if name not in names:
            raise UserError(f"--{flag}={name} is no recognizer here: choose from {names}")


def train(workdir: WorkDirectory, role: str, how: training.Settings) -> None:
    """Trains one recognizer and tests it, unless it is there already.

    Args:
      workdir: The work directory.
      role: "target", or the name of an evaluator.
      how: How to train.

    Raises:
      UserError: If the recognizer there was trained with other settings.
    """
    loaded, roles = experiment.open_experiment(workdir)
    learn(workdir, loaded, roles, role, how)


def learn(
    workdir: WorkDirectory, loaded: Faces, roles: Protocol, role: str, how: training.Settings
) -> None:
    """Trains and tests one recognizer of a protocol, unless it is there already.

    Args:
      workdir: Where to.
      loaded: All faces.
      roles: Who is who.
      role: "target", or the name of an evaluator.
      how: How to train.

    Raises:
      UserError: If the recognizer there was trained with other settings.
    """
    home, names = workdir.recognizer(role), roles.classes[role]
    started_with = home / "settings.json"
    if started_with.exists() and records.read(started_with, training.Settings) != how:
        raise UserError(
            f"{home} was trained with other settings ({started_with}): give the same flags, or "
            "choose another --workdir"
        )
    if (home / "recognizer.json").exists():
        logging.info("The %s is trained already: %s", role, home)
        return
    records.write(started_with, how)
    train_on = photographs.pick(loaded, names, roles.training[role])
    validation, test = (
        photographs.pick(loaded, names, split) for split in (roles.validation, roles.test)
    )
    logging.info(
        "Training the %s: %d people, %d photographs; %d for validation, %d for the test",
        *(role, len(names), len(train_on.indices), len(validation.indices), len(test.indices)),
    )
    apply_fn = ARCHITECTURES[how.architecture].logits
    params, epochs = fit(workdir, role, how, roles.seed, train_on, validation)
    checkpoints.save_checkpoint(home / "checkpoint", params)
    if jax.process_index() == 0:
        _, accuracy = training.measure(params, test, apply_fn=apply_fn)
        interval = statistics.wilson_interval(accuracy, len(test.indices))
        facts = RecognizerFacts(
            role=role,
            classes=len(names),
            image_shape=tuple(loaded.images.shape[1:]),
            epochs=epochs,
            training_photographs=len(train_on.indices),
            validation_photographs=len(validation.indices),
            test_photographs=len(test.indices),
            validation_accuracy=training.measure(params, validation, apply_fn=apply_fn)[1],
            test_accuracy=accuracy,
            test_accuracy_interval=interval,
            settings=how,
            digest=checkpoints.digest(params),
        )
        records.write(home / "recognizer.json", facts)
        shutil.rmtree(home / "training")
        logging.info(
            "The %s recognizes %.1f%% of the test photographs (95%% interval %.1f%% to %.1f%%)",
            *(role, 100 * accuracy, *(100 * end for end in interval)),
        )
    sharding.wait_for_all(f"{role} trained")


def fit(
    workdir: WorkDirectory,
    role: str,
    how: training.Settings,
    seed: int,
    train_on: Photographs,
    validation: Photographs,
) -> tuple[Params, int]:
    """Trains to the end, from where an interrupted run stopped; returns weights and epochs."""
    home, first_process = workdir.recognizer(role), jax.process_index() == 0
    first_key, key = training.keys(seed, role)
    mesh = sharding.make_mesh(devices=devices.for_training(how.batch_size))
    batches = photographs.batches(train_on, how.batch_size, seed, mesh)
    _, *shape = train_on.images.shape
    classes = int(train_on.labels.max()) + 1
    state, rows = training.start(first_key, classes, shape, how.architecture), []
    for latest in checkpoints.steps_of(home / "training")[-1:]:
        state = checkpoints.restore_checkpoint(latest, state)
        table = storage.read_table(home / "metrics.csv")
        rows = [row for row in table if row["step"] <= int(state.step)]
        logging.info("Going on with the %s from step %d", role, state.step)
    done = int(state.step)
    state = sharding.place(mesh, state, placement.split_units(sharding.width(mesh)))
    rounds = training.rounds(state, batches, validation, key, how, mesh)
    with (
        tensorboardX.SummaryWriter(
            str(home), purge_step=done, write_to_disk=first_process
        ) as writer,
        console.progress(how.max_epochs * batches.epoch, done, role, "step") as bar,
    ):
        while not training.finished(state, batches.epoch, how):
            with experiment.timed(workdir, f"train_{role}"):
                state, metrics = next(rounds)
                rows.append(metrics._asdict())
                if first_process:
                    storage.write_table(home / "metrics.csv", rows)
                gathered = sharding.gather(mesh, state)
                checkpoints.save_step(home / "training", metrics.step, gathered)
            for name in metrics._fields[1:]:
                writer.add_scalar(name, getattr(metrics, name), metrics.step)
            bar.update(metrics.step - bar.n)
            logging.info("%s step %d: loss %.4f, validation %.4f, accuracy %.4f", role, *metrics)
    return sharding.gather(mesh, state.average), int(state.step) // batches.epoch


def main(wanted: Sequence[str] | None) -> None:
    """Trains the recognizers of these names; all by default."""
    workdir = experiment.work_directory()
    how = settings(workdir)
    _check_names("role", wanted or (), list(how))
    for role in wanted or how:
        train(workdir, role, how[role])


if __name__ == "__main__":
    _ROLE = flags.DEFINE_multi_string(
        "role",
        None,
        "Which recognizer to train: target, the one under attack, or one of --evaluators; by "
        "default all.",
    )
    console.run(lambda: main(_ROLE.value))
