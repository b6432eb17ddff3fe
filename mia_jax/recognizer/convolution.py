"""Convolution and pooling that stay fast, forward and backward, where XLA's own are slow on CPU.

The plain formulation (`flax.linen.Conv`, `flax.linen.max_pool`) loses most of its time on CPU in
three places: convolutions of very few channels, the gradient of a maximum over a window, and the
transposed kernel that loop-invariant code motion leaves in a `lax.scan`. The functions here compute
the same values and gradients, up to float32 rounding, and avoid all three. They are public so that
a model other than the paper's can use them as well. `network` chooses between them and the plain
formulation.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")
VECTOR = 16  # Float32 values in the widest vector instruction of a CPU.
_TOGETHER = 2  # Images whose part of a kernel's gradient is summed at a time.


def _same(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves at stride 1 and keeps height and width."""
    return lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT)


@jax.custom_vjp
def convolve(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves at stride 1 with zero padding that keeps height and width.

    The gradient with respect to the images is itself written as a forward convolution with the
    flipped, channel-swapped kernel. The barrier keeps XLA from folding that flip back into the
    dimension labels of the convolution, which inside `lax.scan` would choose a path several times
    slower on CPU.

    Args:
      images: `[n, height, width, channels]`, any float type.
      kernel: `[size, size, channels, features]` with odd `size`.

    Returns:
      `[n, height, width, features]`.
    """
    return _same(images, kernel)


def _convolve_forward(
    images: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _same(images, kernel), (images, kernel)


def _convolve_backward(
    residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    images, kernel = residuals
    transposed = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    channels = kernel.shape[2]
    # A convolution to 12 channels takes 1.5 times as long on CPU as one to 16.
    missing = VECTOR - channels if VECTOR // 2 < channels < VECTOR else 0
    transposed = jnp.pad(transposed, ((0, 0), (0, 0), (0, 0), (0, missing)))
    gradient = _same(cotangent, lax.optimization_barrier(transposed))[..., :channels]
    return gradient, _kernel_gradient(images, kernel, cotangent)


def _kernel_gradient(images: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> jax.Array:
    """Returns the gradient with respect to the kernel: one matrix product for all taps.

    Images shifted by each column against cotangents shifted back by each row give every tap. XLA's
    own convolution over the batch takes three times as long on CPU. A few images at a time keep the
    shifted copies in the caches.
    """
    size, _, channels, features = kernel.shape
    n, _, width, _ = images.shape
    margin = size // 2

    def add(total: jax.Array, few: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        padded = jnp.pad(few[0], ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        columns = [padded[:, :, shift : shift + width] for shift in range(size)]
        rows = [
            jnp.pad(few[1], ((0, 0), (shift, size - 1 - shift), (0, 0), (0, 0)))
            for shift in range(size)
        ]
        shifted = [jnp.concatenate(copies, -1) for copies in (columns, rows)]
        one, other = lax.optimization_barrier([a.reshape(-1, a.shape[-1]) for a in shifted])
        return total + one.T @ other, None

    together = math.gcd(n, _TOGETHER)
    groups = [array.reshape(-1, together, *array.shape[1:]) for array in (images, cotangent)]
    start = jnp.zeros((size * channels, size * features), kernel.dtype)
    taps = lax.scan(add, start, tuple(groups))[0].reshape(size, channels, size, features)
    return taps.transpose(2, 0, 1, 3)


convolve.defvjp(_convolve_forward, _convolve_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def maximum_of_four(windows: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Takes the maximum over two axes of length 2; the gradient goes to the first that attains it.

    That is the rule of max-pooling. A maximum over axes or a window is four times slower on CPU
    in its gradient, which here is one comparison with the position remembered from the way forward.

    Args:
      windows: Any float type, of length 2 along each of `axes`.
      axes: The two axes, in rising order.

    Returns:
      `windows` reduced over `axes`.
    """
    return _maximum_forward(windows, axes)[0]


def _maximum_forward(windows: jax.Array, axes: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    first, second = axes
    a, b, c, d = (
        lax.index_in_dim(lax.index_in_dim(windows, j, second, False), i, first, False)
        for i in (0, 1)
        for j in (0, 1)
    )
    largest = jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
    position = jnp.where(c == largest, jnp.uint8(2), jnp.uint8(3))
    position = jnp.where(b == largest, jnp.uint8(1), position)
    return largest, jnp.where(a == largest, jnp.uint8(0), position)


def _maximum_backward(
    axes: tuple[int, int], position: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array]:
    first, second = axes
    if cotangent.shape[-1] < VECTOR:
        shape = [1] * (cotangent.ndim + 2)
        shape[first] = shape[second] = 2
        attains = jnp.expand_dims(position, axes) == jnp.arange(4, dtype=jnp.uint8).reshape(shape)
        return (jnp.where(attains, jnp.expand_dims(cotangent, axes), 0),)
    # The same values; with enough channels for vector instructions this takes half the time.
    a, b, c, d = (jnp.where(position == i, cotangent, 0) for i in range(4))
    rows = [jnp.stack(row, second - 1) for row in ((a, b), (c, d))]
    return (jnp.stack(rows, first),)


maximum_of_four.defvjp(_maximum_forward, _maximum_backward)


def max_pool(images: jax.Array) -> jax.Array:
    """Takes the maximum of each 2x2 window at stride 2, dropping an odd last row or column.

    Args:
      images: `[n, height, width, channels]`, any float type.

    Returns:
      `[n, height // 2, width // 2, channels]`, as `flax.linen.max_pool(images, (2, 2), (2, 2))`.
    """
    n, height, width, channels = images.shape
    even = images[:, : height // 2 * 2, : width // 2 * 2]
    windows = even.reshape(n, height // 2, 2, width // 2, 2, channels)
    return maximum_of_four(windows, (2, 4))


def space_to_depth(images: jax.Array) -> jax.Array:
    """Moves each 2x2 block of pixels into the channels.

    Args:
      images: `[n, height, width, channels]` with even height and width.

    Returns:
      `[n, height / 2, width / 2, 4 * channels]`; the block's row-major position varies slowest.
    """
    n, height, width, channels = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2, channels)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // 2, width // 2, 4 * channels)


def _phase_kernel(kernel: jax.Array) -> jax.Array:
    """Scatters a 3x3 or 5x5 kernel over the four phases of a 2x2 pool: `[3, 3, 4 * c, 4 * f]`."""
    size, _, channels, features = kernel.shape
    # Along one axis: output phase p reads input 2 * block + phase at offset p + tap - size // 2.
    phase, tap = jnp.meshgrid(jnp.arange(2), jnp.arange(size), indexing="ij")
    block, source = jnp.divmod(phase + tap - size // 2, 2)
    axis = jnp.zeros((3, 2, 2, size), kernel.dtype).at[block + 1, source, phase, tap].set(1)
    scattered = jnp.einsum("arpu,bsqv,uvcf->abrscpqf", axis, axis, kernel)
    return scattered.reshape(3, 3, 4 * channels, 4 * features)


def convolve_and_pool(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves as `convolve` does, then pools as `max_pool` does, in one go.

    A convolution at stride 1 followed by a 2x2 max-pool is a 3x3 convolution of the space-to-depth
    image with one group of features for each of the four positions in the pool's window, followed
    by the maximum over the four groups. With few input channels this is several times faster on
    CPU, although it does up to 1.44 times the arithmetic of a 5x5 kernel.

    Args:
      images: `[n, height, width, channels]`, any float type.
      kernel: `[size, size, channels, features]` with `size` 3 or 5.

    Returns:
      `[n, height // 2, width // 2, features]`.
    """
    height, width = images.shape[1:3]
    if height % 2 or width % 2:  # The dropped last row still feeds its neighbours' windows.
        return max_pool(convolve(images, kernel))
    phases = convolve(space_to_depth(images), _phase_kernel(kernel))
    windows = phases.reshape(*phases.shape[:3], 2, 2, kernel.shape[-1])
    return maximum_of_four(windows, (3, 4))
