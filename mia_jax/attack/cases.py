"""What differs between the restarts of an attack: whom each aims at, its luck, and what is known.

Everything else is shared by all restarts and stands in an `inversion.Attack`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Case(NamedTuple):
    """One restart, or with a leading axis `[restarts, ...]` on every array, many of them.

    Attributes:
      target: The targeted class, an integer.
      key: A typed `jax.random.key` of the restart's own.
      known: `[height, width, channels]` in [0, 1]: an image of which some pixels are known to the
        attacker (Fredrikson et al. 2015), or None.
      mask: `[height, width, channels or 1]` booleans: which of them; None without `known`.
      start: The first point in the search space, such as what another attack found; None lets the
        space draw one.
    """

    target: jax.Array
    key: jax.Array
    known: jax.Array | None = None
    mask: jax.Array | None = None
    start: Any = None

    def complete(self, image: jax.Array) -> jax.Array:
        """Puts the known pixels of one restart into its image `[height, width, channels]`."""
        if self.known is None or self.mask is None:
            return image
        return jnp.where(self.mask, self.known, image)


def restart_keys(key: jax.Array, target: int | jax.Array, numbers: jax.Array) -> jax.Array:
    """Derives each restart's own key, which depends on nothing but its person and number.

    Args:
      key: A typed `jax.random.key`: the experiment's.
      target: The targeted class.
      numbers: `[n]` integers: the numbers of the restarts.

    Returns:
      `[n]` typed keys.
    """
    own = jax.random.fold_in(key, target)
    return jax.vmap(lambda number: jax.random.fold_in(own, number))(numbers)


def make_cases(
    key: jax.Array,
    target: int | jax.Array,
    numbers: jax.Array,
    known: jax.Array | None = None,
    mask: jax.Array | None = None,
) -> Case:
    """Lists restarts that aim at one person.

    Args:
      key: A typed `jax.random.key`: the experiment's, the same for every person.
      target: The targeted class.
      numbers: `[restarts]` integers: the numbers of the restarts, such as `jnp.arange(100)`.
      known: `[height, width, channels]` in [0, 1]: what is known of the person's image.
      mask: `[height, width, channels or 1]` booleans: where it is known.

    Returns:
      The cases, `[restarts, ...]` each. Those of several people may be put together with
      `jax.tree.map(lambda *parts: jnp.concatenate(parts), *cases)`.
    """
    repeated = [
        None if array is None else jnp.broadcast_to(array, (len(numbers), *jnp.shape(array)))
        for array in (known, mask)
    ]
    targets = jnp.full(len(numbers), target)
    return Case(targets, restart_keys(key, target, numbers), *repeated)
