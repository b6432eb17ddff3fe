"""What leaked: scores, ranks and CMC curves by an independent evaluator, beside chance and ceiling.

All rates here are means over restarts of one number for each restart, so that one bootstrap serves
them all: rank-k is the mean of "the rank is at most k", and the area under the CMC curve is the
mean of the fraction of ranks that are no better.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
import skimage.metrics

from mia_jax.recognizer.views import ViewRange, random_view

RANKS = (1, 5, 10)
CONFIDENCE = 0.95
RESAMPLES = 2000
ROBUST_VIEWS = 16
OTHERS = 10  # People whose clones are compared with another one.
ROBUST = ViewRange(rotation=8, scale=0.08, shift=0.05, flip=0.5, brightness=0.05)
_BATCH = 100

ImageFn = Callable[[jax.Array], jax.Array]


class Model(NamedTuple):
    """A recognizer with its weights bound.

    Attributes:
      logits: From images `[n, height, width, channels]` in [0, 1] to `[n, classes]`.
      features: From the same to the penultimate layer, `[n, features]`.
    """

    logits: ImageFn
    features: ImageFn


class Evidence(NamedTuple):
    """The clones of one person, and photographs to compare them with, all in [0, 1].

    Attributes:
      target_class: The person's class in the target recognizer.
      evaluator_class: The person's class in the evaluator.
      clones: `[restarts, height, width, channels]`.
      seeds: `[restarts, height, width, channels]`: the images from which the attack started.
      training: `[n, height, width, channels]`: photographs that trained the recognizers.
      held_out: `[m, height, width, channels]`: photographs that trained neither.
    """

    target_class: int
    evaluator_class: int
    clones: np.ndarray
    seeds: np.ndarray
    training: np.ndarray
    held_out: np.ndarray


@dataclasses.dataclass(frozen=True)
class Seen:
    """How the two recognizers see some images of one person.

    Attributes:
      target_class: The person's class in the target.
      target_logits: `[n, target classes]`.
      evaluator_class: The person's class in the evaluator.
      logits: `[n, classes]`: the evaluator's.
      likeness: `[n]` each: "psnr" (dB) and "ssim" to the person's training photograph of least
        squared difference, and "feature_distance", the mean Euclidean distance to the training
        photographs in the evaluator's penultimate layer.
    """

    target_class: int
    target_logits: np.ndarray
    evaluator_class: int
    logits: np.ndarray
    likeness: Mapping[str, np.ndarray]

    @property
    def target_score(self) -> np.ndarray:
        """The target's confidence that this is the person: `[n]` in [0, 1]."""
        return scores(self.target_logits, self.target_class)

    @property
    def score(self) -> np.ndarray:
        """The evaluator's confidence that this is the person: `[n]` in [0, 1]."""
        return scores(self.logits, self.evaluator_class)

    @property
    def rank(self) -> np.ndarray:
        """The rank of the person among the evaluator's classes: `[n]` from 1, the best."""
        return ranks(self.logits, self.evaluator_class)


@dataclasses.dataclass(frozen=True)
class Examined:
    """One person's clones, and beside them the controls.

    Attributes:
      clones: The clones.
      seeds: The images before the attack.
      held_out: Real photographs that trained nothing.
      robust_score: `[restarts]`: the target's mean confidence over random views of each clone.
      training_photographs: How many photographs of the person trained the target.
    """

    clones: Seen
    seeds: Seen
    held_out: Seen
    robust_score: np.ndarray
    training_photographs: int


def ranks(logits: np.ndarray, target: int) -> np.ndarray:
    """Ranks one class among all; equal logits count against it.

    Args:
      logits: `[n, classes]`.
      target: The class.

    Returns:
      `[n]` integers; 1 is the best.
    """
    return np.sum(logits >= logits[:, [target]], axis=1)


def scores(logits: np.ndarray, target: int) -> np.ndarray:
    """Computes the confidences of one class.

    Args:
      logits: `[n, classes]`.
      target: The class.

    Returns:
      `[n]` in [0, 1].
    """
    return np.asarray(jax.nn.softmax(jnp.asarray(logits), axis=-1)[:, target])


def cumulative_match(rank: np.ndarray, classes: int) -> np.ndarray:
    """Computes the cumulative match characteristic.

    Args:
      rank: `[n]` integers from 1.
      classes: Number of classes.

    Returns:
      `[classes]`: at k - 1, the fraction of images whose rank is at most k.

    Source: section 5 and Fig. 11.
    """
    return np.mean(rank[:, None] <= np.arange(1, classes + 1), axis=0)


def wilson_interval(accuracy: float, photographs: int) -> list[float]:
    """Computes the Wilson score interval of a fraction.

    Args:
      accuracy: The fraction, in [0, 1].
      photographs: Of how many.

    Returns:
      Its lower and upper end.
    """
    hits = round(accuracy * photographs)
    interval = scipy.stats.binomtest(hits, photographs).proportion_ci(CONFIDENCE, method="wilson")
    return [float(interval.low), float(interval.high)]


def bootstrap_mean(samples: Sequence[np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Averages within groups, then over the groups, with bootstrap intervals.

    Args:
      samples: A group each, `[n_i, figures]`: resampled within the group only.
      seed: Of the resampling.

    Returns:
      The means `[figures]`, and the ends of their percentile intervals `[2, figures]`.
    """

    def mean_of_means(*groups: np.ndarray, axis: int) -> np.ndarray:
        return np.mean([np.mean(group, axis=axis) for group in groups], axis=0)

    mean = mean_of_means(*samples, axis=0)
    if all(np.ptp(group, axis=0).max() == 0 for group in samples):  # scipy would only warn.
        return mean, np.stack([mean, mean])
    result = scipy.stats.bootstrap(
        samples,
        mean_of_means,
        axis=0,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=100,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return mean, np.stack(result.confidence_interval)


def rates(seen: Sequence[Seen], seed: int) -> dict[str, Any]:
    """Summarizes how often and how surely images are recognized as their persons.

    Args:
      seen: One group of images for each person.
      seed: Of the bootstrap.

    Returns:
      "rank1", "rank5", "rank10", "cmc_area", "mean_score" (the evaluator's confidence),
      "mean_target_score" and the likenesses, each a mean over persons with its 95% interval under
      the same name + "_interval"; and "cmc", the mean curve.
    """
    rows, curves = [], []
    for group in seen:
        classes = group.logits.shape[1]
        rank = group.rank
        curves.append(cumulative_match(rank, classes))
        row = {f"rank{k}": rank <= k for k in RANKS}
        row["cmc_area"] = (classes + 1 - rank) / classes
        row["mean_score"] = group.score
        row["mean_target_score"] = group.target_score
        rows.append(row | dict(group.likeness))
    names = list(rows[0])
    stacked = [np.stack([row[name] for name in names], 1).astype(np.float64) for row in rows]
    means, intervals = bootstrap_mean(stacked, seed)
    summary: dict[str, Any] = {}
    for i, name in enumerate(names):
        summary[name] = float(means[i])
        summary[f"{name}_interval"] = [float(end) for end in intervals[:, i]]
    return summary | {"cmc": np.mean(curves, 0).tolist()}


def check_independent(target_params: Any, evaluator_params: Any) -> None:
    """Refuses an evaluator that is the attacked model itself, which would only flatter the attack.

    Args:
      target_params: Weights of the target.
      evaluator_params: Weights of the evaluator.

    Raises:
      ValueError: If all weights are the same.

    Source: section 4.3.
    """
    first, second = jax.tree.leaves(target_params), jax.tree.leaves(evaluator_params)
    if len(first) == len(second) and all(
        a.shape == b.shape and np.array_equal(a, b) for a, b in zip(first, second, strict=True)
    ):
        raise ValueError(
            "the evaluator has the same weights as the target: train it on other people who share "
            "only the targeted identities with the target"
        )


def examine(evidence: Evidence, target: Model, evaluator: Model, key: jax.Array) -> Examined:
    """Shows one person's clones, seeds and photographs to both recognizers.

    Args:
      evidence: The images.
      target: The attacked recognizer.
      evaluator: The independent one.
      key: A typed `jax.random.key`, consumed: the random views of the robust score.

    Returns:
      What they saw.
    """
    real = _in_batches(evaluator.features, evidence.training)

    def see(images: np.ndarray) -> Seen:
        features = _in_batches(evaluator.features, images)
        distances = np.linalg.norm(features[:, None] - real, axis=-1).mean(1)
        return Seen(
            target_class=evidence.target_class,
            target_logits=_in_batches(target.logits, images),
            evaluator_class=evidence.evaluator_class,
            logits=_in_batches(evaluator.logits, images),
            likeness={**likeness(images, evidence.training), "feature_distance": distances},
        )

    return Examined(
        clones=see(evidence.clones),
        seeds=see(evidence.seeds),
        held_out=see(evidence.held_out),
        robust_score=robust_scores(target, evidence.clones, evidence.target_class, key),
        training_photographs=len(evidence.training),
    )


def robust_scores(model: Model, images: np.ndarray, target: int, key: jax.Array) -> np.ndarray:
    """Averages a model's confidence over random views: a choice that needs no evaluator.

    Noise that only fools the model rarely survives a small change of the view.

    Args:
      model: The attacked recognizer.
      images: `[n, height, width, channels]` in [0, 1].
      target: The class.
      key: A typed `jax.random.key`, consumed; all images are seen in the same views.

    Returns:
      `[n]` in [0, 1].
    """

    @jax.jit
    def view(one: jax.Array, batch: jax.Array) -> jax.Array:
        return jax.vmap(lambda image: random_view(one, image, ROBUST))(batch)

    total = np.zeros(len(images))
    for one in jax.random.split(key, ROBUST_VIEWS):
        shown = lambda batch, one=one: model.logits(view(one, batch))  # noqa: E731
        total += scores(_in_batches(shown, images), target)
    return total / ROBUST_VIEWS


def likeness(images: np.ndarray, photographs: np.ndarray) -> dict[str, np.ndarray]:
    """Compares images with the nearest of some photographs, pixel by pixel.

    Args:
      images: `[n, height, width, channels]` in [0, 1].
      photographs: `[m, height, width, channels]` in [0, 1]; the nearest is the one of least mean
        squared difference.

    Returns:
      "psnr" in dB and "ssim" in [-1, 1], `[n]` each.
    """
    psnr, ssim = [], []
    window = min(7, *(side - 1 + side % 2 for side in images.shape[1:3]))
    for image in images:
        nearest = photographs[nearest_photograph(image, photographs)]
        error = max(skimage.metrics.mean_squared_error(nearest, image), 1e-10)  # Finite: 100 dB.
        psnr.append(-10 * np.log10(error))
        ssim.append(
            skimage.metrics.structural_similarity(
                nearest, image, win_size=window, channel_axis=-1, data_range=1.0
            )
        )
    return {"psnr": np.array(psnr), "ssim": np.array(ssim)}


def nearest_photograph(image: np.ndarray, photographs: np.ndarray) -> int:
    """Finds the photograph of least mean squared difference.

    Args:
      image: `[height, width, channels]`.
      photographs: `[m, height, width, channels]`.

    Returns:
      Its number.
    """
    return int(np.argmin(np.mean((photographs - image) ** 2, axis=(1, 2, 3))))


def evaluate(people: Mapping[str, Examined], seed: int) -> dict[str, Any]:
    """Sums up an experiment.

    Args:
      people: What the recognizers saw, by identity.
      seed: Of the bootstrap.

    Returns:
      "identities" (for each the rates, its best clone by the evaluator, the clone that an attacker
      would pick without it, and the null rows: the un-attacked seeds, and clones aimed at others,
      of which `OTHERS` people are taken),
      "mean" (the rates over identities), "ceiling" (real held-out photographs), and "chance".
    """
    others = {name: _aimed_at_others(name, people) for name in people if len(people) > 1}
    identities = {}
    for name, person in people.items():
        seen = person.clones
        null = {"seed": rates([person.seeds], seed)}
        if name in others:
            null["others"] = rates([others[name]], seed)
        identities[name] = {
            **rates([seen], seed),
            **_one_clone(
                "best", "best_restart", int(np.lexsort((-seen.score, seen.rank))[0]), seen
            ),
            **_one_clone("attacker_pick", "attacker_pick", int(person.robust_score.argmax()), seen),
            "training_photographs": person.training_photographs,
            "null": null,
        }
    order = sorted(
        identities, key=lambda n: (-identities[n]["rank1"], -identities[n]["mean_score"])
    )
    for position, name in enumerate(order, 1):
        identities[name]["exposure_rank"] = position

    null = {"seed": rates([person.seeds for person in people.values()], seed)}
    if others:
        null["others"] = rates(list(others.values()), seed)
    held_out = [person.held_out for person in people.values()]
    classes = held_out[0].logits.shape[1]
    return {
        "identities": identities,
        "mean": {**rates([person.clones for person in people.values()], seed), "null": null},
        "ceiling": {
            **rates(held_out, seed),
            "photographs": sum(len(group.logits) for group in held_out),
        },
        "chance": {f"rank{k}": min(k / classes, 1.0) for k in RANKS},
    }


def _one_clone(prefix: str, key: str, restart: int, seen: Seen) -> dict[str, Any]:
    """Describes one of a person's clones."""
    return {
        key: restart,
        f"{prefix}_score": float(seen.score[restart]),
        f"{prefix}_rank": int(seen.rank[restart]),
        f"{prefix}_target_score": float(seen.target_score[restart]),
    }


def _aimed_at_others(name: str, people: Mapping[str, Examined]) -> Seen:
    """Takes the clones of other people for this one's: of those that follow in the circle of all.

    They are a sample, or the comparison of thousands with thousands would outgrow the rest.
    """
    names = list(people)
    place = names.index(name) + 1
    circle = [*names[place:], *names[: place - 1]]
    rest = [people[other].clones for other in circle[:OTHERS]]
    return dataclasses.replace(
        people[name].clones,
        target_logits=np.concatenate([seen.target_logits for seen in rest]),
        logits=np.concatenate([seen.logits for seen in rest]),
        likeness={},
    )


def _in_batches(function: ImageFn, images: np.ndarray) -> np.ndarray:
    """Applies a function to batches of one size, so that it compiles once and memory is bounded."""
    parts = []
    for first in range(0, len(images), _BATCH):
        part = images[first : first + _BATCH]
        padded = np.concatenate([part, np.zeros((_BATCH - len(part), *part.shape[1:]), part.dtype)])
        parts.append(np.asarray(function(jnp.asarray(padded)))[: len(part)])
    return np.concatenate(parts)
