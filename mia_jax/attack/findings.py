"""What a search knows of its restarts, answer by answer, and how it comes to know it."""

import dataclasses
from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.attack.cases import Case
from mia_jax.attack.inversion import SCORES_OF_INTEREST, Attack, Clones
from mia_jax.attack.objectives import Objective
from mia_jax.attack.oracle import Oracle
from mia_jax.attack.rounds import point_of
from mia_jax.attack.spaces import Space


@dataclasses.dataclass
class Findings:
    """All restarts on their way. Each answer is written down at once, so that none is ever lost.

    Attributes:
      start: `[restarts, size]`: the first points.
      best: `[restarts, size]`: the points of least loss that the model saw.
      best_loss: `[restarts]`: infinite before the first answer.
      best_score: `[restarts]`: the target's confidence there.
      last: `[restarts, size]`: where the strategy stands.
      last_loss: `[restarts]`: NaN until it is seen, in the end.
      last_score: `[restarts]`: the same.
      reached: `[restarts, 2]`: in which round a score of interest was reached; -1 for never.
      trace: `[restarts, iterations]`: the least loss of each round; NaN where there was none.
      rounds: `[restarts]`: how many were begun.
      asked: `[restarts]`: how many candidates were answered.
    """

    start: np.ndarray
    best: np.ndarray
    best_loss: np.ndarray
    best_score: np.ndarray
    last: np.ndarray
    last_loss: np.ndarray
    last_score: np.ndarray
    reached: np.ndarray
    trace: np.ndarray
    rounds: np.ndarray
    asked: np.ndarray


class Looks(NamedTuple):
    """What the model says of candidates, `[restarts, count]` each.

    Attributes:
      loss: Infinite for those that it did not see.
      score: The target's confidence; 0 for those that it did not see.
      leads: Whether the target comes first.
    """

    loss: np.ndarray
    score: np.ndarray
    leads: np.ndarray


def of_starts(start: np.ndarray, iterations: int) -> Findings:
    """Begins with points of which nothing is known.

    Args:
      start: `[restarts, size]`.
      iterations: The most rounds.

    Returns:
      What is known.
    """
    restarts = len(start)
    unknown = np.full(restarts, np.nan, np.float32)
    return Findings(
        start=start,
        best=start.copy(),
        best_loss=np.full(restarts, np.inf, np.float32),
        best_score=unknown.copy(),
        last=start.copy(),
        last_loss=unknown.copy(),
        last_score=unknown.copy(),
        reached=np.full((restarts, len(SCORES_OF_INTEREST)), -1),
        trace=np.full((restarts, iterations), np.nan, np.float32),
        rounds=np.zeros(restarts, int),
        asked=np.zeros(restarts, int),
    )


def look(
    oracle: Oracle,
    findings: Findings,
    cases: Case,
    attack: Attack,
    unit: Any,
    points: np.ndarray,
    wanted: np.ndarray,
) -> Looks:
    """Shows candidates to the model, and writes down what it says after each batch.

    Args:
      oracle: The model.
      findings: Written to.
      cases: `[restarts, ...]` each.
      attack: Whose space and objective are used.
      unit: What the objective measured of the model.
      points: `[restarts, count, size]`.
      wanted: `[restarts, count]` booleans: which are shown.

    Returns:
      What it says.

    Raises:
      Unanswered: As `Oracle.ask`.
    """
    looks = Looks(
        np.full(wanted.shape, np.inf, np.float32),
        np.zeros(wanted.shape, np.float32),
        np.zeros(wanted.shape, bool),
    )
    chosen = np.argwhere(wanted)
    for first in range(0, len(chosen), oracle.budget.batch):
        rows, columns = chosen[first : first + oracle.budget.batch].T
        count = len(rows)
        # A power of two and not less than 16, so that few sizes are compiled.
        size = max(16, 1 << (count - 1).bit_length())
        own = np.resize(rows, size)
        vectors = points[own, np.resize(columns, size)]
        images = np.asarray(_decode(attack.space, cases, jnp.asarray(own), jnp.asarray(vectors)))
        answer = oracle.ask(np.clip(images[:count], 0, 1))
        answers = np.resize(answer, (size, answer.shape[1]))
        arrays = map(jnp.asarray, (own, vectors, images, answers))
        told = _judge(attack.space, attack.objective, unit, cases, *arrays)
        loss, score, leads = (np.asarray(array)[:count] for array in told)
        looks.loss[rows, columns], looks.score[rows, columns] = loss, score
        looks.leads[rows, columns] = leads
        _write(findings, rows, vectors[:count], loss, score)
    return looks


def clones(findings: Findings, cases: Case, space: Space) -> Clones:
    """Makes clones of what is known.

    Args:
      findings: From `look`.
      cases: `[restarts, ...]` each.
      space: Of the attack.

    Returns:
      The clones; see `black_box.Searched` for what its fields mean here.
    """
    rows = jnp.arange(len(findings.start))
    best, last, start = (
        np.clip(np.asarray(_decode(space, cases, rows, jnp.asarray(vectors))), 0, 1)
        for vectors in (findings.best, findings.last, findings.start)
    )
    returned_best = ~(findings.last_loss <= findings.best_loss)
    fields = {
        "images": np.where(returned_best[:, None, None, None], best, last),
        "returned_best": returned_best,
        "best": best,
        "last": last,
        "best_loss": findings.best_loss,
        "last_loss": findings.last_loss,
        "target_score": np.where(returned_best, findings.best_score, findings.last_score),
        "seeds": start,
        "loss_trace": findings.trace,
        "iterations": findings.rounds,
        "iterations_to_90": findings.reached[:, 0],
        "iterations_to_99": findings.reached[:, 1],
    }
    return Clones(**{name: jnp.asarray(array) for name, array in fields.items()})


def _write(
    findings: Findings, rows: np.ndarray, vectors: np.ndarray, loss: np.ndarray, score: np.ndarray
) -> None:
    """Writes down the answers of a batch, whose candidates are those of the restarts `rows`."""
    for row in np.unique(rows):
        own = np.flatnonzero(rows == row)
        least = own[np.argmin(loss[own])]
        if loss[least] < findings.best_loss[row]:
            findings.best[row] = vectors[least]
            findings.best_loss[row], findings.best_score[row] = loss[least], score[least]
        first = (findings.reached[row] < 0) & (score[own].max() >= np.array(SCORES_OF_INTEREST))
        findings.reached[row] = np.where(first, findings.rounds[row], findings.reached[row])
        findings.asked[row] += len(own)


@equinox.filter_jit
def _decode(space: Space, cases: Case, rows: jax.Array, vectors: jax.Array) -> jax.Array:
    """Makes the images of vectors, `[n, size]`, of the cases in some rows."""

    def one(row: jax.Array, vector: jax.Array) -> jax.Array:
        case = jax.tree.map(lambda array: array[row], cases)
        return case.complete(space.decode(point_of(space, case, vector)))

    return jax.vmap(one)(rows, vectors)


@equinox.filter_jit
def _judge(
    space: Space,
    objective: Objective,
    unit: Any,
    cases: Case,
    rows: jax.Array,
    vectors: jax.Array,
    images: jax.Array,
    answers: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Computes each candidate's loss, the target's confidence, and whether it comes first."""

    def one(
        row: jax.Array, vector: jax.Array, image: jax.Array, answer: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        case = jax.tree.map(lambda array: array[row], cases)
        loss, _ = objective.look(answer[None], unit, image, case, None)
        penalty = space.penalty(point_of(space, case, vector), image)
        return loss + penalty, answer[case.target], jnp.argmax(answer) == case.target

    return jax.vmap(one)(rows, vectors, images, answers)
