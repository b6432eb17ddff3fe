"""What a model's answers look like, beside what is said of them.

Softmax outputs that are taken for logits, or the other way round, are wrong without a word: the
attack then descends a loss of other numbers, and finds nobody. What cannot be is an error; what
only looks odd is a warning where it is said, and has to be said where it is not.
"""

from typing import NamedTuple

import numpy as np
import scipy.special

from mia_jax.runtime.errors import UserError

LOGITS, PROBABILITIES, FEATURES = "logits", "probabilities", "features"
ROUNDING = 0.05  # By how much confidences that a service rounds may miss a sum of 1.
_EXACT = 1e-2  # The same of a softmax, in half precision too.
_SAID = {
    LOGITS: "--returns=logits contradicts it",
    PROBABILITIES: "--returns=probabilities contradicts it",
    FEATURES: "--returns=features, or --templates, contradict it",
    "": "--returns does not say what they are",
}
_EACH_ALONE = (
    "give the model before its sigmoid, or log(p) - log(1 - p) of its answers p; --returns=logits "
    "takes the numbers as they are"
)


class Look(NamedTuple):
    """What answers look like.

    Attributes:
      words: In words, to follow "which".
      usual: What they are taken for where nothing is said; None where it has to be said.
      fits: What may be said of them.
      odd: Of these, what is a warning.
      remedy: What to do about anything else.
    """

    words: str
    usual: str | None
    fits: tuple[str, ...]
    odd: tuple[str, ...]
    remedy: str


def look(answers: np.ndarray) -> Look:
    """Tells what a model's answers look like, by numbers alone.

    Args:
      answers: `[n, outputs]`, finite, of different pictures.

    Returns:
      What they look like.
    """
    least, most = float(answers.min()), float(answers.max())
    sums = answers.sum(axis=1)
    missed = np.abs(sums - 1).max()
    within = least >= -1e-6 and most <= 1 + _EXACT
    span = f"lie between {least:.3g} and {most:.3g}"
    if within and missed < ROUNDING:
        fits = (PROBABILITIES,) if missed < _EXACT else (PROBABILITIES, LOGITS)
        words = f"are probabilities: none is below 0, and those of a picture sum to {_span(sums)}"
        return Look(words, PROBABILITIES, fits, fits[1:], "give --returns=probabilities")
    if most <= _EXACT and np.abs(scipy.special.logsumexp(answers, axis=1)).max() < _EXACT:
        words = "are logarithms of probabilities: their exponentials sum to 1 for each picture"
        return Look(
            words, LOGITS, (LOGITS,), (), "give --returns=logits, of which they are one kind"
        )
    if np.abs(np.linalg.norm(answers, axis=1) - 1).max() < _EXACT:
        words = "are features: those of a picture are a vector of length 1, as an embedder's"
        remedy = "give --returns=features, and the people's templates are made of the gallery"
        return Look(words, None, (FEATURES, LOGITS), (LOGITS,), remedy)
    if within and np.ptp(answers, axis=0).any():  # A model that sees nothing is another matter.
        words = (
            f"{span}, and those of a picture sum to {_span(sums)}, not to 1: a sigmoid's, which "
            "says of each person alone how likely it is"
        )
        return Look(words, None, (LOGITS, FEATURES), (LOGITS,), _EACH_ALONE)
    if least >= 0 and np.abs(sums / 100 - 1).max() < ROUNDING:
        words = f"are percentages: none is below 0, and those of a picture sum to {_span(sums)}"
        remedy = (
            "divide them by 100, for --returns=probabilities; --returns=logits takes the numbers "
            "as they are"
        )
        return Look(words, None, (LOGITS, FEATURES), (LOGITS,), remedy)
    words = f"{span}, and those of a picture sum to {_span(sums)}"
    return Look(words, LOGITS, (LOGITS, FEATURES), (), "give --returns=logits or features")


def check(where: str, answers: np.ndarray, said: str) -> tuple[str, tuple[str, ...]]:
    """Compares what a model answers with what is said that it returns.

    Args:
      where: The model, in an error.
      answers: `[n, outputs]`, finite, of different pictures.
      said: `LOGITS`, `PROBABILITIES` or `FEATURES`; "" where nothing is said.

    Returns:
      What it returns, and what looks odd but may be meant, a sentence each.

    Raises:
      UserError: If it cannot be what is said, or is odd and nothing is said.
    """
    found = look(answers)
    returns = said or found.usual
    if returns is None or returns not in found.fits:
        given = _SAID[said]
        raise UserError(f"{where} answers numbers which {found.words}; {given}: {found.remedy}")
    return returns, warning(where, found, returns)


def warning(where: str, found: Look, returns: str) -> tuple[str, ...]:
    """Says that answers look odd, if they do.

    Args:
      where: The model.
      found: What its answers look like.
      returns: What they are taken for.

    Returns:
      A sentence, or none.
    """
    if returns not in found.odd:
        return ()
    said = f"{where} answers numbers which {found.words}; they are taken for {returns}"
    return (f"{said}: if that is not meant, {found.remedy}",)


def _span(numbers: np.ndarray) -> str:
    """Writes what numbers are, or from which to which they go."""
    first, last = f"{numbers.min():.3g}", f"{numbers.max():.3g}"
    return first if first == last else f"{first} to {last}"
