"""Operations that move, repeat, join, cut and pad, and those that make arrays of a shape."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from mia_jax.recognizer.importers.operations.operation import Attributes, Layout, Operation
from mia_jax.recognizer.importers.operations.reductions import axes_of
from mia_jax.runtime.errors import UserError


def _flatten(attributes: Attributes, x: Any) -> Any:
    axis = attributes["axis"]
    first = math.prod(x.shape[: axis if axis >= 0 else axis + x.ndim])
    return x.reshape(first, math.prod(x.shape) // max(first, 1))


def _reshape(attributes: Attributes, x: Any, shape: Any) -> Any:
    wanted = [int(side) for side in shape]
    if not attributes.get("allowzero"):
        wanted = [x.shape[i] if side == 0 else side for i, side in enumerate(wanted)]
    return jnp.reshape(x, wanted)


def _transpose(attributes: Attributes, x: Any) -> Any:
    return jnp.transpose(x, attributes.get("perm", tuple(range(x.ndim))[::-1]))


def _concatenate(attributes: Attributes, *arrays: Any) -> Any:
    return jnp.concatenate(arrays, attributes.get("axis", 1))


def _split(attributes: Attributes, x: Any, sizes: Any = None) -> Any:
    axis, sizes = attributes["axis"], attributes.get("split", sizes)
    if sizes is None:
        count = attributes.get("num_outputs", attributes["outputs"])
        if count > max(x.shape[axis], 1):
            raise UserError(f"it splits {x.shape[axis]} into {count}")
        each = -(-x.shape[axis] // count)
        sizes = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    elif sum(int(size) for size in sizes) != x.shape[axis]:
        raise UserError(f"it splits {x.shape[axis]} into {[int(size) for size in sizes]}")
    return tuple(jnp.split(x, np.cumsum(sizes)[:-1].tolist(), axis))


def _squeeze(attributes: Attributes, x: Any, axes: Any = None) -> Any:
    return jnp.squeeze(x, axes_of(attributes, axes))


def _unsqueeze(attributes: Attributes, x: Any, axes: Any = None) -> Any:
    return jnp.expand_dims(x, axes_of(attributes, axes) or ())


def _expand(attributes: Attributes, x: Any, shape: Any) -> Any:
    wanted = np.broadcast_shapes(x.shape, tuple(int(side) for side in shape))
    return jnp.broadcast_to(x, wanted)


def _tile(attributes: Attributes, x: Any, repeats: Any) -> Any:
    return jnp.tile(x, [int(times) for times in repeats])


def _shape(attributes: Attributes, x: Any) -> np.ndarray:
    return np.array(x.shape[attributes.get("start", 0) : attributes.get("end")], np.int64)


def _size(attributes: Attributes, x: Any) -> np.ndarray:
    return np.array(math.prod(x.shape), np.int64)


def _constant_of_shape(attributes: Attributes, shape: Any) -> Any:
    value = np.ravel(attributes.get("value", np.zeros(1, np.float32)))[0]
    return jnp.full([int(side) for side in shape], value)


def _range(attributes: Attributes, start: Any, limit: Any, delta: Any) -> Any:
    first, last, step = (np.ravel(each)[0] for each in (start, limit, delta))
    # Python's own numbers do not overflow.
    count = max(math.ceil((last.item() - first.item()) / step.item()), 0)
    return first + step * lax.iota(np.int32, count)


def _eye_like(attributes: Attributes, x: Any) -> Any:
    rows, columns = x.shape
    return jnp.eye(rows, columns, attributes["k"])


def _triangle(attributes: Attributes, x: Any, k: Any = None) -> Any:
    which = jnp.triu if attributes["upper"] else jnp.tril
    return which(x, 0 if k is None else int(np.ravel(k)[0]))


def _slice(
    attributes: Attributes,
    x: Any,
    starts: Any = None,
    ends: Any = None,
    axes: Any = None,
    steps: Any = None,
) -> Any:
    starts, ends = attributes.get("starts", starts), attributes.get("ends", ends)
    named = axes_of(attributes, axes) or range(len(starts))
    steps = [1] * len(starts) if steps is None else steps
    where = [slice(None)] * x.ndim
    for axis, start, end, step in zip(named, starts, ends, steps, strict=True):
        stride, side = int(step), x.shape[axis]
        low, high = (0, side) if stride > 0 else (-1, side - 1)
        begin, stop = (
            min(max(place + side if place < 0 else place, low), high)
            for place in (int(start), int(end))
        )
        begin = max(begin, 0)
        where[axis] = slice(begin, None if stop < 0 else stop, stride)
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
    if attributes["mode"] == "constant":
        given = attributes.get("value", 0.0) if value is None else value
        filling = jnp.asarray(given).astype(x.dtype).reshape(())
        return lax.pad(x, filling, [(*width, 0) for width in widths])
    # Less than nothing crops, before what is left is repeated.
    x = lax.pad(x, jnp.zeros((), x.dtype), [(min(a, 0), min(b, 0), 0) for a, b in widths])
    return jnp.pad(x, [(max(a, 0), max(b, 0)) for a, b in widths], mode=attributes["mode"])


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
    order = (0, 3, 5, 1, 2, 4) if attributes.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return blocks.transpose(order).reshape(n, channels * size**2, height // size, width // size)


_EVERY = (13, 21, 23, 24, 25)


def _plain(compute: Any, *versions: int, names: Sequence[str] = (), **fields: Any) -> Operation:
    return Operation(compute, versions, dict.fromkeys(names), **fields)


OPERATIONS: Mapping[str, Operation] = {
    "Concat": _plain(_concatenate, 4, 11, 13, names=("axis",), layout=Layout.ALONG),
    "ConstantOfShape": _plain(
        *(_constant_of_shape, 9, 20, 21, 23, 24, 25), names=("value",), shaped=(0,)
    ),
    "DepthToSpace": Operation(
        *(_depth_to_space, (1, 11, 13, 28)), {"blocksize": None, "mode": ("DCR", "CRD")}
    ),
    "Expand": _plain(_expand, 8, 13, shaped=(1,)),
    "EyeLike": _plain(_eye_like, 9, 22, names=("dtype", "k")),
    "Flatten": _plain(_flatten, 1, 9, 11, *_EVERY, names=("axis",)),
    "Pad": Operation(
        *(_pad, (2, 11, 13, 18, 19, 21, 23, 24, 25)),
        {"mode": ("constant", "reflect", "edge", "wrap"), "pads": None, "value": None},
        shaped=(1, 3),
    ),
    "Range": _plain(_range, 11, 27, names=("stash_type",), shaped=(0, 1, 2)),
    "Reshape": _plain(_reshape, 5, 14, 19, *_EVERY, names=("allowzero",), shaped=(1,)),
    "Shape": _plain(_shape, 1, 15, 19, *_EVERY, names=("start", "end"), of_shape=True),
    "Size": _plain(_size, 1, 19, *_EVERY, of_shape=True),
    "Slice": _plain(
        *(_slice, 1, 10, 11, 13), names=("starts", "ends", "axes"), shaped=(1, 2, 3, 4)
    ),
    "SpaceToDepth": Operation(
        *(_space_to_depth, (1, 13, 28)), {"blocksize": None, "mode": ("DCR", "CRD")}
    ),
    "Split": _plain(
        *(_split, 2, 11, 13, 18),
        names=("axis", "split", "num_outputs"),
        outputs=2**31,
        shaped=(1,),
    ),
    "Squeeze": _plain(_squeeze, 1, 11, *_EVERY, names=("axes",), shaped=(1,)),
    "Tile": _plain(_tile, 6, 13, shaped=(1,)),
    "Transpose": _plain(_transpose, 1, *_EVERY, names=("perm",)),
    "Trilu": _plain(_triangle, 14, names=("upper",), shaped=(1,)),
    "Unsqueeze": _plain(_unsqueeze, 1, 11, *_EVERY, names=("axes",), shaped=(1,)),
}
