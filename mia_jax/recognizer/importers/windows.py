"""Convolution and pooling as the networks of others have them: any stride, padding and groups.

Operations of ONNX, on arrays whose channels are last, for `operations`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mia_jax.recognizer import convolution
from mia_jax.runtime.errors import UserError

Padding = tuple[tuple[int, int], ...]


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
    return pads, tuple(extra)


def _window(attributes: Mapping[str, Any], rank: int) -> tuple[list[int], list[int]]:
    """Returns strides and dilations."""
    ones = [1] * rank
    return attributes.get("strides", ones), attributes.get("dilations", ones)


def convolve(attributes: Mapping[str, Any], x: Any, kernel: Any, bias: Any = None) -> Any:
    """Convolves pictures, in groups of channels if asked for.

    Args:
      attributes: Of the operation Conv.
      x: `[n, height, width, channels]`.
      kernel: `[height, width, channels / groups, features]`.
      bias: `[features]` or None.

    Returns:
      `[n, height, width, features]`.

    Raises:
      UserError: If these are no pictures.
    """
    if x.ndim != 4:
        raise UserError(f"it convolves {x.ndim - 2} dimensions: only pictures are supported")
    strides, dilations = _window(attributes, 2)
    pads, _ = _padding(attributes, x.shape[1:3], kernel.shape[:2], strides, dilations)
    groups = attributes.get("group", 1)
    y = lax.conv_general_dilated(
        x,
        kernel,
        strides,
        pads,
        rhs_dilation=dilations,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return y if bias is None else y + bias


def max_pool(attributes: Mapping[str, Any], x: Any) -> Any:
    """Takes the maximum of each window of pictures whose channels are last."""
    window = attributes["kernel_shape"]
    strides, dilations = _window(attributes, len(window))
    pads, extra = _padding(attributes, x.shape[1:-1], window, strides, dilations)
    sums = tuple((a + c, b + d) for (a, b), (c, d) in zip(pads, extra, strict=True))
    if x.ndim == 4 and [*window, *strides] == [2, 2, 2, 2] and not np.any(sums):
        return convolution.max_pool(x)
    return lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        (1, *window, 1),
        (1, *strides, 1),
        ((0, 0), *sums, (0, 0)),
        window_dilation=(1, *dilations, 1),
    )


def average_pool(attributes: Mapping[str, Any], x: Any) -> Any:
    """Takes the mean of each window of pictures whose channels are last."""
    window = attributes["kernel_shape"]
    strides, dilations = _window(attributes, len(window))
    pads, extra = _padding(attributes, x.shape[1:-1], window, strides, dilations)
    counted = np.ones(x.shape[1:-1], np.float32)
    counted = np.pad(counted, pads, constant_values=float(attributes.get("count_include_pad", 0)))
    counted = np.pad(counted, extra)

    def total(array: jax.Array) -> jax.Array:
        return lax.reduce_window(
            array,
            0.0,
            lax.add,
            (1, *window, 1),
            (1, *strides, 1),
            "VALID",
            window_dilation=(1, *dilations, 1),
        )

    sums = tuple((a + c, b + d) for (a, b), (c, d) in zip(pads, extra, strict=True))
    padded = jnp.pad(x, ((0, 0), *sums, (0, 0)))
    return total(padded) / total(jnp.asarray(counted[None, ..., None]))
