"""Embedders as recognizers: the logits are scaled similarities to enrolled templates.

Most of today's face recognizers return a vector for a picture, and know a person by a template, the
vector of an enrollment photograph or the mean of several. Whoever is nearest is recognized, or
nobody, below a threshold. With its templates an embedder is a classifier, and is attacked like one.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.architectures import ApplyFn
from mia_jax.runtime.errors import UserError

SCALE = 64.0  # That of ArcFace's training (Deng et al. 2019).
EMBEDDER, TEMPLATES = "embedder", "templates"


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


def threshold_of(similarities: np.ndarray, own: np.ndarray, false_accepts: float = 0.01) -> float:
    """Chooses the similarity from which on a picture is taken for a person.

    Args:
      similarities: `[n, classes]`, of photographs to templates, in [-1, 1].
      own: `[n]`, the class of the person on each.
      false_accepts: The fraction of the pairs of strangers that is accepted, at most.

    Returns:
      The least single-precision threshold that accepts no more: the next number above the first
      pair that is one too many, so that equal similarities, and few pairs, accept none too many.

    Raises:
      UserError: If there is but one person.
    """
    classes = similarities.shape[1]
    others = similarities[np.arange(classes) != own[:, None]]
    if not others.size:
        raise UserError("a threshold needs photographs of two people, or give it as --threshold")
    allowed = int(false_accepts * others.size + 1e-9)  # 0.29 x 100 is 28.999…
    refused = np.float32(np.partition(others, others.size - 1 - allowed)[-1 - allowed])
    return float(np.nextafter(refused, np.float32(np.inf)))
