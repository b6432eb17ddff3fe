"""Judges: whoever says which person an image shows, and what they have in common with the target.

A judge is a value of functions. It turns images into features, and features into a score of each
person whom it knows; so a recognizer trained here (`recognizer_judge`) and a face embedder that
knows people by enrolled photographs (`embedder_judge`) fit alike. In the story a judge stands
between the attack's clones and every figure of the evidence.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.spatial.distance
from jax.typing import ArrayLike

from mia_jax.evidence import statistics
from mia_jax.evidence.embedders import Embedder
from mia_jax.recognizer import Params
from mia_jax.recognizer.architectures import CNN, ApplyFn, Architecture
from mia_jax.runtime import workload
from mia_jax.runtime.errors import UserError

PEOPLE, PHOTOGRAPHS, ARCHITECTURE, VIEWS = "people", "photographs", "architecture", "training views"
SHARES = (PEOPLE, PHOTOGRAPHS, ARCHITECTURE, VIEWS)

_FAR = 1e6  # The distance to everybody of features that are not numbers.

_SAME = 0.999  # Of the similarities that two models see between the same faces.

ImageFn = Callable[[jax.Array], ArrayLike]

_compiled: Callable[[ApplyFn], ApplyFn] = functools.cache(jax.jit)  # Judges share the programs.


class Judge(NamedTuple):
    """Somebody who says whom an image shows.

    Attributes:
      name: What to call the judge, different from the names of other judges.
      people: Whom the judge knows, in the order of the scores.
      features: From images `[n, height, width, channels]` in [0, 1] to `[n, features]`; the
        Euclidean distance between two images' is small where the judge finds them alike. The mean
        of several images' stands for all of them.
      match: From features `[n, features]` to `[n, people]`: higher for more like. The order of
        these decides ranks.
      shares: What the judge has in common with the target, of `SHARES`: the attacked people, their
        training photographs, the architecture, the random views of training. Whoever shares much
        is fooled by what fools the target; whoever shares nothing is a stranger.
      confidence: From scores to what is reported of them, both `[n, people]`: for logits the
        softmax.
      detect: From images to `[n]`, whether there is a face; None for a judge who does not say.
      templates: `[people, features]`: what the judge remembers of each. It says who looks like
        whom, which the tests of significance ask of strangers; None for a judge who does not say.
    """

    name: str
    people: tuple[str, ...]
    features: ImageFn
    match: Callable[[Any], ArrayLike]
    shares: frozenset[str]
    confidence: Callable[[np.ndarray], np.ndarray] = statistics.confidences
    detect: ImageFn | None = None
    templates: np.ndarray | None = None

    @property
    def stranger(self) -> bool:
        """Whether the judge shares nothing with the target."""
        return not self.shares


def recognizer_judge(
    name: str,
    people: tuple[str, ...],
    params: Params,
    shares: Iterable[str],
    architecture: Architecture = CNN,
) -> Judge:
    """Makes a judge of a recognizer of this package.

    Args:
      name: What to call it.
      people: Whom it knows, in the order of its classes.
      params: Its weights.
      shares: What it has in common with the target, of `SHARES`.
      architecture: Which network it is.

    Returns:
      The judge. The scores of several images together are the mean of their logits.

    Raises:
      UserError: If something that is shared is not in `SHARES`.

    Source: section 4.3.
    """
    return Judge(
        name=name,
        people=people,
        features=functools.partial(
            workload.in_batches, functools.partial(_compiled(architecture.features), params)
        ),
        match=functools.partial(_compiled(architecture.last_layer), params),
        shares=_checked_shares(shares),
    )


def embedder_judge(
    embedder: Embedder, enrolled: Iterable[tuple[str, np.ndarray]], shares: Iterable[str] = ()
) -> Judge:
    """Makes a judge of a face embedder, who knows people by photographs that are shown to it.

    Args:
      embedder: From images to features.
      enrolled: Each person's name, and photographs `[n, height, width, channels]` in [0, 1].
      shares: What it has in common with the target, of `SHARES`.

    Returns:
      The judge. Its score of a person is the negative distance to the mean of the features of that
      person's enrolled photographs.

    Raises:
      UserError: If something that is shared is not in `SHARES`.
    """
    people, means = [], []
    for name, photographs in enrolled:
        people.append(name)
        means.append(np.mean(embedder.embed(photographs), axis=0, dtype=np.float64))
    templates = np.stack(means)
    return Judge(
        name=embedder.name,
        people=tuple(people),
        features=embedder.embed,
        match=lambda vectors: -scipy.spatial.distance.cdist(vectors, templates),
        shares=_checked_shares(shares),
        confidence=lambda scores: np.nan_to_num(scores, nan=-_FAR),
        detect=embedder.detect,
        templates=templates,
    )


def _checked_shares(shares: Iterable[str]) -> frozenset[str]:
    """Refuses words that are not in `SHARES`."""
    unknown = sorted({*shares} - {*SHARES})
    if unknown:
        raise UserError(f"a judge cannot share {unknown[0]!r}: choose from {', '.join(SHARES)}")
    return frozenset(shares)


def check_independent(name: str, params: Any, target_params: Any) -> None:
    """Refuses a judge that is the attacked model itself, which would only flatter the attack.

    Args:
      name: The judge's.
      params: The judge's weights; nothing is said of a judge without.
      target_params: Weights of the target.

    Raises:
      UserError: If all arrays of one are among those of the other, in any order: one of them may
        have a layer more.

    Source: section 4.3.
    """
    (first, varied), (second, others) = _arrays(params), _arrays(target_params)
    contained = varied and others and (varied <= others or others <= varied)
    if contained or (first and first == second):
        raise UserError(
            f"the {name} has the same weights as the target, and the target cannot judge its own "
            "clones: name or train another recognizer for that"
        )


def _arrays(params: Any) -> tuple[set[bytes], set[bytes]]:
    """Names the arrays of weights, and those of more than one value, which no other model has."""
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(params) if hasattr(leaf, "dtype")]
    named = {hashlib.sha256(each.tobytes()).digest(): each for each in arrays}
    varied = {name for name, each in named.items() if each.size and (each != each.flat[0]).any()}
    return {*named}, varied


def check_answers(name: str, features: np.ndarray, target_features: np.ndarray) -> None:
    """Refuses a judge that finds the same faces alike as the target does: it is the same model.

    Weights may be rounded, folded or written down in another order, and features rotated or scaled:
    who is like whom stays.

    Args:
      name: The judge's.
      features: `[n, k]`, what it makes of some faces; of fewer than three nothing can be said.
      target_features: `[n, m]`: what the target makes of the same.

    Raises:
      UserError: If the similarities of all pairs of faces have a correlation above 0.999.
    """
    if len(features) < 3:
        return
    upper = np.triu_indices(len(features), 1)
    one, other = (
        1 - scipy.spatial.distance.cdist(each, each, "cosine")[upper]
        for each in (np.asarray(features, np.float64), np.asarray(target_features, np.float64))
    )
    one, other = one - one.mean(), other - other.mean()
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    if lengths > 0 and float(one @ other) / lengths > _SAME:
        raise UserError(
            f"the {name} gives the same answers as the target, and the target cannot judge its own "
            "clones: name another model"
        )
