"""Files that are whole or not there at all, whatever stops the process that writes them.

Everything goes to a temporary file beside its place first, which one rename puts there. Arrays are
stored as `.npz`, so that numpy alone opens them. numpy reads a member of such a file as a whole;
here members are mapped to the file, and joined part by part, since a person's clones may be too
many for memory. Chunked stores such as zarr, by way of tensorstore, would do both, but are
directories of many files, which no single rename makes whole.

What is written shows people, so that nobody but its owner may read it, whatever the umask. What is
read may be somebody else's: it is an ordinary file, and unpacks to no more than it says.
"""

import contextlib
import csv
import fcntl
import io
import json
import math
import os
import pathlib
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from mia_jax.runtime import bounds
from mia_jax.runtime.errors import MissingError, UserError, printable, shorten

_TEMPORARY = ".writing-"
_OTHERS = 0o077  # What others may do with a file or a directory.
# With these a spreadsheet begins to compute; the latter are = + - @ in full width.
_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def make_directory(directory: pathlib.Path) -> None:
    """Makes a directory that only its owner may read, with its parents, where it does not exist.

    Args:
      directory: The directory; one that is there stays as it is.

    Raises:
      OSError: If it cannot be made.
    """
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)


def tighten(path: pathlib.Path, below: bool = False) -> None:
    """Takes from others what they may do with a file or directory; nothing is ever widened.

    Args:
      path: The file or directory; what does not exist, or is somebody else's, stays as it is.
      below: Whether everything below it is meant as well.
    """
    for each in (path, *(path.rglob("*") if below else ())):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            mode = each.lstat().st_mode
            if mode & _OTHERS and not each.is_symlink():
                each.chmod(mode & 0o777 & ~_OTHERS)


def check_links(directory: pathlib.Path) -> None:
    """Refuses a directory with a link that leads out of it, through which others might be written.

    A pipe or a device, which may never end, is refused as well.

    Args:
      directory: The directory; it need not exist.

    Raises:
      UserError: If there is such a thing, naming it.
    """
    home = directory.resolve()
    for folder, folders, files in os.walk(directory):
        for path in (pathlib.Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(home):
                raise UserError(
                    f"{path} is a link that leads out of {directory}: nothing is written through "
                    "it, so put there what it leads to, or take it away"
                )
            with contextlib.suppress(
                FileNotFoundError
            ):  # Another process may remove what it wrote.
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                    raise UserError(f"{path} is no ordinary file: take it away")


def check_writable(directory: pathlib.Path) -> None:
    """Makes a directory and checks that files can be written there.

    Args:
      directory: The directory, made with its parents where it does not exist.

    Raises:
      OSError: If it cannot be made or written.
    """
    make_directory(directory)
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"x")
        file.flush()


@contextlib.contextmanager
def _whole(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside a file, and renames it to that once it is written."""
    make_directory(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY)
    temporary = pathlib.Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _lock(file: BinaryIO) -> bool:
    """Locks a file until it is closed, or its process killed; False where that is not possible."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # Another process holds it, or the file system knows no locks.
        return False
    return True


def clean(directory: pathlib.Path) -> None:
    """Removes the temporary files that a killed run left, those of a living one excepted.

    Args:
      directory: Where, with all that lies below; it need not exist.
    """
    for path in directory.rglob(f"{_TEMPORARY}*"):
        # Another process may finish or remove it at any moment.
        with contextlib.suppress(FileNotFoundError, IsADirectoryError), path.open("r+b") as file:
            if _lock(file):
                path.unlink()


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

    Raises:
      UserError: If a name in it, such as that of a folder, is not UTF-8.
    """
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        encoded = (text + "\n").encode()
    except UnicodeEncodeError as error:
        line = text[text.rfind("\n", 0, error.start) + 1 :].splitlines()[0]
        raise UserError(
            f"{path.name} cannot hold {shorten(line.strip())}, which is not UTF-8: rename what is "
            "called so"
        ) from None
    write_bytes(path, encoded)


def read_json(path: pathlib.Path) -> Any:
    """Reads JSON.

    Args:
      path: The file.

    Returns:
      Its content.

    Raises:
      MissingError: If there is no such file.
      UserError: If it is not JSON.
    """
    try:
        return parse_json(ordinary(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{path} does not exist") from None
    except ValueError as error:
        raise UserError(f"{path} is not readable JSON ({error}): delete it to redo it") from None


def parse_json(text: str) -> Any:
    """Reads JSON from a text that may be somebody else's.

    Args:
      text: The text.

    Returns:
      Its content.

    Raises:
      ValueError: If it is not JSON, so long or so deep that Python gives up, or holds half a
        character, which could not be written again.
    """
    if len(text) > bounds.JSON:
        raise ValueError(f"it has {len(text)} characters: at most {bounds.JSON} are read")
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is too deep") from None
    return found


def ordinary(path: pathlib.Path) -> pathlib.Path:
    """Tells a file from a pipe or a device, which may never end.

    Args:
      path: The path, where nothing need be.

    Returns:
      The same.

    Raises:
      ValueError: If something else than a file is there.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no ordinary file")
    return path


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
        ordinary(path)
        yield
    except FileNotFoundError:
        raise MissingError(f"{path} does not exist") from None
    except (PermissionError, UserError):
        raise
    except Exception as error:  # zipfile, numpy and zlib each have their own.
        raise UserError(f"{path} cannot be read ({error}): delete it to redo it") from None


@contextlib.contextmanager
def checked_arrays(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Opens an `.npz` file of others, once it is seen that it asks for no more than it holds.

    Args:
      path: The file.

    Yields:
      Its arrays by name, none of them pickled, as `numpy.load` gives them.

    Raises:
      UserError: If it unpacks to too much.
      Exception: What zipfile and numpy raise of a damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        bounds.check_unpacked(str(path), members)
        for member in members:
            with archive.open(member) as file:
                _header(file, member.file_size)
    with np.load(path, allow_pickle=False) as arrays:
        yield arrays


def _header(file: Any, size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Reads of what kind an array is, if it declares no more than there is.

    numpy would allocate it first.
    """
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
        version, np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read(file)
    # What takes no bytes, empty texts or rows without columns, could be there any number of times.
    numbers, wide = max(dtype.itemsize, 1) * math.prod(shape), math.prod(max(n, 1) for n in shape)
    if numbers > size or min(shape, default=0) < 0 or wide > max(size, bounds.ELEMENTS):
        raise ValueError(f"it declares an array of {shape}, and holds {size} bytes")
    return shape, fortran, dtype


def read_arrays(path: pathlib.Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Reads arrays from an `.npz` file.

    Args:
      path: The file.
      names: Which arrays; all of them by default.

    Returns:
      The arrays by name.

    Raises:
      MissingError: If there is no such file.
      UserError: If it is damaged or lacks one of the arrays.
    """
    with _readable(path), checked_arrays(path) as file:
        return {name: file[name] for name in (file.files if names is None else names)}


def names_of(path: pathlib.Path) -> list[str]:
    """Lists the arrays of an `.npz` file.

    Args:
      path: The file.

    Returns:
      Their names.

    Raises:
      MissingError: If there is no such file.
      UserError: If it is damaged.
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
      MissingError: If there is no such file.
      UserError: If it is damaged, compressed, or lacks the array.
    """
    with _readable(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError("it is compressed")
        # The local header: 30 bytes, the last four of them the lengths of name and extra field.
        file.seek(member.header_offset + 26)
        lengths = np.frombuffer(file.read(4), "<u2")
        file.seek(member.header_offset + 30 + int(lengths.sum()))
        shape, fortran, dtype = _header(file, member.file_size)
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
      MissingError: If a part is missing.
      UserError: If a part is damaged or lacks one of the arrays.
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


def write_table(
    path: pathlib.Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None
) -> None:
    """Writes a table whole, as CSV with a header.

    Args:
      path: The file.
      rows: The rows, all with the same columns. A text with which a spreadsheet would begin to
        compute is quoted.
      columns: Their names; by default those of the first row, which must be there.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns or [*rows[0]], lineterminator="\n")
    table.writeheader()
    table.writerows([{name: _cell(value) for name, value in row.items()} for row in rows])
    write_bytes(path, text.getvalue().encode())


def _cell(value: Any) -> Any:
    """Quotes a text that a spreadsheet would take for a formula; numbers stay as they are."""
    if not isinstance(value, str):
        return value
    text = printable(value)  # A return would begin another row.
    return f"'{text}" if text.startswith(_FORMULAS) else text


def read_table(path: pathlib.Path) -> list[dict[str, float]]:
    """Reads a table of numbers.

    Args:
      path: A CSV file with a header.

    Returns:
      The rows; none where there is no such file.

    Raises:
      UserError: If it is damaged.
    """
    if not path.exists():
        return []
    with _readable(path), path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, strict=True)
        # Not json.loads: it refuses the nan and inf of a training that diverged.
        return [
            {key: int(value) if value.isdecimal() else float(value) for key, value in row.items()}
            for row in rows
        ]
