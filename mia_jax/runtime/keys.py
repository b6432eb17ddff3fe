"""Randomness by purpose: a key of its own for whatever is no restart.

A restart's key is the experiment's with the class and then the number folded in, and the keys that
`jax.random.split` makes are those that small numbers folded in would make. So a purpose is folded
in behind a number that no class has.
"""

import zlib

import jax

_PURPOSES = 2**32 - 1  # A class is an int32: it never comes as far.


def key_for(key: jax.Array, purpose: str) -> jax.Array:
    """Derives the key of a purpose, which is no class's and no restart's.

    Args:
      key: A typed `jax.random.key`: the experiment's, or a constant one.
      purpose: What it is for, in a word; another word has another key.

    Returns:
      A typed key.
    """
    return jax.random.fold_in(jax.random.fold_in(key, _PURPOSES), zlib.crc32(purpose.encode()))
