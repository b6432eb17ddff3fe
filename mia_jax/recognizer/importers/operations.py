"""What the operations of an ONNX graph compute: functions, by the names of the operations.

Each function takes the node's attributes and the inputs, None for one left out, and returns the
first output, or a tuple of all. Integers, such as shapes, stay numpy arrays while a function is
traced, so that what follows from them is known then.

Networks of pictures come with their channels second, which XLA convolves slowly on CPU. So there
are two dictionaries: `OF_CHANNELS_LAST` holds what such networks spend their time in, for arrays
whose channels are last; `OPERATIONS` holds everything else, for arrays as ONNX has them.

Source: the operators of opset 7 to 23, https://onnx.ai/onnx/operators.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.importers import windows
from mia_jax.runtime.errors import UserError

Attributes = Mapping[str, Any]
Operation = Callable[..., Any]


def _library(*arrays: Any) -> Any:
    """Returns numpy where all arrays are numpy's, else jax.numpy."""
    return np if all(isinstance(a, np.ndarray | np.generic) for a in arrays) else jnp


def _unary(function: Callable[[Any], Any]) -> Operation:
    """Makes an operation without attributes of a function of one array."""
    return lambda attributes, x: function(x)


def _binary(name: str) -> Operation:
    """Makes an operation of the function of two arrays that numpy and JAX have under a name."""

    def apply(attributes: Attributes, *arrays: Any) -> Any:
        return functools.reduce(getattr(_library(*arrays), name), arrays)

    return apply


def _divide(attributes: Attributes, x: Any, y: Any) -> Any:
    library = _library(x, y)
    whole = np.issubdtype(x.dtype, np.integer)
    return (library.trunc(x / y)).astype(x.dtype) if whole else library.divide(x, y)


def _mean(attributes: Attributes, *arrays: Any) -> Any:
    return functools.reduce(jnp.add, arrays) / len(arrays)


def _clip(attributes: Attributes, x: Any, least: Any = None, most: Any = None) -> Any:
    least = attributes.get("min", least)
    most = attributes.get("max", most)
    x = x if least is None else jnp.maximum(x, least)
    return x if most is None else jnp.minimum(x, most)


def _hard_sigmoid(attributes: Attributes, x: Any) -> Any:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return jnp.clip(alpha * x + beta, 0, 1)


def _hard_swish(attributes: Attributes, x: Any) -> Any:
    return x * jnp.clip(x / 6 + 0.5, 0, 1)


def _leaky_relu(attributes: Attributes, x: Any) -> Any:
    return jnp.where(x >= 0, x, attributes.get("alpha", 0.01) * x)


def _elu(attributes: Attributes, x: Any) -> Any:
    return jax.nn.elu(x, attributes.get("alpha", 1.0))


def _celu(attributes: Attributes, x: Any) -> Any:
    return jax.nn.celu(x, attributes.get("alpha", 1.0))


def _selu(attributes: Attributes, x: Any) -> Any:
    alpha = attributes.get("alpha", 1.6732632423543772)
    return attributes.get("gamma", 1.0507009873554805) * jax.nn.elu(x, alpha)


def _gelu(attributes: Attributes, x: Any) -> Any:
    return jax.nn.gelu(x, approximate=attributes.get("approximate", "none") == "tanh")


def _prelu(attributes: Attributes, x: Any, slope: Any) -> Any:
    return jnp.where(x >= 0, x, slope * x)


def _cast(attributes: Attributes, x: Any) -> Any:
    import onnx

    kind = onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
    if isinstance(x, np.ndarray | np.generic):
        return np.asarray(x).astype(kind)
    return x.astype({"float64": np.float32, "int64": np.int32}.get(kind.name, kind))


def _where(attributes: Attributes, condition: Any, x: Any, y: Any) -> Any:
    return _library(condition, x, y).where(condition, x, y)


def _normalize_batch(
    attributes: Attributes, x: Any, scale: Any, bias: Any, mean: Any, variance: Any
) -> Any:
    if attributes.get("training_mode"):
        raise UserError("it normalizes by the batch at hand: export the model in evaluation mode")
    factor = scale * jax.lax.rsqrt(variance + attributes.get("epsilon", 1e-5))
    return x * factor + (bias - mean * factor)


def _normalize_instance(attributes: Attributes, x: Any, scale: Any, bias: Any) -> Any:
    axes = tuple(range(1, x.ndim - 1))
    centered = x - x.mean(axes, keepdims=True)
    variance = jnp.square(centered).mean(axes, keepdims=True)
    return centered * jax.lax.rsqrt(variance + attributes.get("epsilon", 1e-5)) * scale + bias


def _normalize_layer(attributes: Attributes, x: Any, scale: Any, bias: Any = None) -> Any:
    axes = tuple(range(attributes.get("axis", -1) % x.ndim, x.ndim))
    centered = x - x.mean(axes, keepdims=True)
    variance = jnp.square(centered).mean(axes, keepdims=True)
    y = centered * jax.lax.rsqrt(variance + attributes.get("epsilon", 1e-5)) * scale
    return y if bias is None else y + bias


def _normalize_response(attributes: Attributes, x: Any) -> Any:
    size = attributes["size"]
    before, after = (size - 1) // 2, size // 2
    square = jnp.pad(jnp.square(x), [(0, 0)] * (x.ndim - 1) + [(before, after)])
    channels = x.shape[-1]
    total = sum(square[..., shift : shift + channels] for shift in range(size))
    alpha, beta = attributes.get("alpha", 1e-4), attributes.get("beta", 0.75)
    return x / (attributes.get("bias", 1.0) + alpha / size * total) ** beta


def _normalize_vectors(attributes: Attributes, x: Any) -> Any:
    axis, power = attributes.get("axis", -1), attributes.get("p", 2)
    if power == 1:
        norm = jnp.abs(x).sum(axis, keepdims=True)
    else:
        norm = _root(jnp.square(x).sum(axis, keepdims=True))
    return x / jnp.where(norm == 0, 1, norm)


def _root(x: Any) -> Any:
    """Takes the square root, whose gradient is 0 at 0 instead of infinite."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def _gemm(attributes: Attributes, a: Any, b: Any, c: Any = None) -> Any:
    a = a.T if attributes.get("transA") else a
    b = b.T if attributes.get("transB") else b
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + attributes.get("beta", 1.0) * c


def _softmax(function: Callable[..., Any]) -> Operation:
    def apply(attributes: Attributes, x: Any) -> Any:
        if attributes["opset"] >= 13:
            return function(x, axis=attributes.get("axis", -1))
        axis = attributes.get("axis", 1) % x.ndim  # Everything from there on is one axis.
        return function(x.reshape(*x.shape[:axis], -1), axis=-1).reshape(x.shape)

    return apply


def _flatten(attributes: Attributes, x: Any) -> Any:
    axis = attributes.get("axis", 1)
    return x.reshape(math.prod(x.shape[: axis if axis >= 0 else axis + x.ndim]), -1)


def _reshape(attributes: Attributes, x: Any, shape: Any = None) -> Any:
    wanted = [int(side) for side in attributes.get("shape", shape)]
    if not attributes.get("allowzero"):
        wanted = [x.shape[i] if side == 0 else side for i, side in enumerate(wanted)]
    return x.reshape(wanted)


def _transpose(attributes: Attributes, x: Any) -> Any:
    return x.transpose(attributes.get("perm", range(x.ndim)[::-1]))


def _concatenate(attributes: Attributes, *arrays: Any) -> Any:
    return _library(*arrays).concatenate(arrays, attributes["axis"])


def _split(attributes: Attributes, x: Any, sizes: Any = None) -> Any:
    axis, sizes = attributes.get("axis", 0), attributes.get("split", sizes)
    if sizes is None:
        count = attributes.get("num_outputs", attributes["outputs"])
        each = -(-x.shape[axis] // count)
        sizes = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    return tuple(_library(x).split(x, np.cumsum(sizes)[:-1].tolist(), axis))


def _axes(attributes: Attributes, axes: Any) -> tuple[int, ...] | None:
    """Returns the axes that an attribute names, or in newer models an input."""
    found = attributes.get("axes", axes)
    return None if found is None else tuple(int(axis) for axis in np.ravel(found))


def _squeeze(attributes: Attributes, x: Any, axes: Any = None) -> Any:
    return _library(x).squeeze(x, _axes(attributes, axes))


def _unsqueeze(attributes: Attributes, x: Any, axes: Any = None) -> Any:
    return _library(x).expand_dims(x, _axes(attributes, axes) or ())


def _expand(attributes: Attributes, x: Any, shape: Any) -> Any:
    wanted = np.broadcast_shapes(x.shape, tuple(int(side) for side in shape))
    return _library(x).broadcast_to(x, wanted)


def _shape(attributes: Attributes, x: Any) -> np.ndarray:
    return np.array(x.shape[attributes.get("start", 0) : attributes.get("end")], np.int64)


def _constant(attributes: Attributes) -> np.ndarray:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in attributes:
            kind = np.float32 if "float" in name else np.int64
            value = attributes[name]
            return value if isinstance(value, np.ndarray) else np.array(value, kind)
    raise UserError("it holds neither numbers nor a tensor")


def _constant_of_shape(attributes: Attributes, shape: Any) -> np.ndarray:
    value = attributes.get("value", np.zeros(1, np.float32))
    return np.full([int(side) for side in shape], value.ravel()[0])


def _range(attributes: Attributes, start: Any, limit: Any, delta: Any) -> np.ndarray:
    return np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def _gather(attributes: Attributes, x: Any, indices: Any) -> Any:
    library = _library(x, indices)
    axis = attributes.get("axis", 0)
    indices = library.where(indices < 0, indices + x.shape[axis], indices)
    return library.take(x, indices, axis=axis)


def _slice(
    attributes: Attributes,
    x: Any,
    starts: Any = None,
    ends: Any = None,
    axes: Any = None,
    steps: Any = None,
) -> Any:
    starts, ends = attributes.get("starts", starts), attributes.get("ends", ends)
    axes = _axes(attributes, axes) or range(len(starts))
    steps = [1] * len(starts) if steps is None else steps
    where = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        begin, stop, stride = int(start), int(end), int(step)
        # Far below zero, an end means to include the first element on the way down.
        stop_or_none = None if stride < 0 and stop < -x.shape[axis] else stop
        where[axis] = slice(begin, stop_or_none, stride)
    return x[tuple(where)]


def _pad(
    attributes: Attributes, x: Any, pads: Any = None, value: Any = None, axes: Any = None
) -> Any:
    sides = [int(side) for side in attributes.get("pads", pads)]
    half = len(sides) // 2
    named = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
    widths = [(0, 0)] * x.ndim
    for axis, before, after in zip(named, sides[:half], sides[half:], strict=True):
        widths[axis] = (before, after)
    mode = attributes.get("mode", "constant")
    if min(min(width) for width in widths) < 0:
        raise UserError("it crops by padding less than nothing: only Slice is supported for that")
    if mode != "constant":
        return jnp.pad(x, widths, mode={"reflect": "reflect", "edge": "edge", "wrap": "wrap"}[mode])
    filling = attributes.get("value", 0.0) if value is None else value
    return jnp.pad(x, widths, constant_values=filling)


def _reduction(function: Callable[..., Any]) -> Operation:
    def apply(attributes: Attributes, x: Any, axes: Any = None) -> Any:
        named = _axes(attributes, axes)
        if not named:
            if attributes.get("noop_with_empty_axes"):
                return x
            named = tuple(range(x.ndim))
        return function(_library(x), x, named, bool(attributes.get("keepdims", 1)))

    return apply


def _norm(library: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return _root(jnp.square(x).sum(axes, keepdims=keepdims))


def _resize(attributes: Attributes, x: Any, *inputs: Any) -> Any:
    given = [*inputs, None, None, None][:3]
    scales, sizes = (given[0], None) if attributes["opset"] < 11 else given[1:]
    mode = attributes.get("coordinate_transformation_mode", "half_pixel")
    if attributes["opset"] < 11:
        scales, mode = attributes.get("scales", scales), "asymmetric"
    if sizes is not None and len(sizes):
        wanted = [int(size) for size in sizes]
    else:
        wanted = [math.floor(side * scale) for side, scale in zip(x.shape, scales, strict=True)]
    factors = [float(s) for s in scales] if scales is not None and len(scales) else None
    for axis, size in enumerate(wanted):
        if size != x.shape[axis]:
            factor = factors[axis] if factors else size / x.shape[axis]
            weights = _interpolation(x.shape[axis], size, factor, mode, attributes)
            x = jnp.moveaxis(jnp.tensordot(x, weights, [[axis], [1]]), -1, axis)
    return x


def _interpolation(
    length: int, size: int, factor: float, mode: str, attributes: Attributes
) -> np.ndarray:
    """Returns the weights `[size, length]` by which an axis is resized."""
    at = np.arange(size)
    places = {
        "half_pixel": (at + 0.5) / factor - 0.5,
        "pytorch_half_pixel": (at + 0.5) / factor - 0.5 if size > 1 else 0.0 * at,
        "asymmetric": at / factor,
        "align_corners": at * ((length - 1) / max(size - 1, 1)),
    }
    kind = attributes.get("mode", "nearest")
    if mode not in places or kind not in ("nearest", "linear"):
        raise UserError(f"it resizes by mode {kind} and {mode}, which is not supported")
    place = places[mode]
    if kind == "nearest":
        rounding: dict[str, Callable[[Any], Any]] = {
            "round_prefer_floor": lambda p: np.ceil(p - 0.5),
            "round_prefer_ceil": lambda p: np.floor(p + 0.5),
            "floor": np.floor,
            "ceil": np.ceil,
        }
        how = "floor" if attributes["opset"] < 11 else "round_prefer_floor"
        nearest = rounding[attributes.get("nearest_mode", how)](place)
        index = np.clip(nearest, 0, length - 1).astype(int)
        return np.eye(length, dtype=np.float32)[index]
    place = np.clip(place, 0, length - 1)
    distance = np.abs(place[:, None] - np.arange(length))
    return np.maximum(1 - distance, 0).astype(np.float32)


def _depth_to_space(attributes: Attributes, x: Any) -> Any:
    size = attributes["blocksize"]
    n, channels, height, width = x.shape
    rest = channels // size**2
    if attributes.get("mode", "DCR") == "DCR":
        blocks = x.reshape(n, size, size, rest, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(n, rest, size, size, height, width).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, rest, height * size, width * size)


def _space_to_depth(attributes: Attributes, x: Any) -> Any:
    size = attributes["blocksize"]
    n, channels, height, width = x.shape
    blocks = x.reshape(n, channels, height // size, size, width // size, size)
    return blocks.transpose(0, 3, 5, 1, 2, 4).reshape(
        n, channels * size**2, height // size, width // size
    )


def _global(function: Callable[..., Any]) -> Operation:
    return lambda attributes, x: function(x, tuple(range(1, x.ndim - 1)), keepdims=True)


ELEMENTWISE: Mapping[str, Operation] = {  # The same whatever the order of the axes.
    "Abs": _unary(jnp.abs),
    "Add": _binary("add"),
    "Cast": _cast,
    "Ceil": _unary(jnp.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Div": _divide,
    "Dropout": lambda attributes, x, *rest: x,
    "Elu": _elu,
    "Equal": _binary("equal"),
    "Erf": _unary(jax.scipy.special.erf),
    "Exp": _unary(jnp.exp),
    "Floor": _unary(jnp.floor),
    "Gelu": _gelu,
    "Greater": _binary("greater"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _unary(lambda x: x),
    "LeakyRelu": _leaky_relu,
    "Less": _binary("less"),
    "Log": _unary(jnp.log),
    "Max": _binary("maximum"),
    "Mean": _mean,
    "Min": _binary("minimum"),
    "Mish": _unary(jax.nn.mish),
    "Mul": _binary("multiply"),
    "Neg": _unary(jnp.negative),
    "PRelu": _prelu,
    "Pow": _binary("power"),
    "Reciprocal": _unary(jnp.reciprocal),
    "Relu": _unary(jax.nn.relu),
    "Round": _unary(jnp.round),
    "Selu": _selu,
    "Sigmoid": _unary(jax.nn.sigmoid),
    "Softplus": _unary(jax.nn.softplus),
    "Softsign": _unary(jax.nn.soft_sign),
    "Sqrt": _unary(jnp.sqrt),
    "Sub": _binary("subtract"),
    "Sum": _binary("add"),
    "Tanh": _unary(jnp.tanh),
    "Where": _where,
}
OF_CHANNELS_LAST: Mapping[str, Operation] = {
    "AveragePool": windows.average_pool,
    "BatchNormalization": _normalize_batch,
    "Conv": windows.convolve,
    "GlobalAveragePool": _global(jnp.mean),
    "GlobalMaxPool": _global(jnp.max),
    "InstanceNormalization": _normalize_instance,
    "LRN": _normalize_response,
    "MaxPool": windows.max_pool,
}
REDUCTIONS: Mapping[str, Operation] = {
    "ReduceL2": _reduction(_norm),
    "ReduceMax": _reduction(lambda library, x, axes, keep: library.max(x, axes, keepdims=keep)),
    "ReduceMean": _reduction(lambda library, x, axes, keep: library.mean(x, axes, keepdims=keep)),
    "ReduceMin": _reduction(lambda library, x, axes, keep: library.min(x, axes, keepdims=keep)),
    "ReduceProd": _reduction(lambda library, x, axes, keep: library.prod(x, axes, keepdims=keep)),
    "ReduceSum": _reduction(lambda library, x, axes, keep: library.sum(x, axes, keepdims=keep)),
    "ReduceSumSquare": _reduction(
        lambda library, x, axes, keep: library.sum(x * x, axes, keepdims=keep)
    ),
}
OPERATIONS: Mapping[str, Operation] = {
    **ELEMENTWISE,
    **REDUCTIONS,
    "Concat": _concatenate,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "LayerNormalization": _normalize_layer,
    "LogSoftmax": _softmax(jax.nn.log_softmax),
    "LpNormalization": _normalize_vectors,
    "MatMul": lambda attributes, a, b: _library(a, b).matmul(a, b),
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _softmax(jax.nn.softmax),
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}
STATIC: Mapping[str, Sequence[int]] = {  # Inputs whose numbers a shape follows from.
    "Pad": (1, 3),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
}
