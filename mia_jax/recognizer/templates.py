"""Embedders as recognizers: the logits are scaled similarities to enrolled templates.

Most of today's face recognizers return a vector for a picture, and know a person by a template, the
vector of an enrollment photograph or the mean of several. Whoever is nearest is recognized, or
nobody, below a threshold. With its templates an embedder is a classifier, and is attacked like one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.architectures import ApplyFn

SCALE = 64.0  # That of ArcFace's training (Deng et al. 2019).
EMBEDDER, TEMPLATES = "embedder", "templates"
# The cosine from which on vectors are one photograph's, to rounding to 8 bits.
_SAME = 0.999


def normalized(vectors: Any) -> Any:
    """Divides vectors by their length, those of zeros by 1.

    Args:
      vectors: `[..., features]`.

    Returns:
      The same, each of length 1 or 0.
    """
    square = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.where(square > 0, square, 1))


def enroll(features: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Makes templates of photographs: the mean of a person's normalized vectors, normalized.

    Args:
      features: `[n, features]`, of photographs.
      people: `[n]`, who is on each, from 0, every number in use.

    Returns:
      `[people, features]`.
    """
    vectors = np.asarray(normalized(jnp.asarray(features)))
    means = [vectors[people == person].mean(axis=0) for person in range(int(people.max()) + 1)]
    return np.asarray(normalized(jnp.stack(means)))


def recognizer(embed: ApplyFn, scale: float = SCALE) -> ApplyFn:
    """Makes a classifier of an embedder.

    Args:
      embed: From weights and pictures to features `[n, features]`.
      scale: What similarities, cosines in [-1, 1], are multiplied by.

    Returns:
      From {"embedder": weights, "templates": `[classes, features]` of length 1} and pictures to
      logits `[n, classes]`.
    """

    def logits(params: Mapping[str, Any], images: jax.Array) -> jax.Array:
        features = normalized(embed(params[EMBEDDER], images))
        return scale * features @ params[TEMPLATES].T

    return logits


def made_of(
    template: np.ndarray, features: np.ndarray, groups: Sequence[np.ndarray]
) -> np.ndarray | None:
    """Finds the photographs of which a template was made.

    Args:
      template: `[features]`.
      features: `[n, features]`, of a person's photographs.
      groups: Positions of photographs that may have been enrolled together.

    Returns:
      The positions of those that make it: of one photograph, or of one of the groups, whichever
      comes nearest; None where none does.
    """
    units = np.asarray(normalized(jnp.asarray(features)))
    own = np.asarray(normalized(jnp.asarray(template)))
    tried = [np.array([place]) for place in range(len(units))]
    tried += [np.asarray(group) for group in groups if len(group)]
    means = np.stack([units[each].mean(axis=0) for each in tried])
    cosines = np.asarray(normalized(jnp.asarray(means))) @ own
    return tried[int(cosines.argmax())] if cosines.max() > _SAME else None
