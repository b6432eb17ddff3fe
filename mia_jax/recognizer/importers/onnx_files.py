"""Files of ONNX: the graph, the weights that lie beside it, and what a hub's links allow."""

import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from mia_jax.recognizer.importers import external, onnx_tidy
from mia_jax.runtime import packages
from mia_jax.runtime.errors import MissingError, UserError


def package() -> Any:
    """Imports the package onnx.

    Returns:
      The module.

    Raises:
      MissingError: If it is not installed.
    """
    try:
        import onnx
        import onnx.inliner
        import onnx.reference
    except ImportError as error:
        raise MissingError(
            f"a model in ONNX needs the package onnx: {packages.hint('onnx')}"
        ) from error
    return onnx


def read(path: str | os.PathLike[str]) -> Any:
    """Reads a file, with the weights that lie beside it.

    Args:
      path: The file.

    Returns:
      `onnx.ModelProto`, whose nodes are in an order in which they can be evaluated.

    Raises:
      MissingError: If the file is missing.
      UserError: If it is damaged, or its weights lie elsewhere: see `external.check`.
    """
    onnx = package()
    if not pathlib.Path(path).is_file():
        raise MissingError(f"{path} does not exist: name a file of a model")
    try:
        proto = onnx.load(path, load_external_data=False)
        external.check(proto, path)
        for tensor in _tensors(proto.graph):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                _fill(tensor, pathlib.Path(path))
        for output in proto.graph.output:  # Only the checker wants to know their shape.
            output.type.tensor_type.shape.SetInParent()
        onnx_tidy.spell_out(proto)
        onnx_tidy.sort(proto.graph)
        onnx.checker.check_model(proto)
    except external.ElsewhereError:
        raise
    except Exception as error:  # protobuf, onnx and the file system each have their own.
        reason, *_ = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{path} is no whole ONNX model ({reason})") from error
    return proto


def _tensors(graph: Any) -> Iterator[Any]:
    """Goes through all tensors of a graph, those of branches too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for branch in (attribute.g, *attribute.graphs):
                yield from _tensors(branch)


def _fill(tensor: Any, path: pathlib.Path) -> None:
    """Reads the numbers of a tensor from the file beside the model that it names."""
    onnx = package()
    about = onnx.external_data_helper.ExternalDataInfo(tensor)
    whole = path.parent / about.location
    start, size = about.offset or 0, whole.stat().st_size
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    bits = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}
    wanted = -(-math.prod(tensor.dims) * bits.get(kind.name, 8 * kind.itemsize) // 8)
    length = size - start if about.length is None else about.length
    if start < 0 or length != wanted or start + length > size:
        raise UserError(
            f"{tensor.name} needs {wanted} bytes of {about.location!r} from {start}, which has "
            f"{size}"
        )
    with whole.open("rb") as file:
        file.seek(start)
        tensor.raw_data = file.read(length)
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
