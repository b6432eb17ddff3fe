"""Weights of an ONNX model that lie in files beside it: nowhere else, and not by way of a link.

The one exception is a hub's cache, which keeps links to the model and to its weights in one folder,
and all that they lead to in another.

onnx checks the same since 1.21; a file that shall be read here must not depend on that.
"""

import os
import pathlib
from collections.abc import Iterator
from typing import Any

from mia_jax.runtime import bounds
from mia_jax.runtime.errors import UserError, shorten


class ElsewhereError(UserError):
    """Weights that are not to be read, in one sentence."""


_EXTERNAL = 1  # onnx.TensorProto.EXTERNAL
_BYTES = 8 * bounds.ELEMENTS


def check(proto: Any, path: str | os.PathLike[str]) -> None:
    """Refuses a model that would have another file read than those in its own folder.

    Args:
      proto: `onnx.ModelProto`, of which no external data is read yet.
      path: Its file.

    Raises:
      ElsewhereError: If such a file is missing, lies elsewhere, is a link (but for a hub's), has
        another name too (a hard link), is no ordinary file, or is too large.
    """
    path = pathlib.Path(path)
    home = path.parent
    hub = path.resolve().parent if path.is_symlink() else None  # Where all links of a hub lead.
    named = {entry.value for tensor in _tensors(proto) for entry in tensor.external_data
             if entry.key == "location"}  # fmt: skip
    for location in sorted(named):
        parts = pathlib.PurePosixPath(location).parts
        said = f"{path} keeps weights in {shorten(ascii(location))}, which"
        plain = location and "\0" not in location and "\\" not in location
        if not plain or location.startswith("/") or ".." in parts:
            raise ElsewhereError(
                f"{said} lies in another folder: weights are read from its own only"
            )
        place = home
        for part in parts:
            place = place / part
            if place.is_symlink() and place.resolve().parent != hub:
                raise ElsewhereError(f"{said} is a link: put the file itself there")
        if not place.is_file():
            raise ElsewhereError(f"{said} is missing: put it beside the model")
        about = place.stat()
        if about.st_nlink > 1:
            raise ElsewhereError(f"{said} has another name elsewhere (a hard link): copy it")
        if about.st_size > _BYTES:
            raise ElsewhereError(f"{said} has {about.st_size} bytes: at most {_BYTES} are read")


def _tensors(message: Any) -> Iterator[Any]:
    """Finds all tensors whose numbers lie elsewhere, however deep."""
    waiting = [message]
    while waiting:
        each = waiting.pop()
        if each.DESCRIPTOR.name == "TensorProto" and each.data_location == _EXTERNAL:
            yield each
        for field, value in each.ListFields():
            if field.message_type is not None:
                waiting.extend(value if hasattr(value, "__len__") else [value])
