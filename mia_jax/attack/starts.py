"""Starting points that the target chooses: the best of many draws of a space.

Where every draw of a prior is a face, some stranger already looks a little like the person; looking
at thousands costs less than a few iterations of all restarts, and all people share the draws.
"""

from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp

from mia_jax.attack.losses import max_margin
from mia_jax.attack.objectives import ApplyFn
from mia_jax.attack.spaces import Point, Space
from mia_jax.runtime.errors import UserError


class Draws(NamedTuple):
    """Points of a space, and what a model makes of their images.

    Attributes:
      points: `[n, ...]`, in whatever arrays a point of the space has.
      logits: `[n, classes]`: the model's, averaged over the image and its mirror image.
    """

    points: Point
    logits: jax.Array


def draw(
    params: Any, apply_fn: ApplyFn, space: Space, key: jax.Array, count: int, chunk: int = 32
) -> Draws:
    """Draws points of a space and shows their images to a model.

    Args:
      params: The model's weights.
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`.
      space: Whose `start` draws.
      key: A typed `jax.random.key`, consumed.
      count: How many points to draw.
      chunk: How many images to make and show at a time.

    Returns:
      The draws; the n-th does not depend on how many there are.

    Raises:
      UserError: If count or chunk is below 1.
    """
    if count < 1 or chunk < 1:
        raise UserError(f"count={count} and chunk={chunk} must be at least 1")
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(count))

    def look(params: Any, space: Space, keys: jax.Array) -> Draws:
        points = jax.vmap(space.start)(keys)
        images = jnp.clip(jax.vmap(space.decode)(points), 0, 1)
        both = apply_fn(params, images), apply_fn(params, images[:, :, ::-1])
        return Draws(points, (both[0] + both[1]) / 2)

    compiled = equinox.filter_jit(look)
    parts = [compiled(params, space, keys[i : i + chunk]) for i in range(0, count, chunk)]
    return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)


def best(draws: Draws, target: int | jax.Array, numbers: jax.Array) -> Point:
    """Chooses the draws in which the target leads the other classes most.

    Args:
      draws: From `draw`.
      target: The targeted class.
      numbers: `[restarts]` integers from 0: restart n starts from the n-th best draw, and beyond
        the last from the best again.

    Returns:
      The points, `[restarts, ...]`: for `case._replace(start=...)`.
    """
    leads = -jax.vmap(max_margin, (0, None))(draws.logits, jnp.asarray(target))
    order = jnp.argsort(-leads)[jnp.asarray(numbers) % len(leads)]
    return jax.tree.map(lambda array: array[order], draws.points)
