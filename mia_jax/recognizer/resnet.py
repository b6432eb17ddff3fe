"""A small residual network: a recognizer of another architecture than the paper's.

It follows flax's own example of a ResNet v1 (`examples/imagenet/models.py` in google/flax, Apache
2.0): a stem of stride 4, stages of basic blocks that halve the side and double the width, the last
scale of each block zero at first, means over positions, one dense layer. Narrower, it suits faces
of 64 to 128 pixels. Group normalization instead of batch normalization leaves no running
statistics: the weights are all there is, and an image is seen alike whatever is beside it. Stages
begin with a maximum instead of a stride, and the means are those of each quarter of the picture,
since in a cropped face it matters where something is: of 136 test photographs of LFW at 64x64
pixels it recognizes 74% so, 70% with means between the stages, 62% with one mean over the whole.

Source: K. He et al., "Deep residual learning for image recognition", 2016; Y. Wu and K. He, "Group
normalization", 2018.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from mia_jax.recognizer import convolution
from mia_jax.recognizer.network import Params, check_side

WIDTHS = (16, 32, 64, 128)
GROUP = 8  # Channels that are normalized together.
FEATURES = 4 * WIDTHS[-1]
LAST = "dense"


def _convolution(
    images: jax.Array, kernel: jax.Array, strides: Any, padding: Any, **options: Any
) -> jax.Array:
    """Convolves at stride 1, formulated by backend."""
    if jax.default_backend() == "cpu":
        return convolution.convolve(images, kernel)
    return lax.conv_general_dilated(images, kernel, strides, padding, **options)


def _convolve(channels: int) -> nn.Conv:
    """Returns a layer of 3x3 kernels; the normalization after it has the bias."""
    return nn.Conv(
        channels,
        (3, 3),
        use_bias=False,
        kernel_init=nn.initializers.he_normal(),
        conv_general_dilated=_convolution,
    )


def _normalize(**options: Any) -> nn.GroupNorm:
    """Returns a layer that normalizes a few channels of an image together."""
    return nn.GroupNorm(num_groups=None, group_size=GROUP, **options)


def _halve(x: jax.Array) -> jax.Array:
    """Takes the maximum of each 2x2 window, for as long as there are two rows and columns."""
    return x if min(x.shape[1:3]) < 2 else convolution.max_pool(x)


def _quarters(x: jax.Array) -> jax.Array:
    """Takes the mean of each quarter; those of an odd side share its middle: `[n, 4 * c]`."""
    (top, bottom), (left, right) = (
        (slice((side + 1) // 2), slice(side // 2, None)) for side in x.shape[1:3]
    )
    places = (top, left), (top, right), (bottom, left), (bottom, right)
    return jnp.concatenate([x[:, rows, columns].mean((1, 2)) for rows, columns in places], -1)


class Block(nn.Module):
    """Two convolutions, and past them the block's input.

    Attributes:
      channels: Features of each convolution.
    """

    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `[n, height, width, channels]`, not negative."""
        y = nn.relu(_normalize()(_convolve(self.channels)(x)))
        y = _normalize(scale_init=nn.initializers.zeros)(_convolve(self.channels)(y))
        if x.shape[-1] != self.channels:
            x = _normalize()(nn.Dense(self.channels, use_bias=False)(x))
        return nn.relu(x + y)


class ResidualNetwork(nn.Module):
    """The network: 128x128 pixels become 4x4x128, the means of its quarters, then classes.

    Attributes:
      classes: Number of registered identities.
    """

    classes: int

    def setup(self) -> None:
        """Names the layers."""
        self.stem, self.stem_norm = _convolve(WIDTHS[0]), _normalize()
        self.blocks = [Block(width) for width in WIDTHS]
        self.dense = nn.Dense(self.classes)

    def convolve(self, images: jax.Array) -> jax.Array:
        """Returns the mean over each quarter: `[n, 512]`."""
        _, height, width, _ = images.shape
        even = images[:, : height // 2 * 2, : width // 2 * 2]
        x = nn.relu(self.stem_norm(self.stem(convolution.space_to_depth(even))))
        x = convolution.max_pool(x)
        for number, block in enumerate(self.blocks):
            x = block(_halve(x) if number else x)
        return _quarters(x)

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the logits `[n, classes]` and the features `[n, 512]`."""
        features = self.convolve(images)
        return self.dense(features), features


def init(key: jax.Array, classes: int, image_shape: Sequence[int]) -> Params:
    """Draws fresh weights.

    Args:
      key: A typed `jax.random.key`, consumed.
      classes: Number of registered identities.
      image_shape: Height, width and channels of the images.

    Returns:
      The parameters, by layer.

    Raises:
      UserError: If the images are too small.
    """
    check_side(image_shape)
    return _initialize(classes)(key, jnp.zeros((1, *image_shape)))["params"]


@functools.cache
def _initialize(classes: int) -> Callable[..., Any]:
    """Compiles once what draws weights."""
    return jax.jit(ResidualNetwork(classes).init)


def convolve(params: Params, images: jax.Array) -> jax.Array:
    """Applies all but the last layer.

    Args:
      params: From `init`; the last layer is not needed.
      images: `[n, height, width, channels]` in [0, 1].

    Returns:
      `[n, 512]`, not negative.
    """
    pooled: Any = ResidualNetwork(0).apply({"params": params}, images, method="convolve")
    return pooled


def classify(
    params: Params, convolved: jax.Array, dropout: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Applies the last layer.

    Args:
      params: From `init`, of the last layer at least.
      convolved: From `convolve`.
      dropout: `[1, n, 512]`: factors on the features, in training only.

    Returns:
      Logits `[n, classes]` and features `[n, 512]`.
    """
    x = convolved if dropout is None else convolved * dropout[0]
    return last_layer(params, x), x


def last_layer(params: Params, x: jax.Array) -> jax.Array:
    """Applies the last layer.

    Args:
      params: From `init`, of the last layer at least.
      x: `[n, 512]`, from `features`.

    Returns:
      Logits `[n, classes]`.
    """
    return x @ params[LAST]["kernel"] + params[LAST]["bias"]


def logits(params: Params, images: jax.Array) -> jax.Array:
    """Scores images against every registered identity; an `apply_fn` for the attack.

    Args:
      params: From `init` or a checkpoint.
      images: `[n, height, width, channels]` in [0, 1].

    Returns:
      `[n, classes]`.
    """
    return last_layer(params, convolve(params, images))
