"""The work directory: where everything lies, and how it gets there whole or not at all.

protocol.json                      who is who
target/, evaluator/                a recognizer each:
  training/<step>/                   its state after the last round, until training is done
  checkpoint/                        its best weights
  metrics.csv, events.out.tfevents.* its training curves
  recognizer.json                    what it is; written last, so it says that training is done
clones/<identity>.npz              the clones of one person
clones/parts/                      restarts of a person whose attack is not yet done
clones/manifest.json               whose attack is done
evaluation.json, figures/, report.html
"""

import contextlib
import csv
import json
import os
import pathlib
import shutil
import tempfile
import urllib.parse
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

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

    def part_of(self, identity: str, first: int, last: int) -> pathlib.Path:
        """Restarts `first` to `last` of one person, while others are still missing."""
        return self.clones / "parts" / f"{file_name(identity)}-{first:06d}-{last:06d}.npz"

    @property
    def manifest(self) -> pathlib.Path:
        """Whose attack is done, and whose is not."""
        return self.clones / "manifest.json"

    @property
    def seconds(self) -> pathlib.Path:
        """How long each stage took, apart from the results, which do not depend on it."""
        return self.root / "seconds.json"

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


@contextlib.contextmanager
def _whole(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside a file, and renames it to that once it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    temporary = pathlib.Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Writes a file whole: to a temporary file first, which is then renamed.

    Args:
      path: The file; its directory is made where it does not exist.
      data: Its content.
    """
    with _whole(path) as file:
        file.write(data)


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
    with _whole(path) as file:
        np.savez(file, allow_pickle=False, **dict(arrays))


@contextlib.contextmanager
def _readable(path: pathlib.Path) -> Iterator[None]:
    """Puts whatever a damaged file raises in one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, numpy and zlib each have their own.
        raise ValueError(f"{path} cannot be read ({error}): delete it to redo it") from None


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
    with _readable(path), np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in (file.files if names is None else names)}


def names_of(path: pathlib.Path) -> list[str]:
    """Lists the arrays of an `.npz` file.

    Args:
      path: The file.

    Returns:
      Their names.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it is damaged.
    """
    with _readable(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def map_array(path: pathlib.Path, name: str) -> np.ndarray:
    """Opens one array of an `.npz` file of `write_arrays` in place, without reading it.

    Args:
      path: The file.
      name: Which array.

    Returns:
      The array, mapped to the file: a row is read when it is asked for.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it is damaged, compressed, or lacks the array.
    """
    with _readable(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError("it is compressed")
        # The local header: 30 bytes, the last four of them the lengths of name and extra field.
        file.seek(member.header_offset + 26)
        lengths = np.frombuffer(file.read(4), "<u2")
        file.seek(member.header_offset + 30 + int(lengths.sum()))
        np.lib.format.read_magic(file)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError("it holds objects")
        if np.prod(shape) == 0:
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def join_arrays(
    path: pathlib.Path, parts: Sequence[pathlib.Path], names: Iterable[str], common: Iterable[str]
) -> None:
    """Joins the arrays of several `.npz` files along their first axis, as `write_arrays` would.

    One part of one array is in memory at a time, however many there are.

    Args:
      path: The file to write, whole.
      parts: The files to join, in order.
      names: The arrays to join.
      common: The arrays that are the same in all parts, and are taken once.

    Raises:
      FileNotFoundError: If a part is missing.
      ValueError: If a part is damaged or lacks one of the arrays.
    """
    with _whole(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            # Not all parts at once: what is mapped and read counts as memory until it is let go.
            length = sum(len(map_array(part, name)) for part in parts)
            first = map_array(parts[0], name)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {
                    "descr": np.lib.format.dtype_to_descr(first.dtype),
                    "fortran_order": False,
                    "shape": (length, *first.shape[1:]),
                }
                np.lib.format.write_array_header_1_0(member, header)
                for part in parts:
                    # Read, not mapped, so that its checksum is looked at.
                    member.write(read_arrays(part, [name])[name].tobytes())
        for name, array in read_arrays(parts[0], common).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array)


def write_table(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a table whole, as CSV with a header.

    Args:
      path: The file.
      rows: The rows, at least one, all with the same columns.
    """
    lines = [",".join(rows[0])] + [",".join(str(row[name]) for name in rows[0]) for row in rows]
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
        rows = csv.DictReader(file)
        # Not json.loads: it refuses the nan and inf of a training that diverged.
        return [
            {key: int(value) if value.isdecimal() else float(value) for key, value in row.items()}
            for row in rows
        ]


def save_checkpoint(directory: pathlib.Path, tree: Any) -> None:
    """Writes a pytree of arrays whole, in place of what was there.

    Where several processes work as one, all of them call it.

    Args:
      directory: Where.
      tree: The arrays, the same on all devices.
    """
    # As numpy arrays they fit any number of devices that may read them.
    arrays = jax.tree.map(np.asarray, tree)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(directory, arrays, force=True)


def restore_checkpoint(directory: pathlib.Path, like: Any) -> Any:
    """Reads a pytree of arrays.

    Args:
      directory: Where.
      like: A pytree of the same structure, shapes and types: arrays or `jax.ShapeDtypeStruct`.

    Returns:
      The arrays, in host memory.

    Raises:
      FileNotFoundError: If there is no checkpoint.
      ValueError: If the checkpoint does not fit or is damaged.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} holds no checkpoint")
    unreadable = f"{directory} is not a readable checkpoint: delete it to redo it"
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            found = _shapes(checkpointer.metadata(directory).item_metadata.tree)
        except Exception as error:  # orbax, json and tensorstore each have their own.
            raise ValueError(unreadable) from error
        expected = _shapes(like)
        for name in sorted({*expected, *found}):
            if expected.get(name) != found.get(name):
                raise ValueError(
                    f"the checkpoint {directory} does not fit the model: {name} has the shape "
                    f"{found.get(name)} there, and {expected.get(name)} is needed"
                )
        try:
            empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
            return checkpointer.restore(directory, empty)
        except Exception as error:
            raise ValueError(unreadable) from error


def steps_of(directory: pathlib.Path) -> list[pathlib.Path]:
    """Lists the whole checkpoints below a directory, each named by its step, the last one last."""
    return sorted(path for path in directory.glob("*") if path.name.isdigit())


def save_step(directory: pathlib.Path, step: int, tree: Any) -> None:
    """Writes the checkpoint of a step, then removes those of earlier steps.

    Args:
      directory: Where the checkpoints of this training lie.
      step: The step.
      tree: The arrays.
    """
    save_checkpoint(directory / f"{step:08d}", tree)
    if jax.process_index():
        return
    for path in directory.iterdir():
        if path.name != f"{step:08d}":  # Also what an interrupted run left unfinished.
            shutil.rmtree(path)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each leaf, by its path such as L7/kernel.

    A named tuple comes back from a checkpoint as a dictionary: their paths must read the same.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in leaves
    }
