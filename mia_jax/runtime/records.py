"""Frozen dataclasses as JSON files: what one stage writes down for the next, and for the report.

A file starts with the number of its schema. Whatever does not fit the dataclass, an unknown field,
a missing one, or a value of another type, is an error that names the field: a misspelled one never
becomes a gap in a report.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import cattrs
from cattrs.cols import list_structure_factory, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn
from cattrs.strategies import configure_union_passthrough

from mia_jax.runtime import storage
from mia_jax.runtime.errors import UserError

SCHEMA = 1

Record = TypeVar("Record")


def write(path: pathlib.Path, record: Any) -> None:
    """Writes a frozen dataclass whole, as JSON.

    Args:
      path: The file.
      record: The dataclass; its numbers are finite.

    Raises:
      ValueError: If a number is NaN or infinite.
    """
    storage.write_json(path, versioned(record))


def versioned(record: Any) -> dict[str, Any]:
    """Returns what `write` writes: the number of the schema, and the dataclass as JSON."""
    return {"schema": SCHEMA, **to_json(record)}


def read(path: pathlib.Path, cls: type[Record]) -> Record:
    """Reads a dataclass that `write` wrote.

    Args:
      path: The file.
      cls: The dataclass.

    Returns:
      What was written.

    Raises:
      MissingError: If there is no such file.
      UserError: If it is of another schema or does not fit the dataclass, naming file and field.
    """
    data = storage.read_json(path)
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise UserError(
            f"{path} has the schema {found}, and this version of mia_jax reads {SCHEMA}: delete it "
            "to redo it"
        )
    try:
        return from_json(cls, {name: data[name] for name in data if name != "schema"})
    except UserError as error:
        raise UserError(f"{path}: {error}: delete it to redo it") from None


def to_json(record: Any) -> dict[str, Any]:
    """Returns a dataclass as JSON would give it back: dictionaries, lists, texts and numbers.

    Args:
      record: The dataclass, with others, tuples, mappings and sets of texts within.

    Returns:
      Its fields by name.
    """
    return _CONVERTER.unstructure(record)


def digest(record: Any, *more: Any) -> str:
    """Names a result by all that it depends on, so that no other is taken for it.

    Args:
      record: A dataclass instance.
      *more: What JSON can hold.

    Returns:
      12 hexadecimal digits.
    """
    text = json.dumps([to_json(record), *more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def from_json(cls: type[Record], data: Any) -> Record:
    """Restores what `to_json` made, after it went through a file.

    Args:
      cls: The dataclass.
      data: The dictionary.

    Returns:
      The dataclass.

    Raises:
      UserError: If something does not fit, naming the first such field.
    """
    try:
        return _CONVERTER.structure(data, cls)
    except Exception as error:  # cattrs collects them in groups of its own.
        message, *_ = cattrs.transform_error(error, format_exception=lambda each, _: str(each))
        what, _, where = message.rpartition(" @ $")
        field = where.removeprefix(".")
        raise UserError(f"{field}: {what}" if field else what) from None


def _checked(accepts: Any, words: str, inner: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Restores values of one JSON type only: by itself cattrs would turn "12" into 12 or (1, 2)."""

    def structure(value: Any, _: Any) -> Any:
        flag = isinstance(value, bool) and accepts is not bool  # To Python a bool is an int.
        endless = isinstance(value, float) and not math.isfinite(value)
        if flag or endless or not isinstance(value, accepts):
            shown = repr(value)
            shown = shown if len(shown) <= 40 else f"{shown[:40]}..."
            raise ValueError(f"{shown} is not {words}")
        return inner(value)

    return structure


def _dataclass(cls: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """Restores a dataclass, whose fields must all be there, those with a default too."""
    names = [field.name for field in dataclasses.fields(cls)]
    fields: Any = make_dict_structure_fn(cls, converter)

    def all_fields(value: Any) -> Any:
        for name in names:
            if name not in value:
                raise ValueError(f"the field {name!r} is missing")
        for name in value:
            if name not in names:
                raise ValueError(f"the field {name!r} is unknown")
        return fields(value, cls)

    return _checked(dict, "an object", all_fields)


def _array(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """Restores a set, or a tuple of any length."""
    collection, (of, *_) = typing.get_origin(kind), typing.get_args(kind)
    of_list: Any = types.GenericAlias(list, (of,))
    items: Any = list_structure_factory(of_list, converter)
    return _checked(list, "an array", lambda value: collection(items(value, None)))


def _object(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """Restores a mapping."""
    items: Any = mapping_structure_factory(kind, converter)
    return _checked(dict, "an object", lambda value: items(value, None))


def _is_array(kind: Any) -> bool:
    """Tells whether a type is a set, or a tuple of any length."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    return origin is frozenset or (origin is tuple and arguments[1:] == (...,))


def _make_converter() -> cattrs.Converter:
    """Returns a converter that guesses nothing."""
    converter = cattrs.Converter(unstruct_collection_overrides={tuple: list, frozenset: sorted})
    configure_union_passthrough(str | bool | int | float | None, converter)
    for kind, accepts, words in (
        (str, str, "a text"),
        (bool, bool, "true or false"),
        (int, int, "a whole number"),
        (float, (int, float), "a finite number"),
    ):
        converter.register_structure_hook(kind, _checked(accepts, words, kind))
    converter.register_structure_hook_factory(dataclasses.is_dataclass, _dataclass)
    converter.register_structure_hook_factory(_is_array, _array)
    converter.register_structure_hook_factory(
        lambda kind: typing.get_origin(kind) in (dict, Mapping), _object
    )
    return converter


_CONVERTER = _make_converter()
