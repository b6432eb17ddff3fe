"""Operations that normalize, and softmax."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mia_jax.recognizer.importers.operations.operation import (
    Attributes,
    Compute,
    Layout,
    Operation,
)
from mia_jax.recognizer.importers.operations.reductions import root
from mia_jax.runtime.errors import UserError


def _normalize_batch(
    attributes: Attributes, x: Any, scale: Any, bias: Any, mean: Any, variance: Any
) -> Any:
    # Before opset 14, several outputs are how training is asked for.
    if attributes.get("training_mode") or attributes["outputs"] > 1:
        raise UserError("it normalizes by the batch at hand: export the model in evaluation mode")
    factor = scale * jax.lax.rsqrt(variance + attributes["epsilon"])
    return x * factor + (bias - mean * factor)


def _centered(x: Any, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any, Any]:
    """Returns what has mean 0 and variance 1, the mean, and 1 by the deviation."""
    mean = x.mean(axes, keepdims=True)
    centered = x - mean
    inverse = jax.lax.rsqrt(jnp.square(centered).mean(axes, keepdims=True) + epsilon)
    return centered * inverse, mean, inverse


def _normalize_instance(attributes: Attributes, x: Any, scale: Any, bias: Any) -> Any:
    normal, _, _ = _centered(x, tuple(range(1, x.ndim - 1)), attributes["epsilon"])
    return normal * scale + bias


def _normalize_groups(attributes: Attributes, x: Any, scale: Any, bias: Any) -> Any:
    groups, channels = attributes["num_groups"], x.shape[-1]
    parts = x.reshape(*x.shape[:-1], groups, channels // groups)
    normal, _, _ = _centered(parts, (*range(1, x.ndim - 1), x.ndim), attributes["epsilon"])
    if attributes["opset"] < 21:  # One scale for each group, not for each channel.
        return (normal * scale[:, None] + bias[:, None]).reshape(x.shape)
    return normal.reshape(x.shape) * scale + bias


def _normalize_layer(
    attributes: Attributes, x: Any, scale: Any, bias: Any = None
) -> tuple[Any, Any, Any]:
    axes = tuple(range(attributes["axis"] % x.ndim, x.ndim))
    normal, mean, inverse = _centered(x, axes, attributes["epsilon"])
    y = normal * scale
    return (y if bias is None else y + bias), mean, inverse


def _normalize_by_squares(attributes: Attributes, x: Any, scale: Any) -> Any:
    axes = tuple(range(attributes["axis"] % x.ndim, x.ndim))
    square = jnp.square(x).mean(axes, keepdims=True)
    return x * jax.lax.rsqrt(square + attributes["epsilon"]) * scale


def _normalize_response(attributes: Attributes, x: Any) -> Any:
    size, channels = attributes["size"], x.shape[-1]
    before, after = (size - 1) // 2, size // 2
    square = jnp.pad(jnp.square(x), [(0, 0)] * (x.ndim - 1) + [(before, after)])
    total = sum(square[..., shift : shift + channels] for shift in range(size))
    alpha, beta = attributes["alpha"], attributes["beta"]
    return x / (attributes["bias"] + alpha / size * total) ** beta


def _normalize_vectors(attributes: Attributes, x: Any) -> Any:
    axis = attributes["axis"]
    if attributes["p"] == 1:
        norm = jnp.abs(x).sum(axis, keepdims=True)
    else:
        norm = root(jnp.square(x).sum(axis, keepdims=True))
    return x / jnp.where(norm == 0, 1, norm)


def _standardize(attributes: Attributes, x: Any) -> Any:
    axes = tuple(attributes["axes"])
    centered = x - x.mean(axes, keepdims=True)
    return centered / (root(jnp.square(centered).mean(axes, keepdims=True)) + 1e-9)


def _softmax(function: Callable[..., Any]) -> Compute:
    def apply(attributes: Attributes, x: Any) -> Any:
        axis = attributes["axis"] % x.ndim
        if attributes["opset"] >= 13:
            return function(x, axis=axis)
        return function(x.reshape(*x.shape[:axis], -1), axis=-1).reshape(x.shape)

    return apply


_EPSILON = {"epsilon": None}
_AXIS = {"axis": None}
_LAYER = {"axis": None, "epsilon": None, "stash_type": None}

OPERATIONS: Mapping[str, Operation] = {
    "BatchNormalization": Operation(
        _normalize_batch,
        (7, 9, 14, 15),
        {"epsilon": None, "momentum": None},
        outputs=5,
        layout=Layout.LAST,
        folds=False,
        weights=(1, 2, 3, 4),
    ),
    "GroupNormalization": Operation(
        _normalize_groups,
        (18, 21),
        {"epsilon": None, "num_groups": None, "stash_type": None},
        layout=Layout.LAST,
        folds=False,
        weights=(1, 2),
    ),
    "InstanceNormalization": Operation(
        *(_normalize_instance, (6, 22), _EPSILON),
        layout=Layout.LAST,
        folds=False,
        weights=(1, 2),
    ),
    "LRN": Operation(
        _normalize_response,
        (1, 13),
        {"alpha": None, "beta": None, "bias": None, "size": range(1, 65)},
        layout=Layout.LAST,
        folds=False,
    ),
    "LayerNormalization": Operation(
        *(_normalize_layer, (17,), _LAYER), outputs=3, folds=False, weights=(1, 2)
    ),
    "LogSoftmax": Operation(_softmax(jax.nn.log_softmax), (1, 11, 13), _AXIS, folds=False),
    "LpNormalization": Operation(
        *(_normalize_vectors, (1, 22), {"axis": None, "p": (1, 2)}),
        layout=Layout.ALONG,
        folds=False,  # The package onnx forgets to take magnitudes (1.23.2).
    ),
    "MeanVarianceNormalization": Operation(_standardize, (9, 13), {"axes": None}, folds=False),
    "RMSNormalization": Operation(
        *(_normalize_by_squares, (23,), _LAYER), folds=False, weights=(1,)
    ),
    "Softmax": Operation(_softmax(jax.nn.softmax), (1, 11, 13), _AXIS, folds=False),
}
