"""Operations that resize: each axis by a matrix of weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.importers.operations.operation import (
    Attributes,
    Operation,
)
from mia_jax.runtime.bounds import check_size

_MATRIX = 2**24  # Numbers by which an axis is resized at most: of 4,096 pixels to as many.


def _resize(attributes: Attributes, x: Any, *inputs: Any) -> Any:
    given = [*inputs, None, None, None][:3]
    scales, sizes = (given[0], None) if attributes["opset"] < 11 else given[1:]
    scales = attributes.get("scales", scales)
    axes = [axis % x.ndim for axis in attributes.get("axes", range(x.ndim))]
    sides = [x.shape[axis] for axis in axes]
    if sizes is not None and len(sizes):
        wanted = [int(size) for size in sizes]
        factors = [size / side for size, side in zip(wanted, sides, strict=True)]
        policy = attributes.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            factors = [(min if policy == "not_larger" else max)(factors)] * len(factors)
            wanted = [int(f * side + 0.5) for f, side in zip(factors, sides, strict=True)]
    else:
        factors = [float(scale) for scale in scales]
        wanted = [math.floor(f * side) for f, side in zip(factors, sides, strict=True)]
    for axis, size, factor in zip(axes, wanted, factors, strict=True):
        length = x.shape[axis]
        if size != length or factor != 1:
            check_size((size, length), most=_MATRIX)
            weights = _weights(length, size, factor, attributes).astype(np.float32)
            x = jnp.moveaxis(jnp.tensordot(x, weights, [[axis], [1]]), -1, axis)
    return x


def matrices(before: Sequence[int], after: Sequence[int]) -> int:
    """Counts the numbers by which something is resized.

    Args:
      before: The shape that it had.
      after: The shape that it got.

    Returns:
      Elements of the matrices, one for each axis that is resized.
    """
    return sum(a * b for a, b in zip(before, after, strict=True) if a != b)


def _weights(length: int, size: int, factor: float, attributes: Attributes) -> np.ndarray:
    """Returns the weights `[size, length]` by which an axis is resized."""
    # In float32, as runtimes have it: what lies between two pixels then goes to the same of them.
    at, ratio = np.arange(size, dtype=np.float32), np.float32(factor)
    half = np.float32(0.5)
    center = (at + half) / ratio - half
    how = attributes.get("coordinate_transformation_mode", "asymmetric")
    place = {
        "half_pixel": center,
        # Corrects what rounding the size has moved, about the middle.
        "half_pixel_symmetric": center + np.float32(length / 2 * (1 - size / (factor * length))),
        "pytorch_half_pixel": center if size > 1 else 0 * at,
        "asymmetric": at / ratio,
        "align_corners": at * np.float32(length - 1) / np.float32(max(size - 1, 1)),
    }[how]
    mode = attributes["mode"]
    if mode == "nearest":
        # The specification does not say it before opset 11; onnxruntime does so.
        old = "ceil" if factor < 1 else "floor"
        rounding = old if attributes["opset"] < 11 else attributes["nearest_mode"]
        weights = np.zeros((size, length))
        weights[np.arange(size), _nearest(place, length, rounding)] = 1
        return weights
    # What makes things smaller is smoothed over as many pixels as become one.
    stretch = min(factor, 1.0) if attributes.get("antialias") else 1.0
    reach = (1 if mode in ("linear", "bilinear") else 2) / stretch
    first, count = np.floor(place - reach).astype(int), 2 * math.ceil(reach) + 2
    check_size((max(size, 1), count))
    taps = first[:, None] + np.arange(count)
    distance = np.abs(place[:, None] - taps) * stretch
    kernel = _triangle if mode in ("linear", "bilinear") else _cubic
    values = kernel(distance, attributes.get("cubic_coeff_a", -0.75))
    inside = (taps >= 0) & (taps < length)
    if attributes.get("exclude_outside"):
        values = values * inside
    values = values / values.sum(1, keepdims=True)
    weights = np.zeros((size, length))
    np.add.at(weights, (np.arange(size)[:, None], np.clip(taps, 0, length - 1)), values)
    return weights


def _nearest(place: np.ndarray, length: int, rounding: str) -> np.ndarray:
    """Returns the nearest pixel to each place."""
    rounded = _ROUNDINGS[rounding](place)
    return np.clip(rounded, 0, length - 1).astype(int)


def _triangle(distance: np.ndarray, a: float) -> np.ndarray:
    """Returns the weights of linear interpolation."""
    return np.maximum(1 - distance, 0)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Returns the weights of cubic convolution (Keys 1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


_COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric")
_ROUNDINGS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda place: np.ceil(place - np.float32(0.5)),
    "round_prefer_ceil": lambda place: np.floor(place + np.float32(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}
_MODES = ("nearest", "linear", "cubic", "bilinear")

OPERATIONS: Mapping[str, Operation] = {
    "Resize": Operation(
        _resize,
        (10, 11, 13, 18, 19),
        {
            "antialias": None,
            "axes": None,
            "coordinate_transformation_mode": (*_COORDINATES, "align_corners"),
            "cubic_coeff_a": None,
            "exclude_outside": None,
            "extrapolation_value": None,
            "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
            "mode": _MODES,
            "nearest_mode": tuple(_ROUNDINGS),
        },
        shaped=(1, 2, 3),
        folds=False,
    ),
    "Upsample": Operation(
        _resize, (7, 9), {"mode": _MODES, "scales": None}, shaped=(1,), folds=False
    ),
}
