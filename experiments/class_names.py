"""Who the classes of a model from elsewhere are: a file of names, or templates with names."""

import pathlib
from typing import Any

import numpy as np

from experiments import model_flags, path_flags
from mia_jax.runtime import names, storage
from mia_jax.runtime.errors import MissingError, UserError, list_some, shorten

LABELS = path_flags.define(
    "labels",
    None,
    "A file with the name of each class in their order, a line each or a JSON list, as the "
    "sub-folders of --gallery_dir are called; by default a classifier is asked which class each "
    "sub-folder is.",
)


def read_labels() -> tuple[str, ...]:
    """Reads the names of the classes, from --labels.

    Returns:
      The names, normalized, in the order of the classes.

    Raises:
      UserError: If there is no such file, or it does not name each class once.
    """
    path = pathlib.Path(str(LABELS.value))
    where = f"--labels={path}"
    if not path.exists():
        raise MissingError(f"{where} does not exist: name a file of the classes' names")
    if not path.is_file():
        raise UserError(f"{where} is no file: name one of the classes' names")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is no text in UTF-8: save it so") from error
    listed: Any = text.splitlines()
    if text.lstrip()[:1] in ("[", "{"):
        try:
            listed = storage.parse_json(text)
        except ValueError as error:
            raise UserError(f"{where} begins as JSON and is none ({error})") from error
    if isinstance(listed, dict):
        listed = _in_order(where, listed)
    odd = [name for name in listed if not isinstance(name, str | int) or isinstance(name, bool)]
    if odd:
        shown = shorten(ascii(odd[0]))
        raise UserError(f"{where} has {shown} where the name of a class belongs: give a text")
    found = [names.normalize(f"{name}") for name in listed]
    while found and not found[-1]:
        found.pop()
    if not found:
        raise UserError(f"{where} names nobody: give the name of each class, a line each")
    names.check_unique(found, where)
    return tuple(found)


def _in_order(where: str, listed: dict[str, Any]) -> list[Any]:
    """Returns the names of a dictionary, from numbers to names or the other way round."""
    pairs = [(key, value) for key, value in listed.items()]
    if all(isinstance(value, int) and not isinstance(value, bool) for _, value in pairs):
        pairs = [(value, key) for key, value in pairs]
    elif not all(key.isdecimal() for key in listed):
        raise UserError(
            f"{where} is a dictionary of {list_some([*listed])}: give the number of each class "
            "with its name, or a list of names"
        )
    by_number = {int(key): value for key, value in pairs}
    if sorted(by_number) != list(range(len(pairs))):
        raise UserError(
            f"{where} is a dictionary whose numbers are not 0 to {len(pairs) - 1}, each once: give "
            "the number of each class with its name, or a list"
        )
    return [by_number[number] for number in range(len(pairs))]


def read_templates() -> tuple[tuple[str, ...], np.ndarray]:
    """Reads enrolled templates, from --templates.

    Returns:
      The names, normalized, and the vectors `[n, features]` float32.

    Raises:
      UserError: If there is no such file, or it does not hold a vector for each name.
    """
    path = pathlib.Path(str(model_flags.TEMPLATES.value))
    if not path.is_file():
        raise MissingError(f"--templates={path} does not exist: name an .npz of names and vectors")
    try:
        with storage.checked_arrays(path) as arrays:
            labels, vectors = arrays["names"], arrays["vectors"]
    except UserError:
        raise
    except Exception as error:  # zipfile and numpy each have their own.
        raise UserError(f"--templates={path} is no .npz of names and vectors ({error})") from error
    if vectors.ndim != 2 or labels.shape != vectors.shape[:1] or not np.isfinite(vectors).all():
        raise UserError(
            f"--templates={path} holds names {labels.shape} and vectors {vectors.shape}: a finite "
            "vector for each name is needed"
        )
    found = tuple(names.normalize(name) for name in labels.tolist())
    names.check_unique(found, f"--templates={path}")
    return found, vectors.astype(np.float32)
