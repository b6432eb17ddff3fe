"""The paper's face recognizer: four convolutions with max-pooling, three fully connected layers.

The middle of the story begins here: `training` fits this network to faces, and the attack inverts
it, or any other function of parameters and images.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mia_jax.recognizer import convolution
from mia_jax.runtime.errors import UserError

Params = Mapping[str, Any]
Outputs = TypeVar("Outputs")

CONVOLUTIONS = ("L1", "L2", "L3", "L4")
KERNELS = (5, 5, 3, 3)
CHANNELS = (5, 16, 32, 64)
UNITS = 1024
SMALLEST_SIDE = 2 ** len(KERNELS)

_he = nn.initializers.he_normal()


class Recognizer(nn.Module):
    """The CNN of section 4.1 and Fig. 4: 128x128 pixels become 8x8x64, then 1024, 1024, classes.

    Attributes:
      classes: Number of registered identities, n in equation 1.
    """

    classes: int

    def setup(self) -> None:
        """Names the layers."""
        for layer, size, channels in zip(CONVOLUTIONS, KERNELS, CHANNELS, strict=True):
            setattr(self, layer, nn.Conv(channels, (size, size), kernel_init=_he))
        self.L5 = nn.Dense(UNITS, kernel_init=_he)
        self.L6 = nn.Dense(UNITS, kernel_init=_he)
        self.L7 = nn.Dense(self.classes)

    def convolve(self, images: jax.Array) -> jax.Array:
        """Returns what L1 to L4 make of the images, flat: `[n, height * width / 4]`."""
        x = images
        for layer in CONVOLUTIONS:
            x = nn.max_pool(nn.relu(getattr(self, layer)(x)), (2, 2), (2, 2))
        return x.reshape(x.shape[0], -1)

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the logits `[n, classes]` and the penultimate features `[n, 1024]`."""
        features = nn.relu(self.L6(nn.relu(self.L5(self.convolve(images)))))
        return self.L7(features), features


def check_side(image_shape: Sequence[int]) -> None:
    """Refuses images that cannot be pooled four times.

    Args:
      image_shape: Height, width and channels.

    Raises:
      UserError: If height or width is below `SMALLEST_SIDE`.
    """
    if min(image_shape[:2]) < SMALLEST_SIDE:
        raise UserError(
            f"images of {image_shape[0]}x{image_shape[1]} pixels are too small for four 2x2 "
            f"poolings: give at least {SMALLEST_SIDE}x{SMALLEST_SIDE}"
        )


def init(key: jax.Array, classes: int, image_shape: Sequence[int]) -> Params:
    """Draws fresh weights.

    Args:
      key: A typed `jax.random.key`, consumed.
      classes: Number of registered identities.
      image_shape: Height, width and channels of the images.

    Returns:
      The parameters: one `{"kernel", "bias"}` for each of the layers `L1` to `L7`.

    Raises:
      UserError: If the images are too small to be pooled four times.
    """
    check_side(image_shape)
    return _initialize(classes)(key, jnp.zeros((1, *image_shape)))["params"]


@functools.cache
def _initialize(classes: int) -> Callable[..., Any]:
    """Compiles once what draws weights: 4 s on CPU, and dozens of programs op by op."""
    return jax.jit(Recognizer(classes).init)


def plain(params: Params, images: jax.Array) -> jax.Array:
    """Applies L1 to L4 of the flax module as they stand: the best choice on a GPU or TPU.

    Args:
      params: From `init`, of L1 to L4 at least.
      images: `[n, height, width, channels]` in [0, 1].

    Returns:
      `[n, height / 16 * width / 16 * 64]`, rounded down before the products; not negative.
    """
    convolved: Any = Recognizer(0).apply({"params": params}, images, method="convolve")
    return convolved


def fast_on_cpu(params: Params, images: jax.Array) -> jax.Array:
    """Computes what `plain` does, up to float32 rounding, with CPU-friendly convolutions.

    Adding the bias and rectifying commute with the maximum, so both come after the pooling, on a
    quarter of the values.

    Args:
      params: From `init`, of L1 to L4 at least.
      images: `[n, height, width, channels]` in [0, 1].

    Returns:
      As `plain`.
    """
    x = images
    for layer, size in zip(CONVOLUTIONS, KERNELS, strict=True):
        kernel, bias = params[layer]["kernel"], params[layer]["bias"]
        if size == 5:
            x = convolution.convolve_and_pool(x, kernel)
        else:  # Enough channels for the ordinary convolution to run at full speed.
            x = convolution.max_pool(convolution.convolve(x, kernel))
        x = nn.relu(x + bias)
    return x.reshape(x.shape[0], -1)


def convolve(params: Params, images: jax.Array) -> jax.Array:
    """Applies L1 to L4, formulated by backend: the only place where that is decided.

    Args:
      params: From `init`, of L1 to L4 at least.
      images: `[n, height, width, channels]` in [0, 1].

    Returns:
      As `plain`.
    """
    return (fast_on_cpu if jax.default_backend() == "cpu" else plain)(params, images)


def classify(
    params: Params, convolved: jax.Array, dropout: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Applies L5 to L7.

    Args:
      params: From `init`, of L5 to L7 at least.
      convolved: From `convolve`.
      dropout: `[2, n, 1024]`: factors on the units of L5 and of L6, in training only.

    Returns:
      Logits `[n, classes]` and penultimate features `[n, 1024]`.
    """
    x = convolved
    for number, layer in enumerate(("L5", "L6")):
        x = nn.relu(x @ params[layer]["kernel"] + params[layer]["bias"])
        x = x if dropout is None else x * dropout[number]
    return last_layer(params, x), x


def last_layer(params: Params, x: jax.Array) -> jax.Array:
    """Applies L7.

    Args:
      params: From `init`, of L7 at least.
      x: `[n, 1024]`, from `features`.

    Returns:
      Logits `[n, classes]`.
    """
    return x @ params["L7"]["kernel"] + params["L7"]["bias"]


def _forward(params: Params, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns logits and penultimate features."""
    return classify(params, convolve(params, images))


def logits(params: Params, images: jax.Array) -> jax.Array:
    """Scores images against every registered identity; an `apply_fn` for the attack.

    Args:
      params: From `init` or a checkpoint.
      images: `[n, height, width, channels]` in [0, 1].

    Returns:
      `[n, classes]`; their softmax is the vector of confidences, R(x) in equation 1.
    """
    return _forward(params, images)[0]


def features(params: Params, images: jax.Array) -> jax.Array:
    """Embeds images in the penultimate layer, L6.

    Args:
      params: From `init` or a checkpoint.
      images: `[n, height, width, channels]` in [0, 1].

    Returns:
      `[n, 1024]`, not negative.
    """
    return _forward(params, images)[1]


def in_bfloat16(
    apply_fn: Callable[[Any, jax.Array], Outputs],
) -> Callable[[Any, jax.Array], Outputs]:
    """Makes a model compute in bfloat16, and leaves everything around it in float32.

    Weights, images and hence activations are rounded to 8 significant bits on the way in, the
    outputs widened on the way out, so that losses, gradients and the images that an attack
    descends keep float32. A change of a pixel by less than 1/256 of its value may round away, and
    the model then does not see it.

    Args:
      apply_fn: `(params, images [n, height, width, channels]) -> logits [n, classes]`, or any
        arrays; `params` is a pytree of arrays, of which only floating ones are rounded.

    Returns:
      A function of the same float32 arguments, whose floating outputs are float32.
    """

    def cast(tree: Any, dtype: Any) -> Any:
        return jax.tree.map(
            lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
            tree,
        )

    def apply(params: Any, images: jax.Array) -> Outputs:
        outputs = apply_fn(cast(params, jnp.bfloat16), cast(images, jnp.bfloat16))
        return cast(outputs, jnp.float32)

    return apply
