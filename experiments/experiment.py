"""The experiment in a work directory: its faces, its protocol, its recognizers, its account."""

import contextlib
import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import flags, logging

from experiments import devices, options
from mia_jax import faces, recognizer
from mia_jax.faces import protocol
from mia_jax.runtime import storage
from mia_jax.runtime.storage import WorkDirectory

flags.adopt_module_key_flags(options)
flags.adopt_module_key_flags(devices)
ROLES = (protocol.TARGET, protocol.EVALUATOR)
LOADERS: dict[str, Callable[..., faces.Faces]] = {
    "orl": faces.load_orl,
    "folder": faces.load_folder,
    "lfw": functools.partial(faces.load_tfds, "lfw"),
    "vgg_face2": functools.partial(faces.load_tfds, "vgg_face2"),
}


@functools.cache  # The stages of `reproduce` share them.
def _load(dataset: str, **arguments: Any) -> faces.Faces:
    """Loads the faces."""
    if dataset in ("lfw", "vgg_face2"):
        arguments["download"] = options.DOWNLOAD.value
    started = time.perf_counter()
    loaded = LOADERS[dataset](**arguments)
    logging.info(
        "%d photographs of %d people read in %.1f s",
        len(loaded.images),
        len(loaded.names),
        time.perf_counter() - started,
    )
    return loaded


def _photographs(loaded: faces.Faces) -> dict[str, int]:
    """Counts the photographs of each person."""
    counts = np.bincount(loaded.identities, minlength=len(loaded.names))
    return {name: int(count) for name, count in zip(loaded.names, counts, strict=True)}


def open_experiment(workdir: WorkDirectory) -> tuple[faces.Faces, protocol.Protocol]:
    """Loads the faces and the protocol, which the first stage to run writes.

    A flag that was given and contradicts the work directory is refused.

    Args:
      workdir: The work directory.

    Returns:
      The faces and the protocol.

    Raises:
      ValueError: If flags or faces contradict the protocol in the work directory.
    """
    if not workdir.protocol.exists():
        about, settings = options.of_faces(), options.of_protocol()
        loaded = _load(**about)
        photographs = _photographs(loaded)
        made = protocol.make_protocol(photographs, **settings)
        del settings["seed"]  # It stands in the protocol.
        about = {"faces": about, "settings": settings, "photographs": photographs}
        storage.write_json(workdir.protocol, {**protocol.to_json(made), **about})
        return loaded, made

    stored = options.check_against(workdir)
    loaded = _load(**stored["faces"])
    if _photographs(loaded) != stored["photographs"]:
        raise ValueError(
            f"the faces are not those for which {workdir.protocol} was made: restore them, or "
            "choose another --workdir"
        )
    return loaded, protocol.from_json(stored)


def work_directory() -> WorkDirectory:
    """Opens the work directory and the devices before anything is computed.

    Returns:
      The work directory.

    Raises:
      ValueError: If the flag is missing, or the device is.
      OSError: If the directory cannot be written.
    """
    root = options.WORKDIR.value
    if not root:
        raise ValueError("--workdir is needed: a directory for everything that is written")
    workdir = WorkDirectory(root)
    try:
        storage.check_writable(workdir.root)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"--workdir={root} is a file: name a directory") from None
    devices.start()
    return workdir


def need_protocol(workdir: WorkDirectory) -> None:
    """Checks that a recognizer was trained in this work directory.

    Args:
      workdir: The work directory.

    Raises:
      FileNotFoundError: If not.
    """
    if not workdir.protocol.exists():
        raise FileNotFoundError(
            f"{workdir.root} holds no experiment yet: run python -m experiments.train first"
        )


def photographs_of(
    loaded: faces.Faces, name: str, split: Mapping[str, tuple[int, ...]]
) -> np.ndarray:
    """Reads some of a person's photographs.

    Args:
      loaded: All faces.
      name: The person.
      split: Which photographs of each person.

    Returns:
      `[n, height, width, channels]` in [0, 1].
    """
    return np.asarray(loaded.images[loaded.indices_of(name)[list(split[name])]])


def load_recognizer(workdir: WorkDirectory, role: str) -> recognizer.Params:
    """Reads a trained recognizer.

    Args:
      workdir: The work directory.
      role: "target" or "evaluator".

    Returns:
      Its weights.

    Raises:
      FileNotFoundError: If it is not trained yet.
      ValueError: If the checkpoint does not fit the model.
    """
    home = workdir.recognizer(role)
    if not (home / "recognizer.json").exists():
        raise FileNotFoundError(
            f"{home} holds no trained recognizer: run python -m experiments.train --role={role} "
            "with the same --workdir first"
        )
    about = storage.read_json(home / "recognizer.json")
    shape = tuple(about["image_shape"])
    like = jax.eval_shape(lambda: recognizer.init(jax.random.key(0), about["classes"], shape))
    return storage.restore_checkpoint(home / "checkpoint", like)


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
    account = storage.read_json(workdir.seconds) if workdir.seconds.exists() else {}
    spent = account.get(stage, 0.0) + time.perf_counter() - started
    storage.write_json(workdir.seconds, {**account, stage: round(spent, 2)})


def recipe_of(path: pathlib.Path) -> str:
    """Returns the recipe of a file of clones, as JSON."""
    return str(storage.map_array(path, "recipe"))


def described(settings: Any) -> dict[str, Any]:
    """Returns a frozen dataclass of plain values as JSON would give it back."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))
