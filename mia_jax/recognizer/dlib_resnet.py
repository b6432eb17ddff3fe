"""dlib's residual network for faces, in JAX: many faces in one call, on any device.

The weights are trained elsewhere and stay as they are; `dlib_resnet_file` reads them. A scale and a
shift per channel follow each convolution, and are folded into it here.

Source: Davis King, examples/dnn_face_recognition_ex.cpp in davisking/dlib; K. He et al., "Deep
residual learning for image recognition", 2016.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

SIDE = 150
STEM = 32
# Features of each block, and whether it halves the side.
BLOCKS = (
    *((32, False), (32, False), (32, False)),
    *((64, True), (64, False), (64, False), (64, False)),
    *((128, True), (128, False), (128, False)),
    *((256, True), (256, False), (256, False)),
    (256, True),
)
FEATURES = 128


class Convolution(NamedTuple):
    """A convolution.

    Attributes:
      kernel: `[size, size, channels, features]`.
      bias: `[features]`.
    """

    kernel: jax.Array
    bias: jax.Array


class Network(NamedTuple):
    """The weights.

    Attributes:
      means: `[3]`, of red, green and blue, from 0 to 255.
      stem: The first convolution, of stride 2.
      blocks: Two convolutions each, in the order of `BLOCKS`.
      dense: `[256, 128]`.
    """

    means: jax.Array
    stem: Convolution
    blocks: tuple[tuple[Convolution, Convolution], ...]
    dense: jax.Array


def embed(network: Network, faces: jax.Array) -> jax.Array:
    """Turns faces into features, which lie near each other for one person.

    Args:
      network: From `dlib_resnet_file.load`.
      faces: `[n, 150, 150, 3]`, red, green and blue from 0 to 255, cut out by dlib's
        `get_face_chip`.

    Returns:
      `[n, 128]`, what dlib's `compute_face_descriptor` returns for each.
    """
    x = (faces - network.means) / 256
    x = nn.relu(_convolve(x, network.stem, 2, "VALID"))
    x = nn.max_pool(x, (3, 3), (2, 2))
    for (_, halves), (first, second) in zip(BLOCKS, network.blocks, strict=True):
        y = _convolve(x, first, 2, "VALID") if halves else _convolve(x, first, 1, "SAME")
        y = _convolve(nn.relu(y), second, 1, "SAME")
        x = nn.avg_pool(x, (2, 2), (2, 2)) if halves else x
        x = nn.relu(_add(x, y))
    return jnp.dot(x.mean((1, 2)), network.dense, precision=lax.Precision.HIGHEST)


def _convolve(x: jax.Array, layer: Convolution, stride: int, padding: str) -> jax.Array:
    """Convolves in full float32, also where a device would round for speed."""
    y = lax.conv_general_dilated(
        x,
        layer.kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )
    return y + layer.bias


def _add(x: jax.Array, y: jax.Array) -> jax.Array:
    """Adds, with zeros where one has rows, columns or channels that the other lacks."""
    shape = [max(sides) for sides in zip(x.shape, y.shape, strict=True)]
    x, y = (
        jnp.pad(each, [(0, most - side) for most, side in zip(shape, each.shape, strict=True)])
        for each in (x, y)
    )
    return x + y
