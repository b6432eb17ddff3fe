"""Operations that pick elements by their places, or put them there."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.importers.operations.operation import (
    Attributes,
    Operation,
    no_gradient,
)
from mia_jax.runtime.errors import UserError


def _from_zero(indices: Any, side: int) -> Any:
    """Counts from the beginning what is counted from the end, and refuses what is outside."""
    if isinstance(indices, np.ndarray) and indices.size:
        low, high = indices.min(), indices.max()
        if low < -side or high >= side:
            outside = high if high >= side else low
            raise UserError(f"it picks element {outside} of an axis of {side}")
        return np.where(indices < 0, indices + side, indices)
    return jnp.where(indices < 0, indices + side, indices)


def _gather(attributes: Attributes, x: Any, indices: Any) -> Any:
    axis = attributes["axis"]
    return jnp.take(x, _from_zero(indices, x.shape[axis]), axis=axis)


def _gather_elements(attributes: Attributes, x: Any, indices: Any) -> Any:
    axis = attributes["axis"] % x.ndim
    sides = [slice(None) if i == axis else slice(side) for i, side in enumerate(indices.shape)]
    return jnp.take_along_axis(x[tuple(sides)], _from_zero(indices, x.shape[axis]), axis)


def _places(x: Any, indices: Any) -> tuple[Any, ...]:
    """Divides indices of whole points, last, into those of each axis."""
    axes = (indices[..., i] for i in range(indices.shape[-1]))
    return tuple(_from_zero(each, side) for each, side in zip(axes, x.shape, strict=False))


def _gather_points(attributes: Attributes, x: Any, indices: Any) -> Any:
    batch = attributes.get("batch_dims", 0)

    def pick(values: Any, places: Any) -> Any:
        return values[_places(values, places)]

    for _ in range(batch):
        pick = jax.vmap(pick)
    return pick(jnp.asarray(x), indices if batch == 0 else jnp.asarray(indices))


def _put(attributes: Attributes, x: Any, where: Any, updates: Any) -> Any:
    """Puts numbers where they belong, or combines them with what is there."""
    at, how = jnp.asarray(x).at[where], attributes.get("reduction", "none")
    combine: Mapping[str, Callable[[Any], Any]] = {
        "none": at.set,
        "add": at.add,
        "mul": at.multiply,
        "max": at.max,
        "min": at.min,
    }
    return combine[how](updates)


def _scatter_points(attributes: Attributes, x: Any, indices: Any, updates: Any) -> Any:
    return _put(attributes, x, _places(x, indices), updates)


def _scatter_elements(attributes: Attributes, x: Any, indices: Any, updates: Any) -> Any:
    axis = attributes["axis"] % x.ndim
    where = list(np.indices(indices.shape, sparse=True))
    where[axis] = _from_zero(indices, x.shape[axis])
    return _put(attributes, x, tuple(where), updates)


def _one_hot(attributes: Attributes, indices: Any, depth: Any, values: Any) -> Any:
    count = int(np.ravel(depth)[0])
    axis = attributes["axis"]
    places = jnp.where(indices < 0, indices + count, indices)
    off, on = values[0], values[1]
    rank = indices.ndim + 1
    sides = [1] * rank
    sides[axis % rank] = count
    steps = jnp.arange(count).reshape(sides)
    return jnp.where(jnp.expand_dims(places, axis % rank) == steps, on, off)


_AXIS = {"axis": None}
_REDUCTION = {"axis": None, "reduction": ("none", "add", "mul", "max", "min")}

OPERATIONS: Mapping[str, Operation] = {
    "Compress": Operation(None, (9, 11, 28), _AXIS),
    "Gather": Operation(_gather, (1, 11, 13), _AXIS),
    "GatherElements": Operation(_gather_elements, (11, 13), _AXIS),
    "GatherND": Operation(_gather_points, (11, 12, 13), {"batch_dims": None}),
    "NonZero": Operation(None, (9, 13)),
    "OneHot": Operation(_one_hot, (9, 11, 28), _AXIS, shaped=(1,), passes=no_gradient),
    "ScatterElements": Operation(_scatter_elements, (11, 13, 16, 18), _REDUCTION),
    "ScatterND": Operation(
        _scatter_points, (11, 13, 16, 18), {"reduction": _REDUCTION["reduction"]}
    ),
}
