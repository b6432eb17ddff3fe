"""Operations that reduce axes, or choose along one."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.importers.operations.operation import (
    Attributes,
    Compute,
    Layout,
    Operation,
    no_gradient,
)


def root(x: Any) -> Any:
    """Takes the square root, whose gradient is 0 at 0 instead of infinite.

    Args:
      x: Any array of floats.

    Returns:
      An array of the same shape.
    """
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def axes_of(attributes: Attributes, axes: Any) -> tuple[int, ...] | None:
    """Returns the axes that an attribute names, or in newer models an input.

    Args:
      attributes: Of the node.
      axes: Its input, or None.

    Returns:
      The axes; None where neither names any.
    """
    found = attributes.get("axes", axes)
    return None if found is None else tuple(int(axis) for axis in np.ravel(found))


def _reducing(function: Callable[..., Any]) -> Compute:
    """Makes an operation of a function of an array and axes."""

    def apply(attributes: Attributes, x: Any, axes: Any = None) -> Any:
        named = axes_of(attributes, axes)
        if not named:
            if attributes.get("noop_with_empty_axes"):
                return function(x, (), keepdims=True)
            named = tuple(range(x.ndim))
        return function(x, named, keepdims=bool(attributes["keepdims"]))

    return apply


def _reduction(function: Callable[..., Any], *versions: int) -> Operation:
    attributes = dict.fromkeys(("axes", "keepdims", "noop_with_empty_axes"))
    return Operation(_reducing(function), versions, attributes, shaped=(1,), layout=Layout.OVER)


def _norm(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return root(jnp.square(x).sum(axes, keepdims=keepdims)) if axes else jnp.abs(x)


def _sum_of_magnitudes(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return jnp.abs(x).sum(axes, keepdims=keepdims)


def _sum_of_squares(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return jnp.square(x).sum(axes, keepdims=keepdims)


def _log_of_sum(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return jnp.log(jnp.sum(x, axes, keepdims=keepdims))


def _log_of_sum_of_exponentials(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return jax.nn.logsumexp(x, axes, keepdims=keepdims) if axes else x


def _place(largest: bool) -> Compute:
    """Makes the operation that says where the largest element is, or the least."""

    def apply(attributes: Attributes, x: Any) -> Any:
        axis, choose = attributes["axis"], jnp.argmax if largest else jnp.argmin
        if attributes.get("select_last_index"):
            last = x.shape[axis] - 1
            found = last - choose(jnp.flip(x, axis), axis)
        else:
            found = choose(x, axis)
        return jnp.expand_dims(found, axis) if attributes["keepdims"] else found

    return apply


def _largest(attributes: Attributes, x: Any, count: Any = None) -> tuple[Any, Any]:
    """Takes the largest elements along an axis, or the least ones."""
    axis = attributes["axis"] % x.ndim
    k = int(attributes["k"] if count is None else np.ravel(count)[0])
    order = jnp.argsort(x, axis, stable=True, descending=bool(attributes.get("largest", 1)))
    places = jax.lax.slice_in_dim(order, 0, k, axis=axis)
    return jnp.take_along_axis(x, places, axis), places


def _cumulative(attributes: Attributes, x: Any, axis: Any) -> Any:
    place = int(np.ravel(axis)[0])
    x = jnp.flip(x, place) if attributes["reverse"] else x
    total = jnp.cumsum(x, place)
    total = total - x if attributes["exclusive"] else total
    return jnp.flip(total, place) if attributes["reverse"] else total


_NEWEST = (1, 11, 13, 18)
_CHOICE = dict.fromkeys(("axis", "keepdims", "select_last_index"))
_TOP = {"axis": None, "k": None, "largest": None, "sorted": None}

OPERATIONS: Mapping[str, Operation] = {
    "ArgMax": Operation(_place(True), (1, 11, 12, 13), _CHOICE, passes=no_gradient),
    "ArgMin": Operation(_place(False), (1, 11, 12, 13), _CHOICE, passes=no_gradient),
    "CumSum": Operation(_cumulative, (11, 14), {"reverse": None, "exclusive": None}, shaped=(1,)),
    "ReduceL1": _reduction(_sum_of_magnitudes, *_NEWEST),
    "ReduceL2": _reduction(_norm, *_NEWEST),
    "ReduceLogSum": _reduction(_log_of_sum, *_NEWEST, 28),
    "ReduceLogSumExp": _reduction(_log_of_sum_of_exponentials, *_NEWEST, 28),
    "ReduceMax": _reduction(jnp.max, 1, 11, 12, 13, 18, 20),
    "ReduceMean": _reduction(jnp.mean, *_NEWEST),
    "ReduceMin": _reduction(jnp.min, 1, 11, 12, 13, 18, 20),
    "ReduceProd": _reduction(jnp.prod, *_NEWEST),
    "ReduceSum": _reduction(jnp.sum, 1, 11, 13),
    "ReduceSumSquare": _reduction(_sum_of_squares, *_NEWEST),
    "TopK": Operation(_largest, (1, 10, 11, 24), _TOP, outputs=2, shaped=(1,)),
}
