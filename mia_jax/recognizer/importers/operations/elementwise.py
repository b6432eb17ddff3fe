"""Operations on each element: arithmetic, activations, comparisons, casts."""

import functools
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
from mia_jax.runtime.errors import UserError

_FLOATS = (1, 10, 11, 16)  # FLOAT, FLOAT16, DOUBLE, BFLOAT16: all of them are computed alike.
_WHOLE = {2: jnp.uint8, 3: jnp.int8, 4: jnp.uint16, 5: jnp.int16, 6: jnp.int32, 7: jnp.int64}
_WHOLE |= {9: jnp.bool_, 12: jnp.uint32, 13: jnp.uint64}


def _unary(function: Callable[[Any], Any]) -> Compute:
    """Makes an operation without attributes of a function of one array."""
    return lambda attributes, x: function(x)


def _many(function: Callable[[Any, Any], Any]) -> Compute:
    """Makes an operation of a function of two arrays, for any number of them."""
    return lambda attributes, *arrays: functools.reduce(function, arrays)


def _divide(attributes: Attributes, x: Any, y: Any) -> Any:
    x, y = jnp.asarray(x), jnp.asarray(y)
    if jnp.issubdtype(x.dtype, jnp.integer) and jnp.issubdtype(y.dtype, jnp.integer):
        kind = jnp.promote_types(x.dtype, y.dtype)
        return jax.lax.div(*jnp.broadcast_arrays(x.astype(kind), y.astype(kind)))
    return x / y


def _mean(attributes: Attributes, *arrays: Any) -> Any:
    return functools.reduce(jnp.add, arrays) / len(arrays)


def _modulo(attributes: Attributes, x: Any, y: Any) -> Any:
    return jnp.fmod(x, y) if attributes["fmod"] else jnp.mod(x, y)


def _power(attributes: Attributes, x: Any, y: Any) -> Any:
    return jnp.power(x, y).astype(jnp.asarray(x).dtype)


def _clip(attributes: Attributes, x: Any, least: Any = None, most: Any = None) -> Any:
    least = attributes.get("min", least)
    most = attributes.get("max", most)
    x = x if least is None else jnp.maximum(x, least)
    return x if most is None else jnp.minimum(x, most)


def _hard_sigmoid(attributes: Attributes, x: Any) -> Any:
    return jnp.clip(attributes["alpha"] * x + attributes["beta"], 0, 1)


def _hard_swish(attributes: Attributes, x: Any) -> Any:
    return x * jnp.clip(x / 6 + 0.5, 0, 1)


def _leaky_relu(attributes: Attributes, x: Any) -> Any:
    return jnp.where(x >= 0, x, attributes["alpha"] * x)


def _selu(attributes: Attributes, x: Any) -> Any:
    return attributes["gamma"] * jax.nn.elu(x, attributes["alpha"])


def _celu(attributes: Attributes, x: Any) -> Any:
    return jax.nn.celu(x, attributes["alpha"])


def _gelu(attributes: Attributes, x: Any) -> Any:
    return jax.nn.gelu(x, approximate=attributes["approximate"] == "tanh")


def _prelu(attributes: Attributes, x: Any, slope: Any) -> Any:
    return jnp.where(x >= 0, x, slope * x)


def _thresholded_relu(attributes: Attributes, x: Any) -> Any:
    return jnp.where(x > attributes["alpha"], x, 0)


def _shrink(attributes: Attributes, x: Any) -> Any:
    edge, bias = attributes["lambd"], attributes["bias"]
    return jnp.where(x < -edge, x + bias, jnp.where(x > edge, x - bias, 0))


def _swish(attributes: Attributes, x: Any) -> Any:
    return x * jax.nn.sigmoid(attributes["alpha"] * x)


def _is_infinite(attributes: Attributes, x: Any) -> Any:
    above = jnp.isposinf(x) if attributes["detect_positive"] else False
    below = jnp.isneginf(x) if attributes["detect_negative"] else False
    return jnp.logical_or(above, below) & jnp.ones_like(x, bool)


def _cast(attributes: Attributes, x: Any) -> Any:
    x = jnp.asarray(x)
    if attributes["to"] not in _FLOATS:
        kind = _WHOLE[attributes["to"]]
        return x.astype(jax.dtypes.canonicalize_dtype(kind))
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def _cast_like(attributes: Attributes, x: Any, like: Any) -> Any:
    return jnp.asarray(x).astype(jnp.asarray(like).dtype)


def _drop_nothing(
    attributes: Attributes, x: Any, ratio: Any = None, training: Any = None
) -> tuple[Any, Any]:
    """Passes its input, and a mask of what is kept: everything."""
    if training is not None and np.any(training):
        raise UserError("it drops at random: export the model in evaluation mode")
    kind = bool if attributes["opset"] >= 10 else x.dtype
    return x, jnp.ones(x.shape, kind)


def _elementwise(
    compute: Compute, *versions: int, attributes: Mapping[str, Any] | None = None, **fields: Any
) -> Operation:
    return Operation(compute, versions, attributes or {}, layout=Layout.ANY, **fields)


_FROM_6 = (6, 13)
_ARITHMETIC = (6, 7, 13, 14)
_COMPARED = (7, 9, 13)
_ANY_KIND = (1, 13, 14, 16, 19, 21, 23, 24, 25)
_ALPHA = {"alpha": None}


def _blocking(function: Compute, *versions: int, **fields: Any) -> Operation:
    """An operation on each element whose derivative is 0 or not defined."""
    return _elementwise(function, *versions, passes=no_gradient, **fields)


OPERATIONS: Mapping[str, Operation] = {
    "Abs": _elementwise(_unary(jnp.abs), *_FROM_6),
    "Acos": _elementwise(_unary(jnp.arccos), 7, 22),
    "Acosh": _elementwise(_unary(jnp.arccosh), 9, 22),
    "Add": _elementwise(_many(jnp.add), *_ARITHMETIC),
    "And": _blocking(_many(jnp.logical_and), 7),
    "Asin": _elementwise(_unary(jnp.arcsin), 7, 22),
    "Asinh": _elementwise(_unary(jnp.arcsinh), 9, 22),
    "Atan": _elementwise(_unary(jnp.arctan), 7, 22),
    "Atanh": _elementwise(_unary(jnp.arctanh), 9, 22),
    "Cast": _elementwise(
        _cast,
        *(6, 9, 13, 19, 21, 23, 24, 25, 28),
        attributes={"to": (*_FLOATS, *_WHOLE), "saturate": None, "round_mode": None},
        passes=lambda attributes: attributes["to"] in _FLOATS,
    ),
    "CastLike": _elementwise(
        *(_cast_like, 15, 19, 21, 23, 24, 25),
        attributes={"saturate": None, "round_mode": None},
    ),
    "Ceil": _blocking(_unary(jnp.ceil), *_FROM_6),
    "Celu": _elementwise(_celu, 12, 28, attributes=_ALPHA),
    "Clip": _elementwise(_clip, 6, 11, 12, 13, attributes={"min": None, "max": None}),
    "Cos": _elementwise(_unary(jnp.cos), 7, 22),
    "Cosh": _elementwise(_unary(jnp.cosh), 9, 22),
    "Div": _elementwise(_divide, *_ARITHMETIC),
    "Dropout": _elementwise(
        *(_drop_nothing, 7, 10, 12, 13, 22),
        attributes={"ratio": None, "seed": None},
        outputs=2,
        shaped=(2,),
    ),
    "Elu": _elementwise(lambda a, x: jax.nn.elu(x, a["alpha"]), 6, 22, attributes=_ALPHA),
    "Equal": _blocking(_many(jnp.equal), 7, 11, 13, 19),
    "Erf": _elementwise(_unary(jax.scipy.special.erf), 9, 13),
    "Exp": _elementwise(_unary(jnp.exp), *_FROM_6),
    "Floor": _blocking(_unary(jnp.floor), *_FROM_6),
    "Gelu": _elementwise(_gelu, 20, attributes={"approximate": ("none", "tanh")}),
    "Greater": _blocking(_many(jnp.greater), *_COMPARED),
    "GreaterOrEqual": _blocking(_many(jnp.greater_equal), 12, 16),
    "HardSigmoid": _elementwise(_hard_sigmoid, 6, 22, attributes={"alpha": None, "beta": None}),
    "HardSwish": _elementwise(_hard_swish, 14, 22),
    "Identity": _elementwise(_unary(lambda x: x), *_ANY_KIND),
    "IsInf": _blocking(
        *(_is_infinite, 10, 20), attributes={"detect_positive": None, "detect_negative": None}
    ),
    "IsNaN": _blocking(_unary(jnp.isnan), 9, 13, 20),
    "LeakyRelu": _elementwise(_leaky_relu, 6, 16, attributes=_ALPHA),
    "Less": _blocking(_many(jnp.less), *_COMPARED),
    "LessOrEqual": _blocking(_many(jnp.less_equal), 12, 16),
    "Log": _elementwise(_unary(jnp.log), *_FROM_6),
    "Max": _elementwise(_many(jnp.maximum), 6, 8, 12, 13),
    "Mean": _elementwise(_mean, 6, 8, 13),
    "Min": _elementwise(_many(jnp.minimum), 6, 8, 12, 13),
    "Mish": _elementwise(_unary(jax.nn.mish), 18, 22),
    "Mod": _elementwise(_modulo, 10, 13, 28, attributes={"fmod": None}),
    "Mul": _elementwise(_many(jnp.multiply), *_ARITHMETIC),
    "Neg": _elementwise(_unary(jnp.negative), *_FROM_6),
    "Not": _blocking(_unary(jnp.logical_not), 1),
    "Or": _blocking(_many(jnp.logical_or), 7),
    "PRelu": _elementwise(_prelu, 7, 9, 16, weights=(1,)),
    "Pow": _elementwise(_power, 7, 12, 13, 15),
    "Reciprocal": _elementwise(_unary(jnp.reciprocal), *_FROM_6),
    "Relu": _elementwise(_unary(jax.nn.relu), 6, 13, 14),
    "Round": _blocking(_unary(jnp.round), 11, 22),
    "Selu": _elementwise(_selu, 6, 22, attributes={"alpha": None, "gamma": None}),
    "Shrink": _elementwise(_shrink, 9, attributes={"lambd": None, "bias": None}),
    "Sigmoid": _elementwise(_unary(jax.nn.sigmoid), *_FROM_6),
    "Sign": _blocking(_unary(jnp.sign), 9, 13),
    "Sin": _elementwise(_unary(jnp.sin), 7, 22),
    "Sinh": _elementwise(_unary(jnp.sinh), 9, 22),
    "Softplus": _elementwise(_unary(jax.nn.softplus), 1, 22),
    "Softsign": _elementwise(_unary(jax.nn.soft_sign), 1, 22),
    "Sqrt": _elementwise(_unary(jnp.sqrt), *_FROM_6),
    "Sub": _elementwise(_many(jnp.subtract), *_ARITHMETIC),
    "Sum": _elementwise(_many(jnp.add), 6, 8, 13),
    "Swish": _elementwise(_swish, 24, attributes=_ALPHA),
    "Tan": _elementwise(_unary(jnp.tan), 7, 22),
    "Tanh": _elementwise(_unary(jnp.tanh), *_FROM_6),
    "ThresholdedRelu": _elementwise(_thresholded_relu, 10, 22, attributes=_ALPHA),
    "Where": _elementwise(lambda a, condition, x, y: jnp.where(condition, x, y), 9, 16),
    "Xor": _blocking(_many(jnp.logical_xor), 7),
}
