"""Numbers as files of ONNX hold them: tensors, sparse ones, constants, attributes."""

from typing import Any

import numpy as np

from mia_jax.runtime.bounds import check_size
from mia_jax.runtime.errors import UserError


def dense(sparse: Any) -> np.ndarray:
    """Fills in the zeros of a tensor of which only the rest is written down.

    Args:
      sparse: `onnx.SparseTensorProto`.

    Returns:
      All its numbers.

    Raises:
      UserError: If they are too many.
    """
    from onnx import numpy_helper

    check_size(sparse.dims)
    values = numpy_helper.to_array(sparse.values)
    places = numpy_helper.to_array(sparse.indices)
    array = np.zeros(tuple(sparse.dims), values.dtype)
    if places.ndim == 2:
        array[tuple(places.T)] = values
    else:
        array.reshape(-1)[places] = values
    return array


def attribute_of(proto: Any) -> Any:
    """Reads an attribute.

    Args:
      proto: `onnx.AttributeProto`.

    Returns:
      A number, a string, an array, or a list; a graph as it is.
    """
    from onnx import AttributeProto, helper, numpy_helper

    value = helper.get_attribute_value(proto)
    if proto.type == AttributeProto.STRING:
        return value.decode()
    if proto.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(value)
    return list(value) if proto.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value


def constant(node: Any) -> np.ndarray:
    """Reads the number or numbers of a constant.

    Args:
      node: `onnx.NodeProto` of a Constant.

    Returns:
      The numbers.

    Raises:
      UserError: If it holds none.
    """
    (found,) = node.attribute or (None,)
    if found is not None and found.name == "sparse_value":
        return dense(found.sparse_tensor)
    if found is None or found.name.startswith("value_string"):
        raise UserError("it holds neither numbers nor a tensor")
    value = attribute_of(found)
    kind = np.float32 if "float" in found.name else np.int64
    return value if isinstance(value, np.ndarray) else np.array(value, kind)
