"""How a binary talks to its user: log lines, progress, and one sentence for a mistake.

What a user can mend (`UserError`) and what the file system refuses is one line. Anything else is a
bug, and keeps its traceback, unless it follows from the end of another process of the same job.
"""

import errno
import logging as stdlib_logging
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import NoReturn

from absl import app, logging
from tqdm import tqdm

import mia_jax
from mia_jax.runtime import processes
from mia_jax.runtime.errors import UserError, printable

_OURS = [pathlib.Path(file).parent for file in (__file__, mia_jax.__file__)]
_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "it may not be read or written",
    errno.EPERM: "it may not be read or written",
    errno.EIO: "the disk cannot be read or written",
    errno.ESTALE: "the network disk is gone",
}


Main = Callable[[], None]


def run(main: Main | Mapping[str, Main]) -> None:
    """Runs a binary: one clear sentence and a non-zero exit for a user's mistake.

    Args:
      main: What to do once the flags are parsed, or such by the word that has to come before the
        flags. Exits with status 2 for a `UserError`, 1 for an error of the file system or a lost
        process, and 130 if it is interrupted; a release check with those of `release_check.CODES`.
    """

    def guarded(arguments: list[str]) -> None:
        signal.signal(signal.SIGTERM, _interrupt)
        logging.set_verbosity(logging.INFO)
        logging.use_absl_handler()
        logging.get_absl_handler().addFilter(_worth_reading)
        logging.get_absl_handler().addFilter(_escaped)
        os.umask(0o077)  # What is written shows people, by whatever library it is written.
        try:
            _chosen(main, arguments[1:])()
        except KeyboardInterrupt:
            end("interrupted: run the same command again to go on from the last saved step", 130)
        except UserError as error:
            end(str(error), 2)
        except Exception as error:
            if isinstance(error, OSError) and (error.filename or error.errno in _CAUSES):
                end(_explain(error), 1)  # Not what a network or a subprocess raises.
            if processes.lost():
                _abandon(error)
            raise

    app.run(guarded)


def _chosen(main: Main | Mapping[str, Main], words: Sequence[str]) -> Main:
    """Returns what the words that are no flags ask for."""
    surplus = words
    if isinstance(main, Mapping):
        if not words or words[0] not in main:
            said = f"{words[0]!r} is none" if words else "none was given"
            raise UserError(f"one of {', '.join(main)} has to come first: {said}")
        main, surplus = main[words[0]], words[1:]
    if surplus:
        raise UserError(f"{surplus[0]!r} is not a flag: flags look like --name=value")
    return main


def _worth_reading(record: stdlib_logging.LogRecord) -> bool:
    """Drops what other packages log, a dozen lines for each checkpoint, but not their warnings."""
    ours = any(pathlib.Path(record.pathname).is_relative_to(home) for home in _OURS)
    return ours or record.levelno > stdlib_logging.INFO


def _escaped(record: stdlib_logging.LogRecord) -> bool:
    """Spells out what a name in a line could do to a terminal, or that would begin another line."""
    lines = record.getMessage().split("\n")
    ours = any(pathlib.Path(record.pathname).is_relative_to(home) for home in _OURS)
    record.msg = ("\\n" if ours else "\n").join(map(printable, lines))
    record.args = None
    return True


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Makes SIGTERM end a run as Ctrl-C does."""
    del number, frame
    raise KeyboardInterrupt


def end(message: str, status: int) -> NoReturn:
    """Says one line and exits.

    Args:
      message: The line.
      status: The exit code.
    """
    logging.flush()
    print(f"{pathlib.Path(sys.argv[0]).stem}: {printable(message)}", file=sys.stderr)
    sys.exit(status)


def _abandon(error: Exception) -> NoReturn:
    """Says that another process is lost, and ends without waiting for it, as JAX would."""
    logging.flush()
    failed, *_ = f"{type(error).__name__}: {error}".splitlines()
    print(
        f"{pathlib.Path(sys.argv[0]).stem}: another process of this job ended: see what it said, "
        f"then start all of them again; what was finished is kept ({failed})",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _explain(error: OSError) -> str:
    """Puts an error of the file system in one sentence."""
    where = f" at {error.filename}" if error.filename else ""
    cause = _CAUSES.get(error.errno or 0, error.strerror or str(error))
    return f"{cause}{where}: what was finished is kept; run the same command again when it is fixed"


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
