"""Judges: whoever says which person an image shows, and what they have in common with the target.

A judge is a value of functions, so a recognizer trained here, another architecture, or a face
embedder fits alike: `recognizer_judge` makes one of the first kind. In the story a judge stands
between the attack's clones and every figure of the evidence.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import recognizer
from mia_jax.evidence import statistics
from mia_jax.runtime.errors import UserError

PEOPLE, PHOTOGRAPHS, ARCHITECTURE, VIEWS = "people", "photographs", "architecture", "training views"
SHARES = (PEOPLE, PHOTOGRAPHS, ARCHITECTURE, VIEWS)

ImageFn = Callable[[jax.Array], jax.Array]

_logits, _features = jax.jit(recognizer.logits), jax.jit(recognizer.features)


class Judge(NamedTuple):
    """Somebody who says whom an image shows.

    Attributes:
      name: What to call the judge, different from the names of other judges.
      people: Whom the judge knows, in the order of the scores.
      scores: From images `[n, height, width, channels]` in [0, 1] to `[n, people]`: higher for more
        like. The order of these decides ranks.
      features: From the same to `[n, features]`; the Euclidean distance between two images' is
        small where the judge finds them alike.
      shares: What the judge has in common with the target, of `SHARES`: the attacked people, their
        training photographs, the architecture, the random views of training. Whoever shares much
        is fooled by what fools the target.
      confidence: From scores to what is reported of them, both `[n, people]`: for logits the
        softmax.
    """

    name: str
    people: tuple[str, ...]
    scores: ImageFn
    features: ImageFn
    shares: frozenset[str]
    confidence: Callable[[np.ndarray], np.ndarray] = statistics.confidences


def recognizer_judge(
    name: str, people: tuple[str, ...], params: recognizer.Params, shares: Iterable[str]
) -> Judge:
    """Makes a judge of a recognizer of this package.

    Args:
      name: What to call it.
      people: Whom it knows, in the order of its classes.
      params: Its weights.
      shares: What it has in common with the target, of `SHARES`.

    Returns:
      The judge.

    Raises:
      UserError: If something that is shared is not in `SHARES`.

    Source: section 4.3.
    """
    unknown = sorted({*shares} - {*SHARES})
    if unknown:
        raise UserError(f"a judge cannot share {unknown[0]!r}: choose from {', '.join(SHARES)}")
    return Judge(
        name=name,
        people=people,
        scores=functools.partial(_logits, params),
        features=functools.partial(_features, params),
        shares=frozenset(shares),
    )


def check_independent(name: str, params: Any, target_params: Any) -> None:
    """Refuses a judge that is the attacked model itself, which would only flatter the attack.

    Args:
      name: The judge's.
      params: The judge's weights.
      target_params: Weights of the target.

    Raises:
      UserError: If all weights are the same.

    Source: section 4.3.
    """
    first, second = jax.tree.leaves(params), jax.tree.leaves(target_params)
    if len(first) == len(second) and all(
        a.shape == b.shape and np.array_equal(a, b) for a, b in zip(first, second, strict=True)
    ):
        raise UserError(
            f"the {name} has the same weights as the target, and the target cannot judge its own "
            "clones: train another recognizer for that"
        )
