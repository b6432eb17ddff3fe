"""The experiment in a work directory: its faces, its protocol, its recognizers, its account."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags, logging

from experiments import aligned, devices, imported, options, strangers
from experiments.aligned import Frame
from experiments.trained import Trained
from mia_jax import faces, recognizer
from mia_jax.faces import protocol
from mia_jax.faces.protocol import Protocol
from mia_jax.recognizer.architectures import ARCHITECTURES
from mia_jax.runtime import checkpoints, records, sharding, storage
from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.workdir import WorkDirectory

flags.adopt_module_key_flags(options)
flags.adopt_module_key_flags(devices)
flags.adopt_module_key_flags(imported)
LOADERS: dict[str, Callable[..., faces.Faces]] = {
    "orl": faces.load_orl,
    "folder": faces.load_folder,
    "lfw": functools.partial(faces.load_tfds, "lfw"),
    "vgg_face2": functools.partial(faces.load_tfds, "vgg_face2"),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything in `protocol.json`: which faces, and who plays which part.

    Attributes:
      faces: Which faces, and how they are read.
      division: How the parts are given.
      photographs: How many photographs there are of each person.
      auxiliary: How many there are in `--auxiliary_dir`; None without.
      protocol: Who plays which part.
    """

    faces: options.FacesOptions
    division: options.DivisionOptions
    photographs: Mapping[str, int]
    auxiliary: int | None
    protocol: Protocol


@functools.cache  # The stages of `reproduce` share them.
def load_faces(wanted: options.FacesOptions, frame: Frame | None = None) -> faces.Faces:
    """Loads the faces, those that the attacker has from elsewhere too.

    Args:
      wanted: Which, and how.
      frame: Where the faces of a folder, and those of the attacker, are brought to; None to take
        the middle of each photograph.

    Returns:
      The faces.

    Raises:
      UserError: If there are none, or they cannot be read.
    """
    arguments: dict[str, Any] = {
        name: value
        for name, value in dataclasses.asdict(wanted).items()
        if name not in ("dataset", "auxiliary_dir") and value is not None
    }
    if wanted.dataset in ("lfw", "vgg_face2"):
        arguments["download"] = options.DOWNLOAD.value
    started = time.perf_counter()
    with aligned.aligner(frame, wanted.data_dir) as aligner:
        if aligner is not None:
            arguments["aligner"] = aligner
        loaded = LOADERS[wanted.dataset](**arguments)
    logging.info(
        "%d photographs of %d people read in %.1f s",
        len(loaded.images),
        len(loaded.names),
        time.perf_counter() - started,
    )
    strangers.check_people(wanted, loaded)
    if not wanted.auxiliary_dir:
        return loaded
    _, image_size, _, channels = loaded.images.shape
    with aligned.aligner(frame, wanted.auxiliary_dir) as aligner:
        auxiliary, names = faces.load_named_photographs(
            wanted.auxiliary_dir,
            image_size=image_size,
            channels=channels,
            strict_images=bool(wanted.strict_images),
            aligner=aligner,
        )
    logging.info("The attacker has %d photographs in %s", len(auxiliary), wanted.auxiliary_dir)
    loaded = dataclasses.replace(loaded, auxiliary=auxiliary, auxiliary_names=names)
    strangers.check_auxiliary(wanted, loaded)
    return loaded


def photographs_by_person(loaded: faces.Faces) -> dict[str, int]:
    """Counts the photographs of each person."""
    counts = np.bincount(loaded.identities, minlength=len(loaded.names))
    return {name: int(count) for name, count in zip(loaded.names, counts, strict=True)}


def _auxiliary(loaded: faces.Faces) -> int | None:
    """Counts the photographs that the attacker has from elsewhere."""
    return None if loaded.auxiliary is None else len(loaded.auxiliary)


def check_flags(workdir: WorkDirectory) -> Plan | None:
    """Checks the flags that say which faces and who is who against the work directory.

    Args:
      workdir: The work directory.

    Returns:
      The plan there; None before the first stage.

    Raises:
      UserError: If a flag that was given contradicts it.
    """
    if not workdir.protocol.exists():
        return None
    plan = records.read(workdir.protocol, Plan)
    stored = {**dataclasses.asdict(plan.faces), **dataclasses.asdict(plan.division)}
    for name, value in stored.items():
        flag = flags.FLAGS[name]
        given = options.value_of(name)
        if flag.present and given != value:
            raise UserError(
                f"--{name}={flag.value} contradicts {workdir.protocol}, which was made with "
                f"{value}: choose another --workdir"
            )
    return plan


def open_experiment(
    workdir: WorkDirectory, check: Callable[[faces.Faces, Protocol], object] | None = None
) -> tuple[faces.Faces, Protocol]:
    """Loads the faces and the protocol, which the first stage to run writes.

    A flag that was given and contradicts the work directory is refused.

    Args:
      workdir: The work directory.
      check: What to look at before the protocol is written: refuses by a `UserError`.

    Returns:
      The faces and the protocol.

    Raises:
      UserError: If flags or faces contradict the protocol in the work directory.
    """
    plan = check_flags(workdir)
    if plan is None:
        wanted, division = options.of_faces(), options.of_division()
        loaded = load_faces(wanted)
        photographs = photographs_by_person(loaded)
        made = protocol.make_protocol(photographs, **division.arguments())
        plan = Plan(wanted, division, photographs, _auxiliary(loaded), made)
        if check is not None:
            check(loaded, made)
        records.write(workdir.protocol, plan)
        return loaded, made
    loaded = load_faces(plan.faces, _frame(workdir))
    if photographs_by_person(loaded) != plan.photographs:
        raise UserError(
            f"the faces are not those for which {workdir.protocol} was made: restore them, or "
            "choose another --workdir"
        )
    if _auxiliary(loaded) != plan.auxiliary:
        raise UserError(
            f"--auxiliary_dir={plan.faces.auxiliary_dir} holds {_auxiliary(loaded)} photographs, "
            f"not the {plan.auxiliary} for which {workdir.protocol} was made: restore them, or "
            "choose another --workdir"
        )
    if check is not None:
        check(loaded, plan.protocol)
    return loaded, plan.protocol


def _frame(workdir: WorkDirectory) -> Frame | None:
    """Says where a target from elsewhere wants faces to be; None where they stay as they are."""
    if not workdir.model.exists():
        return None
    align = records.read(workdir.model, imported.ModelFacts).preprocessing.align
    return Frame(align, workdir.points) if align else None


def work_directory() -> WorkDirectory:
    """Opens the work directory and the devices before anything is computed.

    Returns:
      The work directory, without what a killed run left half-written.

    Raises:
      UserError: If the flag is missing, or the device is.
      OSError: If the directory cannot be written.
    """
    root = options.WORKDIR.value
    if not root:
        raise UserError("--workdir is needed: a directory for everything that is written")
    workdir = WorkDirectory(root)
    try:
        storage.check_writable(workdir.root)
        storage.check_links(workdir.root)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--workdir={root} is a file: name a directory") from None
    devices.start()
    if jax.process_index() == 0:
        storage.clean(workdir.root)
        if workdir.protocol.exists():  # Nothing is taken from a directory of other things.
            storage.tighten(workdir.root)
    sharding.wait_for_all("opened")  # Nobody writes before that.
    return workdir


def need_protocol(workdir: WorkDirectory) -> None:
    """Checks that a recognizer was trained in this work directory.

    Args:
      workdir: The work directory.

    Raises:
      MissingError: If not.
    """
    if not workdir.protocol.exists():
        raise MissingError(
            f"{workdir.root} holds no experiment yet: run python -m experiments.train first"
        )


def photographs_of(
    loaded: faces.Faces, name: str, chosen: Mapping[str, Sequence[int]]
) -> np.ndarray:
    """Reads some of a person's photographs.

    Args:
      loaded: All faces.
      name: The person.
      chosen: Which photographs of each person.

    Returns:
      `[n, height, width, channels]` in [0, 1].
    """
    return np.asarray(loaded.images[loaded.indices_of(name)[list(chosen[name])]])


def auxiliary_photographs(loaded: faces.Faces, roles: Protocol) -> tuple[faces.Images, np.ndarray]:
    """Says which photographs the attacker has.

    Args:
      loaded: All faces.
      roles: Who is who.

    Returns:
      Those of `--auxiliary_dir`, or by default all of the data set; and the positions of the
      attacker's among them.
    """
    if loaded.auxiliary is not None:
        return loaded.auxiliary, np.arange(len(loaded.auxiliary))
    return loaded.images, np.concatenate([loaded.indices_of(name) for name in roles.auxiliary])


def attackers_people(loaded: faces.Faces, roles: Protocol) -> tuple[str, ...]:
    """Names whose faces the attacker has of the data set; nobody where these are from elsewhere."""
    return tuple(roles.auxiliary) if loaded.auxiliary is None else ()


def people_of_null(loaded: faces.Faces, roles: Protocol) -> int:
    """Counts among whom a judge may choose by chance: everybody but the attacker's people."""
    return len({*loaded.names} - {*attackers_people(loaded, roles)})


def auxiliary_faces(loaded: faces.Faces, roles: Protocol, limit: int) -> np.ndarray:
    """Reads the attacker's faces, of people who train no recognizer.

    Args:
      loaded: All faces.
      roles: Who is who.
      limit: The most to read, an arbitrary choice.

    Returns:
      `[n, height, width, channels]` in [0, 1].
    """
    images, _ = auxiliary_photographs(loaded, roles)
    return np.asarray(images[auxiliary_positions(loaded, roles, limit)])


def auxiliary_positions(loaded: faces.Faces, roles: Protocol, limit: int) -> np.ndarray:
    """Says which photographs the attacker has, at most so many: an arbitrary choice, rising."""
    _, positions = auxiliary_photographs(loaded, roles)
    if len(positions) > limit:
        order = protocol.shuffled(roles.seed, positions.tolist(), "auxiliary")
        positions = np.array(sorted(order[:limit]))
    return positions


def auxiliary_count(plan: Plan) -> int:
    """Counts the photographs that the attacker has, before a limit."""
    if plan.auxiliary is not None:
        return plan.auxiliary
    return sum(plan.photographs[name] for name in plan.protocol.auxiliary)


def load_recognizer(workdir: WorkDirectory, role: str) -> Trained:
    """Reads a trained recognizer.

    Args:
      workdir: The work directory.
      role: "target", or the name of an evaluator.

    Returns:
      Its weights, and the network that they are for.

    Raises:
      MissingError: If it is not trained yet.
      UserError: If the checkpoint does not fit the model, or a model from elsewhere has changed.
    """
    home = workdir.recognizer(role)
    if not (home / "recognizer.json").exists():
        raise MissingError(
            f"{home} holds no trained recognizer: run python -m experiments.train --role={role} "
            "with the same --workdir first"
        )
    about = records.read(home / "recognizer.json", recognizer.RecognizerFacts)
    if about.settings is None:
        return imported.load(str(workdir.root))
    architecture = ARCHITECTURES[about.settings.architecture]
    like = jax.eval_shape(
        lambda: architecture.init(jax.random.key(0), about.classes, about.image_shape)
    )
    params = checkpoints.restore_checkpoint(home / "checkpoint", like)
    return Trained(params, architecture.logits, architecture)


@contextlib.contextmanager
def timed(workdir: WorkDirectory, stage: str) -> Iterator[None]:
    """Adds the time of a block to the work directory's account, kept apart from the results.

    Args:
      workdir: The work directory.
      stage: Name of the account.

    Yields:
      Nothing.
    """
    started = time.perf_counter()
    yield
    if jax.process_index():  # The first process keeps it for all.
        return
    account = seconds(workdir)
    spent = account.get(stage, 0.0) + time.perf_counter() - started
    storage.write_json(workdir.seconds, {**account, stage: round(spent, 2)})


def seconds(workdir: WorkDirectory) -> dict[str, float]:
    """Returns how long each stage took so far.

    Raises:
      UserError: If the file holds anything but numbers by name.
    """
    if not workdir.seconds.exists():
        return {}
    try:
        return records.from_json(dict[str, float], storage.read_json(workdir.seconds))
    except MissingError:
        raise
    except UserError as error:
        raise UserError(f"{workdir.seconds}: {error}: delete it to count anew") from None
