"""Operations on whole numbers of few bits that stand for others.

What is quantized of the pictures stays an array of floats, which hold whole numbers, so that a
gradient passes: straight through the rounding, and nothing where it is cut off at either end.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mia_jax.recognizer.importers.operations.operation import (
    Attributes,
    Layout,
    Operation,
)
from mia_jax.runtime.errors import UserError

_ENDS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}
_ENDS |= {"uint4": (0, 15), "int4": (-8, 7)}
_KINDS = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}  # TensorProto's.


@jax.custom_jvp
def _rounded(x: jax.Array) -> jax.Array:
    """Rounds to whole numbers, whose gradient is taken for that of what is rounded."""
    return jnp.round(x)


_rounded.defjvp(lambda primals, tangents: (_rounded(*primals), tangents[0]))


def _spread(attributes: Attributes, x: Any, parameter: Any) -> Any:
    """Gives scales or zero points the axes of what they belong to."""
    parameter = jnp.asarray(parameter)
    if not jnp.issubdtype(parameter.dtype, jnp.floating):
        parameter = parameter.astype(jnp.result_type(float))
    if parameter.size == 1:
        return parameter.reshape(())
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    if not block and parameter.ndim == 1:
        sides = [1] * x.ndim
        sides[axis] = -1
        return parameter.reshape(sides)
    if not block or parameter.ndim != x.ndim:
        raise UserError("its scales have several axes, and no block_size says what for")
    whole = jnp.repeat(parameter, block, axis)
    return jax.lax.slice_in_dim(whole, 0, x.shape[axis], axis=axis)


def _quantize(attributes: Attributes, x: Any, scale: Any, zero: Any = None) -> Any:
    x = jnp.asarray(x)
    number = attributes.get("output_dtype") or None
    name = "uint8" if zero is None else str(zero.dtype)
    name = _KINDS.get(number, f"type {number}") if number else name
    if name not in _ENDS:
        raise UserError(f"it quantizes to {name}: only {', '.join(_ENDS)} are supported")
    moved = _rounded(x / _spread(attributes, x, scale))
    moved = moved if zero is None else moved + _spread(attributes, x, zero)
    return jnp.clip(moved, *_ENDS[name])


def _dequantize(attributes: Attributes, x: Any, scale: Any, zero: Any = None) -> Any:
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(jnp.result_type(float))
    x = x if zero is None else x - _spread(attributes, x, zero)
    return x * _spread(attributes, x, scale)


_VERSIONS = (10, 13, 19, 21, 23, 24, 25, 28)
_PLACE = {"axis": None, "block_size": None, "output_dtype": None}

OPERATIONS: Mapping[str, Operation] = {
    "DequantizeLinear": Operation(
        *(_dequantize, _VERSIONS, _PLACE), layout=Layout.ALONG, weights=(1,)
    ),
    "QuantizeLinear": Operation(
        *(_quantize, _VERSIONS, {**_PLACE, "saturate": None, "precision": None}),
        layout=Layout.ALONG,
        weights=(1,),
    ),
}


def lower(
    kind: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    attributes: Mapping[str, Any],
    one: str,
) -> list[tuple[str, list[str], list[str], dict[str, Any]]]:
    """Writes an operation on quantized numbers as one on floats, between their conversions.

    Args:
      kind: ConvInteger, MatMulInteger, QLinearConv or QLinearMatMul.
      inputs: Names of values, "" for one left out.
      outputs: Likewise.
      attributes: Of the node.
      one: The name of a constant that is 1.

    Returns:
      Operations with inputs, outputs and attributes.
    """
    y = outputs[0]

    def of(number: int, *parts: str, axis: int) -> tuple[str, list[str], list[str], dict[str, Any]]:
        return ("DequantizeLinear", list(parts), [f"{y} of {number}"], {"axis": axis})

    convolves = "Conv" in kind
    inner = "Conv" if convolves else "MatMul"
    row, column = (1, 0) if convolves else (-2, -1)
    if kind.endswith("Integer"):
        a, b, a_zero, b_zero = [*inputs, "", ""][:4]
        steps = [of(0, a, one, a_zero, axis=row), of(1, b, one, b_zero, axis=column)]
        return [*steps, (inner, [f"{y} of 0", f"{y} of 1"], [y], dict(attributes))]
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero, *bias = inputs
    steps = [of(0, a, a_scale, a_zero, axis=row), of(1, b, b_scale, b_zero, axis=column)]
    given = [f"{y} of 0", f"{y} of 1"]
    if bias and bias[0]:
        steps.append(("Mul", [a_scale, b_scale], [f"{y} scale of 2"], {}))
        steps.append(of(2, bias[0], f"{y} scale of 2", "", axis=0))
        given.append(f"{y} of 2")
    steps.append((inner, given, [f"{y} exact"], dict(attributes)))
    steps.append(("QuantizeLinear", [f"{y} exact", y_scale, y_zero], [y], {"axis": row}))
    return steps


LOWERED = ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")
