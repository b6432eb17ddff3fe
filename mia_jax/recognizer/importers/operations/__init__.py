"""What the operations of an ONNX graph compute, by their names, in families.

Each function takes the node's attributes and the inputs, None for one left out. What shapes follow
from stays a numpy array while a function is traced, so that what follows from it is known then:
where all inputs are such arrays, the package onnx computes the operation.

Source: the operators of https://onnx.ai/onnx/operators.
"""

from collections.abc import Mapping

from mia_jax.recognizer.importers.operations import (
    elementwise,
    indexing,
    linear,
    normalization,
    pictures,
    quantization,
    reductions,
    resizing,
    shapes,
)
from mia_jax.recognizer.importers.operations.operation import (
    Layout,
    Operation,
    complete,
)

OPERATIONS: Mapping[str, Operation] = {
    **elementwise.OPERATIONS,
    **indexing.OPERATIONS,
    **linear.OPERATIONS,
    **normalization.OPERATIONS,
    **pictures.OPERATIONS,
    **quantization.OPERATIONS,
    **reductions.OPERATIONS,
    **resizing.OPERATIONS,
    **shapes.OPERATIONS,
}

__all__ = ["OPERATIONS", "Layout", "Operation", "complete"]
