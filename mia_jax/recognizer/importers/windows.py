"""Convolution and pooling as the networks of others have them: any stride, padding and groups.

Functions on arrays whose channels are last, for `operations.pictures`. With XLA's own
convolutions, whose gradient is slow in a `lax.scan`, a step of the attack on a ResNet-18 takes 1.7
times as long on a CPU, and one maximum with its gradient four times; of a MobileFaceNet, whose
convolutions are depthwise, six times (`python -m experiments.benchmark --suite=imported`).
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mia_jax.recognizer import convolution
from mia_jax.runtime.bounds import check_size
from mia_jax.runtime.errors import UserError

Padding = tuple[tuple[int, int], ...]
_LAYOUT = ("NHWC", "HWIO", "NHWC")
_WIDEST = 1024  # Elements along a side of a pool's window, or from one to the next.
_MOST_PRODUCTS = 64  # Taps of a kernel that are written out, one by one, to be compiled.


def _padding(
    attributes: Mapping[str, Any],
    sides: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[Padding, Padding]:
    """Returns what is padded before and after each side, and what rounding up adds after it."""
    auto = attributes.get("auto_pad", "NOTSET")
    extents = [d * (w - 1) + 1 for d, w in zip(dilations, window, strict=True)]
    rank = len(sides)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((-(-side // s) - 1) * s + extent - side, 0)
            for side, s, extent in zip(sides, strides, extents, strict=True)
        ]
        less = [(total // 2, total - total // 2) for total in totals]
        pads = tuple(less if auto == "SAME_UPPER" else [(b, a) for a, b in less])
    elif auto == "VALID":
        pads = ((0, 0),) * rank
    else:
        flat = attributes.get("pads", [0] * 2 * rank)
        pads = tuple(zip(flat[:rank], flat[rank:], strict=True))
    extra = [(0, 0)] * rank
    if attributes.get("ceil_mode"):
        for axis, (side, s, extent, pad) in enumerate(
            zip(sides, strides, extents, pads, strict=True)
        ):
            room = side + sum(pad) - extent
            count = -(-room // s) + 1
            if (count - 1) * s >= side + pad[0]:  # A window has to start on the picture.
                count -= 1
            extra[axis] = (0, max((count - 1) * s - room, 0))
    check_size([side + sum(pad) for side, pad in zip(sides, pads, strict=True)])
    return pads, tuple(extra)


def _pooled(
    attributes: Mapping[str, Any], sides: Sequence[int]
) -> tuple[list[int], list[int], list[int], Padding, Padding]:
    """Returns window, strides, dilations and padding of a pool, and what rounding up adds."""
    window = attributes["kernel_shape"]
    strides, dilations = _window(attributes, len(window))
    if max(window) > _WIDEST:
        raise UserError(f"it pools windows of {max(window)}, and at most {_WIDEST} are accepted")
    pads, extra = _padding(attributes, sides, window, strides, dilations)
    return window, strides, dilations, pads, extra


def _window(attributes: Mapping[str, Any], rank: int) -> tuple[list[int], list[int]]:
    """Returns strides and dilations."""
    ones = [1] * rank
    found = attributes.get("strides", ones), attributes.get("dilations", ones)
    if not all(0 < each <= _WIDEST for steps in found for each in steps):
        raise UserError(f"its strides and dilations are {found}: 1 to {_WIDEST} are accepted")
    return found


def convolve(attributes: Mapping[str, Any], x: Any, kernel: Any, bias: Any = None) -> Any:
    """Convolves, in groups of channels if asked for.

    Args:
      attributes: Of the operation Conv.
      x: `[n, height, width, channels]`, or of fewer or more sides.
      kernel: `[height, width, channels / groups, features]`, with the same sides.
      bias: `[features]` or None.

    Returns:
      `[n, height, width, features]`.
    """
    rank = x.ndim - 2
    strides, dilations = _window(attributes, rank)
    pads, _ = _padding(attributes, x.shape[1:-1], kernel.shape[:rank], strides, dilations)
    groups = attributes.get("group", 1)
    if rank == 2:
        y = _convolution(x, kernel, tuple(strides), pads, tuple(dilations), groups)
    else:
        y = lax.conv_general_dilated(
            *(x, kernel, strides, pads),
            rhs_dilation=dilations,
            dimension_numbers=_layout(rank),
            feature_group_count=groups,
        )
    return y if bias is None else y + bias


def _layout(rank: int) -> tuple[str, str, str]:
    """Says that channels are last, of arrays with so many sides."""
    sides = "DHW"[3 - rank :] if rank <= 3 else "".join(chr(97 + i) for i in range(rank))
    return f"N{sides}C", f"{sides}IO", f"N{sides}C"


def convolve_transposed(
    attributes: Mapping[str, Any], x: Any, kernel: Any, bias: Any = None
) -> Any:
    """Does what the gradient of a convolution does, as decoders have it.

    Args:
      attributes: Of the operation ConvTranspose.
      x: `[n, height, width, channels]`, or of fewer or more sides.
      kernel: `[channels, features / groups, height, width]`, as ONNX has it.
      bias: `[features]` or None.

    Returns:
      `[n, height, width, features]`.
    """
    rank, groups = x.ndim - 2, attributes.get("group", 1)
    strides, dilations = _window(attributes, rank)
    extents = [d * (w - 1) + 1 for d, w in zip(dilations, kernel.shape[2:], strict=True)]
    more = attributes.get("output_padding", [0] * rank)
    flat = attributes.get("pads", [0] * 2 * rank)
    wanted = attributes.get("output_shape")
    auto = attributes.get("auto_pad", "NOTSET")
    if wanted is None and auto.startswith("SAME"):
        wanted = [side * s for side, s in zip(x.shape[1:-1], strides, strict=True)]
    pads = []
    for axis, (side, s, extent) in enumerate(zip(x.shape[1:-1], strides, extents, strict=True)):
        before, after = (flat[axis], flat[axis + rank]) if auto == "NOTSET" else (0, 0)
        if wanted is not None:
            total = max(s * (side - 1) + more[axis] + extent - wanted[-rank:][axis], 0)
            less = total // 2
            before, after = (less, total - less) if auto == "SAME_UPPER" else (total - less, less)
        pads.append((extent - 1 - before, extent - 1 - after + more[axis]))
    check_size([s * side + sum(p) for side, s, p in zip(x.shape[1:-1], strides, pads, strict=True)])
    channels, features = kernel.shape[:2]
    kernel = kernel.reshape(groups, channels // groups, features, *kernel.shape[2:])
    kernel = jnp.moveaxis(jnp.flip(kernel, range(3, 3 + rank)), (1, 0, 2), (-3, -2, -1))
    y = lax.conv_general_dilated(
        *(x, kernel.reshape(*kernel.shape[:rank], channels // groups, -1), [1] * rank, pads),
        lhs_dilation=strides,
        rhs_dilation=dilations,
        dimension_numbers=_layout(rank),
        feature_group_count=groups,
    )
    return y if bias is None else y + bias


def _convolution(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    pads: Padding,
    dilations: tuple[int, ...],
    groups: int,
) -> jax.Array:
    """Convolves, formulated by backend: on CPU, XLA's own is slow in groups and in its gradient."""
    height, width, inputs, features = kernel.shape
    plain = set(dilations) == {1}
    whole = (height, width) == x.shape[1:3] and plain and not np.any(pads)
    depthwise = 1 < groups == x.shape[3]
    few = height * width <= _MOST_PRODUCTS and (plain or set(strides) == {1})
    written = (whole or few) if depthwise else groups == 1 and plain
    if jax.default_backend() != "cpu" or not written:
        return lax.conv_general_dilated(
            *(x, kernel, strides, pads),
            rhs_dilation=dilations,
            dimension_numbers=_LAYOUT,
            feature_group_count=groups,
        )
    if depthwise:
        x = jnp.repeat(x, features // groups, 3)
        if whole:  # As below, of each channel for itself.
            return jnp.einsum("nijc,ijc->nc", x, kernel[:, :, 0])[:, None, None]
        return _safe(x, kernel, strides, pads, dilations)
    if whole:  # One window is the whole picture: a product, whose gradient is one too.
        return (x.reshape(len(x), -1) @ kernel.reshape(-1, features))[:, None, None]
    if (height, width) == (1, 1) and not np.any(pads):
        return x[:, :: strides[0], :: strides[1]] @ kernel[0, 0]
    if strides != (1, 1) and inputs < convolution.VECTOR:
        return _safe(*_blocks(x, kernel, strides, pads), (1, 1), ((0, 0), (0, 0)), (1, 1))
    return _safe(x, kernel, strides, pads, dilations)


def _blocks(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, ...], pads: Padding
) -> tuple[jax.Array, jax.Array]:
    """Moves a block of pixels as large as a stride into the channels, and the kernel's alike.

    A convolution of a stride is one of stride 1 on such blocks, with zeros added to the kernel; its
    gradient then is a convolution too, without the zeros between rows that a stride would ask for.
    Of few channels that is faster than a gradient by phases, although zeros are multiplied.
    """
    taps = [-(-size // s) for size, s in zip(kernel.shape, strides, strict=False)]
    widths, sides = [(0, 0)], []
    for side, size, s, tap, (before, after) in zip(
        x.shape[1:3], kernel.shape, strides, taps, pads, strict=False
    ):
        count = (side + before + after - size) // s + 1
        whole = (count - 1 + tap) * s
        widths.append((before, whole - side - before))
        sides.append(whole // s)
    n, channels, features = x.shape[0], kernel.shape[2], kernel.shape[3]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(*w, 0) for w in (*widths, (0, 0))])
    x = x.reshape(n, sides[0], strides[0], sides[1], strides[1], channels)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(n, *sides, -1)
    missing = [(0, t * s - size) for t, s, size in zip(taps, strides, kernel.shape, strict=False)]
    kernel = jnp.pad(kernel, (*missing, (0, 0), (0, 0)))
    kernel = kernel.reshape(taps[0], strides[0], taps[1], strides[1], channels, features)
    return x, kernel.transpose(0, 2, 1, 3, 4, 5).reshape(*taps, -1, features)


def _direct(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    pads: Padding,
    dilations: tuple[int, ...],
) -> jax.Array:
    """Convolves as XLA does; depthwise, where a kernel has one channel, by shifted products.

    XLA computes the padded pictures once. Its own gradient of the products would pad each of them
    for itself, and compute whatever they come from once for each: three times as long.
    """
    if kernel.shape[2] > 1 or x.shape[3] == 1:
        return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=_LAYOUT)
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)))
    n, *sides, channels = x.shape
    spans = [
        (side - d * (size - 1) - 1) // s * s + 1
        for side, size, s, d in zip(sides, kernel.shape, strides, dilations, strict=False)
    ]

    def product(row: int, column: int) -> jax.Array:
        top, left = row * dilations[0], column * dilations[1]
        ends = (n, top + spans[0], left + spans[1], channels)
        return lax.slice(x, (0, top, left, 0), ends, (1, *strides, 1)) * kernel[row, column, 0]

    return functools.reduce(jnp.add, [product(*tap) for tap in np.ndindex(*kernel.shape[:2])])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _safe(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    pads: Padding,
    dilations: tuple[int, ...],
) -> jax.Array:
    """Convolves; the gradient of the pictures is written as in `convolution.convolve`."""
    return _direct(x, kernel, strides, pads, dilations)


def _safe_forward(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    pads: Padding,
    dilations: tuple[int, ...],
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _direct(x, kernel, strides, pads, dilations), (x, kernel)


def _safe_backward(
    strides: tuple[int, ...],
    pads: Padding,
    dilations: tuple[int, ...],
    residuals: tuple[jax.Array, jax.Array],
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    if strides == (1, 1):
        around = [
            (d * (size - 1) - before, d * (size - 1) - after)
            for size, d, (before, after) in zip(kernel.shape, dilations, pads, strict=False)
        ]
        gradient = _turned(x.shape[3], cotangent, kernel, around, dilations)
    else:
        gradient = _by_phases(x.shape, kernel, strides, pads, cotangent)
    _, of_kernel = jax.vjp(lambda k: _direct(x, k, strides, pads, dilations), kernel)
    return gradient, *of_kernel(cotangent)


_safe.defvjp(_safe_forward, _safe_backward)


def _turned(
    channels: int, cotangent: jax.Array, kernel: jax.Array, around: Any, dilations: tuple[int, ...]
) -> jax.Array:
    """Convolves with the flipped, channel-swapped kernel; the barrier keeps XLA off the labels."""
    flipped = jnp.flip(kernel, (0, 1))
    if kernel.shape[2] == channels:
        flipped = lax.optimization_barrier(flipped.swapaxes(2, 3))
    return _direct(cotangent, flipped, (1, 1), around, dilations)


def _by_phases(
    shape: tuple[int, ...],
    kernel: jax.Array,
    strides: tuple[int, ...],
    pads: Padding,
    cotangent: jax.Array,
) -> jax.Array:
    """Returns the gradient of pictures of this shape, each phase of the stride for itself.

    Pixels of one phase meet the same taps of the kernel, so that their gradient is a convolution at
    stride 1 with those taps: together as much arithmetic as on the way forward.
    """
    n, height, width, channels = shape
    counts = [
        -(-(side + sum(pad)) // s)
        for side, pad, s in zip((height, width), pads, strides, strict=True)
    ]

    def of_phase(row: int, column: int) -> jax.Array:
        taps = kernel[row :: strides[0], column :: strides[1]]
        if not taps.size:  # A stride that is larger than the kernel skips these pixels.
            return jnp.zeros((n, *counts, channels), cotangent.dtype)
        around = [
            (size - 1, count - side)
            for size, count, side in zip(taps.shape, counts, cotangent.shape[1:], strict=False)
        ]
        return _turned(channels, cotangent, taps, around, (1, 1))

    phases = [jnp.stack([of_phase(i, j) for j in range(strides[1])], 3) for i in range(strides[0])]
    padded = jnp.stack(phases, 2).reshape(
        n, counts[0] * strides[0], counts[1] * strides[1], channels
    )
    (top, _), (left, _) = pads
    return padded[:, top : top + height, left : left + width]


def max_pool(attributes: Mapping[str, Any], x: Any) -> Any:
    """Takes the maximum of each window of pictures whose channels are last."""
    window, strides, dilations, pads, extra = _pooled(attributes, x.shape[1:-1])
    sums = tuple((a + c, b + d) for (a, b), (c, d) in zip(pads, extra, strict=True))
    facts = [*window, *strides, *dilations]
    if x.ndim == 4 and facts == [2, 2, 2, 2, 1, 1] and not np.any(sums):
        return convolution.max_pool(x)
    x = jnp.pad(x, ((0, 0), *sums, (0, 0)), constant_values=-jnp.inf)
    for axis, (size, s, d) in enumerate(zip(window, strides, dilations, strict=True), 1):
        # Axis by axis: the gradient of a maximum over a window is four times slower on CPU.
        last = (x.shape[axis] - d * (size - 1) - 1) // s * s + 1
        places = range(0, d * size, d)
        x = functools.reduce(
            jnp.maximum, [lax.slice_in_dim(x, i, i + last, s, axis) for i in places]
        )
    return x


def _totals(
    x: jax.Array, window: list[int], strides: list[int], dilations: list[int], pads: Padding
) -> jax.Array:
    """Sums each window of pictures whose channels are last."""
    return lax.reduce_window(
        jnp.pad(x, ((0, 0), *pads, (0, 0))),
        0.0,
        lax.add,
        (1, *window, 1),
        (1, *strides, 1),
        "VALID",
        window_dilation=(1, *dilations, 1),
    )


def average_pool(attributes: Mapping[str, Any], x: Any) -> Any:
    """Takes the mean of each window of pictures whose channels are last."""
    window, strides, dilations, pads, extra = _pooled(attributes, x.shape[1:-1])
    how = window, strides, dilations
    counted = np.ones(x.shape[1:-1], np.float32)
    counted = np.pad(counted, pads, constant_values=float(attributes.get("count_include_pad", 0)))
    sums = tuple((a + c, b + d) for (a, b), (c, d) in zip(pads, extra, strict=True))
    counts = _totals(jnp.asarray(counted[None, ..., None]), *how, extra)
    return _totals(x, *how, sums) / counts


def power_pool(attributes: Mapping[str, Any], x: Any) -> Any:
    """Takes the norm of each window of pictures whose channels are last."""
    window, strides, dilations, pads, extra = _pooled(attributes, x.shape[1:-1])
    how = window, strides, dilations
    sums = tuple((a + c, b + d) for (a, b), (c, d) in zip(pads, extra, strict=True))
    power = attributes.get("p", 2)
    total = _totals(jnp.abs(x) ** power, *how, sums)
    positive = total > 0  # The gradient at 0 is 0, not infinite.
    return jnp.where(positive, jnp.where(positive, total, 1) ** (1 / power), 0)
