"""The older form of the attack: a hidden attribute of a record, from a model's output for it.

Fredrikson 2014 and 2015, and Hidano 2017, on tables instead of images. The attacker knows the
record's other attributes (or, with Hidano, none), the output, and how often each value of the
hidden attribute occurs. What the guess from those marginals alone reaches is the null row.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mia_jax.runtime.errors import UserError

# Records [n, attributes] -> outputs [n].
TableModel = Callable[[np.ndarray], np.ndarray]
# (an output, the model's outputs [values]) -> how likely each of them makes it, [values].
ErrorModel = Callable[[float, np.ndarray], np.ndarray]


class Attribute(NamedTuple):
    """What an attacker is after.

    Attributes:
      column: Of the records.
      values: `[values]`: those it can have.
      marginals: `[values]`: how often it has each, of sum 1.
    """

    column: int
    values: np.ndarray
    marginals: np.ndarray


class Skill(NamedTuple):
    """How good guesses of a binary or nominal attribute are.

    Attributes:
      accuracy: Share of the records that are guessed right; says little of a rare value.
      g_mean: Geometric mean over the true values of the share that is guessed right.
      mcc: Matthews' correlation coefficient, in [-1, 1]; 0 for guesses without a clue.
    """

    accuracy: float
    g_mean: float
    mcc: float


def attribute(records: np.ndarray, column: int) -> Attribute:
    """Counts the values of a column.

    Args:
      records: `[n, attributes]`.
      column: Which.

    Returns:
      The attribute.
    """
    values, counts = np.unique(np.asarray(records)[:, column], return_counts=True)
    return Attribute(column, values, counts / counts.sum())


def gaussian_error(deviation: float) -> ErrorModel:
    """Makes the error law of a regression.

    Args:
      deviation: Standard deviation of the model's error, above 0.

    Returns:
      The density of the output around each of the model's outputs, up to a factor.

    Raises:
      UserError: If the deviation is not above 0.
    """
    if not deviation > 0:
        raise UserError(f"deviation={deviation} must be above 0")
    return lambda output, outputs: np.exp(-((output - outputs) ** 2) / (2 * deviation**2))


def confusion_error(confusion: np.ndarray) -> ErrorModel:
    """Makes the error law of a classifier, such as a decision tree.

    Args:
      confusion: `[classes, classes]` counts: rows are the true classes, columns the model's.

    Returns:
      The share of the output's class that the model gives each of its outputs.
    """
    rows = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    return lambda output, outputs: rows[int(output), outputs.astype(int)]


def guess(
    model: TableModel, records: np.ndarray, outputs: np.ndarray, hidden: Attribute, law: ErrorModel
) -> np.ndarray:
    """Guesses the hidden attribute of each record, of which everything else is known.

    Args:
      model: The model, which is asked once for each value and record.
      records: `[n, attributes]`; the hidden column is not looked at.
      outputs: `[n]`: what is known of the truth that the model predicts.
      hidden: What is hidden.
      law: How likely each output of the model goes with the known one.

    Returns:
      `[n]` values: the likeliest each, the first of equals.

    Source: Fredrikson et al. 2014, "Privacy in pharmacogenetics", algorithm 1, for one hidden
    attribute independent of the others, and Fredrikson et al. 2015, section 4, as others have coded
    it: score = error law times prior. The papers' text was not at hand.
    """
    asked = np.repeat(np.asarray(records, np.float64)[:, None], len(hidden.values), axis=1)
    asked[:, :, hidden.column] = hidden.values
    answers = np.asarray(model(asked.reshape(-1, asked.shape[2]))).reshape(asked.shape[:2])
    scores = np.stack([law(y, own) for y, own in zip(outputs, answers, strict=True)])
    return hidden.values[np.argmax(scores * hidden.marginals, axis=1)]


def guess_from_output(
    weights: np.ndarray, bias: float, means: np.ndarray, outputs: np.ndarray, hidden: Attribute,
    deviation: float,
) -> np.ndarray:  # fmt: skip
    """Guesses the hidden attribute from a linear model's output alone, knowing no other attribute.

    Args:
      weights: `[attributes]`, of the linear model.
      bias: Of the model.
      means: `[attributes]`: what the attacker puts for the attributes that are not known.
      outputs: `[n]`, the model's.
      hidden: What is hidden.
      deviation: Standard deviation of the output around that, above 0.

    Returns:
      `[n]` values.

    Source: Hidano et al. 2017, "Model inversion attacks for prediction systems: without knowledge
    of non-sensitive attributes", from a description: unverified.
    """
    base = bias + means @ weights - means[hidden.column] * weights[hidden.column]
    expected = base + weights[hidden.column] * hidden.values
    law = gaussian_error(deviation)
    scores = np.stack([law(y, expected) for y in outputs]) * hidden.marginals
    return hidden.values[np.argmax(scores, axis=1)]


def poison(
    records: np.ndarray, hidden: Attribute, share: float, strength: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Makes records that teach an online linear model to depend on the hidden attribute alone.

    Args:
      records: `[n, attributes]`, whose columns are drawn from, each on its own.
      hidden: The attribute.
      share: How many poisoned records there are, over n; in [0, 1].
      strength: Of the dependence, in outputs for each unit of the attribute.
      seed: Of the draw.

    Returns:
      The poisoned records `[m, attributes]` and their outputs `[m]`.

    Raises:
      UserError: If the share is not in [0, 1].

    Source: the idea of Hidano et al. 2017, from a description: unverified.
    """
    if not 0 <= share <= 1:
        raise UserError(f"share={share} must be in [0, 1]")
    rng, count = np.random.default_rng(seed), round(share * len(records))
    # Columns that are shuffled apart have nothing to do with the output.
    columns = [rng.choice(column, count) for column in np.asarray(records, np.float64).T]
    made = np.stack(columns, axis=1) if count else np.zeros((0, records.shape[1]))
    return made, strength * made[:, hidden.column]


def from_marginals(count: int, hidden: Attribute) -> np.ndarray:
    """Guesses the value that is most common, for everybody: what is reached without a model.

    Args:
      count: How many guesses.
      hidden: The attribute.

    Returns:
      `[count]` values.
    """
    return np.full(count, hidden.values[np.argmax(hidden.marginals)])


def skill(truth: ArrayLike, guesses: ArrayLike) -> Skill:
    """Says how good guesses are.

    Args:
      truth: `[n]` values.
      guesses: `[n]` values.

    Returns:
      Accuracy, G-mean and Matthews' correlation.

    Source: Matthews 1975; for several values Gorodkin 2004, "Comparing two K-category assignments
    by a K-category correlation coefficient".
    """
    truth, guesses = np.asarray(truth), np.asarray(guesses)
    values = np.unique(np.concatenate([truth, guesses]))
    confusion = np.array([[np.sum((truth == t) & (guesses == g)) for g in values] for t in values])
    occurring = confusion.sum(1) > 0
    recalls = np.diag(confusion)[occurring] / confusion.sum(1)[occurring]
    total, right = confusion.sum(), np.trace(confusion)
    true, said = confusion.sum(1), confusion.sum(0)
    below = np.sqrt((total**2 - said @ said) * float(total**2 - true @ true))
    return Skill(
        accuracy=float(right / total),
        g_mean=float(np.prod(recalls) ** (1 / len(recalls))),
        mcc=float((right * total - true @ said) / below) if below else 0.0,
    )
