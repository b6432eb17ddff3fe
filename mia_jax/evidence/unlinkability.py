"""Unlinkability: whether two templates give away that they are of one person.

ISO/IEC 24745 asks of protected templates that those of one person in two systems cannot be told to
be one person's. Templates of a plain embedder are there to be linked, and are: the measure says how
much of that a protection takes away.
"""

import dataclasses

import numpy as np

_LEAST = 20  # Mated pairs: of fewer there is but one bin, which tells nothing apart.
_MOST_BINS = 100


@dataclasses.dataclass(frozen=True)
class Unlinkability:
    """How linkable templates are.

    Attributes:
      d_sys: From 0, nothing can be linked, to 1, everything.
      mated: Pairs of templates of one person.
      non_mated: Pairs of templates of two people.
    """

    d_sys: float
    mated: int
    non_mated: int


def unlinkability(mated: np.ndarray, non_mated: np.ndarray) -> Unlinkability | None:
    """Measures how well a score tells templates of one person from those of two.

    With LR the ratio of the densities of mated and non-mated scores, D = 2 LR / (1 + LR) - 1 where
    LR > 1, and 0 elsewhere; D_sys is its mean over mated scores. Both cases count as equally
    likely. The densities are histograms, of a bin for every ten mated scores, at most 100.

    Args:
      mated: `[n]`: scores of two templates of one person.
      non_mated: `[m]`: scores of templates of two people.

    Returns:
      The measure; None of fewer than 20 mated scores, or of none that are not.

    Source: M. Gomez-Barrero, J. Galbally, C. Rathgeb, C. Busch, "General framework to evaluate
      unlinkability in biometric template protection systems", 2018.
    """
    if len(mated) < _LEAST or not len(non_mated):
        return None
    both = np.concatenate([mated, non_mated])
    bins = min(len(mated) // 10, _MOST_BINS)
    low, high = float(both.min()), float(both.max())
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    one, two = (np.histogram(each, edges)[0] / len(each) for each in (mated, non_mated))
    seen = one > 0
    # 2 LR / (1 + LR) - 1 is (one - two) / (one + two), where no density is divided by zero.
    local = np.maximum((one[seen] - two[seen]) / (one[seen] + two[seen]), 0)
    return Unlinkability(float(one[seen] @ local), len(mated), len(non_mated))
