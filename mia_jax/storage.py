"""The work directory: where everything lies, and how it gets there whole or not at all.

    protocol.json                      who is who
    target/, evaluator/                a recognizer each:
      training/<step>/                   its state after the last round, until training is done
      checkpoint/                        its best weights
      metrics.csv, events.out.tfevents.* its training curves
      recognizer.json                    what it is; written last, so it says that training is done
    clones/<identity>.npz              the clones of one person
    clones/parts/                      restarts of a person whose attack is not yet done
    evaluation.json, figures/, report.html
"""

import csv
import json
import os
import pathlib
import tempfile
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


class WorkDirectory:
    """Paths within a work directory.

    Attributes:
      root: The directory itself.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Names a work directory, which need not exist yet."""
        self.root = pathlib.Path(root).absolute()

    @property
    def protocol(self) -> pathlib.Path:
        """Who is who."""
        return self.root / "protocol.json"

    def recognizer(self, role: str) -> pathlib.Path:
        """Everything of the recognizer "target" or "evaluator"."""
        return self.root / role

    @property
    def clones(self) -> pathlib.Path:
        """The clones of every person."""
        return self.root / "clones"

    def clones_of(self, identity: str) -> pathlib.Path:
        """The clones of one person."""
        return self.clones / f"{file_name(identity)}.npz"

    def part_of(self, identity: str, first: int) -> pathlib.Path:
        """The restarts of one person from number `first` on, while others are still missing."""
        return self.clones / "parts" / f"{file_name(identity)}-{first:06d}.npz"

    @property
    def evaluation(self) -> pathlib.Path:
        """All figures of the evaluation."""
        return self.root / "evaluation.json"

    @property
    def figures(self) -> pathlib.Path:
        """The pictures."""
        return self.root / "figures"

    @property
    def report(self) -> pathlib.Path:
        """The report."""
        return self.root / "report.html"


def file_name(identity: str) -> str:
    """Turns an identity's name into a safe file name; plain names stay as they are."""
    quoted = urllib.parse.quote(identity, safe=" ()+,=@[]{}'!#$&")
    return quoted.replace(".", "%2E") if quoted.startswith(".") else quoted


def check_writable(directory: pathlib.Path) -> None:
    """Makes a directory and checks that files can be written there.

    Args:
      directory: The directory, made with its parents where it does not exist.

    Raises:
      OSError: If it cannot be made or written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"x")
        file.flush()


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Writes a file whole: to a temporary file first, which is then renamed.

    Args:
      path: The file; its directory is made where it does not exist.
      data: Its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        pathlib.Path(temporary).chmod(0o644)
        pathlib.Path(temporary).replace(path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: pathlib.Path, data: Any) -> None:
    """Writes JSON whole, in a form that compares line by line.

    Args:
      path: The file.
      data: What `json.dumps` takes, without NaN.
    """
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: pathlib.Path) -> Any:
    """Reads JSON.

    Args:
      path: The file.

    Returns:
      Its content.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}): delete it to redo it") from None


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays whole, as `.npz`.

    Args:
      path: The file.
      arrays: By name; texts as arrays of str.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})
            file.flush()
            os.fsync(file.fileno())
        pathlib.Path(temporary).chmod(0o644)
        pathlib.Path(temporary).replace(path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def read_arrays(path: pathlib.Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Reads arrays from an `.npz` file.

    Args:
      path: The file.
      names: Which arrays; all of them by default.

    Returns:
      The arrays by name.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it is damaged or lacks one of the arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in (file.files if names is None else names)}
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, numpy and zlib each have their own.
        raise ValueError(f"{path} cannot be read ({error}): delete it to redo it") from None


def write_table(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a table whole, as CSV with a header.

    Args:
      path: The file.
      rows: The rows, at least one, all with the same columns.
    """
    lines = [",".join(rows[0])] + [",".join(str(value) for value in row.values()) for row in rows]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def read_table(path: pathlib.Path) -> list[dict[str, float]]:
    """Reads a table of numbers.

    Args:
      path: A CSV file with a header.

    Returns:
      The rows; none where there is no such file.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def save_checkpoint(directory: pathlib.Path, tree: Any) -> None:
    """Writes a pytree of arrays whole, in place of what was there.

    Args:
      directory: Where.
      tree: The arrays.
    """
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(directory, tree, force=True)


def restore_checkpoint(directory: pathlib.Path, like: Any) -> Any:
    """Reads a pytree of arrays.

    Args:
      directory: Where.
      like: A pytree of the same structure, shapes and types: arrays or `jax.ShapeDtypeStruct`.

    Returns:
      The arrays.

    Raises:
      FileNotFoundError: If there is no checkpoint.
      ValueError: If the checkpoint does not fit.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} holds no checkpoint")
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            tree = checkpointer.metadata(directory).item_metadata.tree
            found = {jax.tree_util.keystr(path): leaf.shape for path, leaf in _leaves(tree)}
        except Exception as error:
            raise ValueError(f"{directory} is not a readable checkpoint ({error})") from None
        expected = {jax.tree_util.keystr(path): leaf.shape for path, leaf in _leaves(like)}
        for name in sorted({*expected, *found}):
            if expected.get(name) != found.get(name):
                raise ValueError(
                    f"the checkpoint {directory} does not fit the model: {name} has the shape "
                    f"{found.get(name)} there, and {expected.get(name)} is needed"
                )
        return checkpointer.restore(directory, like)


def _leaves(tree: Any) -> list:
    """Returns (path, leaf) pairs."""
    return jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))[0]
