"""Random views of a face that leave its identity alone: training augmentation, attack jitter.

`training` shows a recognizer such views of the photographs, and the attack's objectives ask that a
clone be recognized in each of them.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


@dataclasses.dataclass(frozen=True)
class ViewRange:
    """How far a random view may stray from the image; all zeros is the image itself.

    Attributes:
      rotation: Largest rotation either way, in degrees.
      scale: Largest relative change of size either way, below 1.
      shift: Largest displacement along each axis either way, as a fraction of the side.
      flip: Probability of a left-right mirror image.
      shear: Largest slant of either axis and largest relative change of the aspect, either way, as
        of a head that turns.
      brightness: Largest change of the gray level either way, where the range is [0, 1].
      contrast: Largest change of the contrast about the mean gray level, as the logarithm of the
        factor, either way.
      light: Largest relative gain or loss of light from the middle to an edge, as of a lamp at a
        side, for each axis.
      noise: Largest standard deviation of Gaussian noise on each pixel, like a sensor's.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    flip: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    light: float = 0.0
    noise: float = 0.0


STILL = ViewRange()


def affine(image: jax.Array, matrix: jax.Array) -> jax.Array:
    """Resamples an image bilinearly under an affine map about its center.

    Args:
      image: `[height, width, channels]`.
      matrix: `[2, 3]`; it takes each output (row, column), in pixels from the center, to the
        place in `image` that is read. Places outside read the nearest edge.

    Returns:
      `[height, width, channels]`.
    """
    height, width, _ = image.shape
    center = jnp.array([(height - 1) / 2, (width - 1) / 2])
    rows, columns = jnp.arange(height) - center[0], jnp.arange(width) - center[1]
    places = (
        matrix[:, 0, None, None] * rows[:, None]
        + matrix[:, 1, None, None] * columns
        + (matrix[:, 2] + center)[:, None, None]
    )
    read = lambda channel: map_coordinates(channel, list(places), order=1, mode="nearest")  # noqa: E731
    return jax.vmap(read, in_axes=-1, out_axes=-1)(image)


def random_view(key: jax.Array, image: jax.Array, limits: ViewRange) -> jax.Array:
    """Draws one random view, uniform within the limits.

    Args:
      key: A typed `jax.random.key`, consumed.
      image: `[height, width, channels]` in [0, 1].
      limits: How far the view may stray; a static value under `jit`.

    Returns:
      `[height, width, channels]`; within [0, 1] but for light and noise, which are not clipped so
      that their gradient does not vanish.
    """
    # Further draws come last: so the earlier ones, and with them the attack's, stay what they were.
    rotation, scale, shift, flip, brightness, deviation, noise, shear, contrast, light = (
        jax.random.split(key, 10)
    )
    if limits.rotation or limits.scale or limits.shift or limits.flip or limits.shear:
        angle = jnp.deg2rad(_symmetric(rotation, limits.rotation))
        zoom = 1 / (1 + _symmetric(scale, limits.scale))
        mirror = jnp.where(jax.random.bernoulli(flip, limits.flip), -1.0, 1.0)
        sine, cosine = zoom * jnp.sin(angle), zoom * jnp.cos(angle)
        offset = _symmetric(shift, limits.shift, (2,)) * jnp.array(image.shape[:2])
        matrix = jnp.array([[cosine, -sine], [sine * mirror, cosine * mirror]])
        if limits.shear:
            down, across, aspect = _symmetric(shear, limits.shear, (3,))
            matrix = matrix @ jnp.array([[1 + aspect, down], [across, 1 - aspect]])
        image = affine(image, jnp.column_stack([matrix, offset]))
    if limits.light:
        image = image * _gain(_symmetric(light, limits.light, (2,)), image)
    if limits.contrast:
        mean = image.mean()
        image = mean + (image - mean) * jnp.exp(_symmetric(contrast, limits.contrast))
    if limits.brightness:
        image = image + _symmetric(brightness, limits.brightness)
    if limits.noise:
        strength = jax.random.uniform(deviation, maxval=limits.noise)
        image = image + strength * jax.random.normal(noise, image.shape)
    return image


def _gain(slopes: jax.Array, image: jax.Array) -> jax.Array:
    """Returns a plane, 1 in the middle and off by up to the slopes at the edges: `[h, w, 1]`."""
    rows, columns = (jnp.linspace(-1, 1, side) for side in image.shape[:2])
    return 1 + (slopes[0] * rows[:, None] + slopes[1] * columns)[..., None]


def _symmetric(key: jax.Array, limit: float, shape: tuple[int, ...] = ()) -> jax.Array:
    """Draws uniformly from [-limit, limit]."""
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)
