"""What a judge says to panels: is the picture on the left the person on the right, yes or no?

A judge here is a person or a multimodal model, who errs on photographs too: how often is measured
on panels of which the answer is known, and the share of yes for clones is corrected by that.

Source: the panels and what counts as yes are those of S. Ho et al., "Revisiting model inversion
evaluation", arXiv 2505.03519; the correction is W. Rogan and B. Gladen, "Estimating prevalence from
the results of a screening test", American Journal of Epidemiology 107(1), 1978.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mia_jax.evidence import statistics
from mia_jax.evidence.results import Measure
from mia_jax.evidence.study import Asked
from mia_jax.runtime.errors import UserError

CLONE, SAME, DIFFERENT = KINDS = ("clone", "same person", "different person")
YES, NO = "yes", "no"
_TAILS = [100 * (1 - statistics.CONFIDENCE) / 2, 100 * (1 + statistics.CONFIDENCE) / 2]


@dataclasses.dataclass(frozen=True)
class Panel:
    """A panel, as only the key knows it.

    Attributes:
      kind: What the picture is: a clone, a photograph of the person, or of somebody else.
      person: Whose photographs are beside it.
    """

    kind: str
    person: str


def score(key: Mapping[str, Panel], said: Mapping[str, str], seed: int) -> Asked:
    """Scores the answers of one judge.

    Args:
      key: What the panels are, by name.
      said: The answer to each, by name; whatever is neither yes nor no, in any case and with or
        without a full stop, counts as no.
      seed: Of the resampling.

    Returns:
      The figures; intervals are over people, whose panels are drawn as a whole.

    Raises:
      UserError: If a panel is not answered, or does not exist.
    """
    unknown, missing = sorted({*said} - {*key}), sorted({*key} - {*said})
    if unknown or missing:
        name = (unknown or missing)[0]
        raise UserError(f"panel {name!r} {'does not exist' if unknown else 'is not answered'}")
    words = {name: answer.strip().rstrip(".").lower() for name, answer in said.items()}
    people = sorted({panel.person for panel in key.values()})
    yes, asked = np.zeros((2, len(KINDS), len(people)))
    for name, panel in key.items():
        place = KINDS.index(panel.kind), people.index(panel.person)
        yes[place] += words[name] == YES
        asked[place] += 1
    if not asked.sum(axis=1).all():
        raise UserError(f"panels of each kind are needed: {', '.join(KINDS)}")
    (of_clones, sensitivity, specificity), corrected = _measures(yes, asked, seed)
    return Asked(
        panels=int(asked[0].sum()),
        unclear=sum(word not in (YES, NO) for word in words.values()),
        sensitivity=sensitivity,
        specificity=specificity,
        said=of_clones,
        corrected=corrected,
        people={
            name: float(yes[0, place] / asked[0, place])
            for place, name in enumerate(people)
            if asked[0, place]
        },
    )


def correct(
    said: np.ndarray, sensitivity: np.ndarray, specificity: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Estimates a true share from the share that an erring judge finds.

    Args:
      said: `[n]`: the share of yes.
      sensitivity: `[n]`: the share of yes where yes is right.
      specificity: `[n]`: the share of no where no is right.

    Returns:
      The true share within [0, 1], and whether the judge does better than chance, so that there is
      one.
    """
    better = sensitivity + specificity - 1
    able = better > 1e-9
    share = (said + specificity - 1) / np.where(able, better, 1)
    return np.clip(share, 0, 1), able


def _measures(
    yes: np.ndarray, asked: np.ndarray, seed: int
) -> tuple[list[Measure], Measure | None]:
    """Returns the share of yes for clones, sensitivity and specificity; and the corrected share.

    Takes counts, `[kinds, people]`.
    """
    people = yes.shape[1]
    drawn = np.random.default_rng(seed).multinomial(
        people, np.full(people, 1 / people), statistics.RESAMPLES
    )
    total = drawn @ asked.T
    met = total.all(axis=1)  # A draw may leave out all people who have panels of a kind.
    resampled = (drawn @ yes.T)[met] / total[met]
    shares = yes.sum(axis=1) / asked.sum(axis=1)

    def measure(value: float, values: np.ndarray, count: float) -> Measure:
        low, high = np.percentile(values, _TAILS) if len(values) else (value, value)
        if low == high:
            return Measure(value, statistics.wilson_interval(value, count))
        return Measure(value, (float(low), float(high)))

    def rates(of: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return of[..., 0], of[..., 1], 1 - of[..., 2]

    found = [
        measure(float(value), values, number)
        for value, values, number in zip(
            rates(shares), rates(resampled), asked.sum(axis=1), strict=True
        )
    ]
    share, able = correct(*rates(shares))
    others, able_too = correct(*rates(resampled))
    corrected = measure(float(share), others[able_too], asked[0].sum())
    return found, corrected if able else None


def read(rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Takes the answers from the lines of a sheet.

    Args:
      rows: One object for each panel, with "panel" and "answer" as texts.

    Returns:
      The answers by panel.

    Raises:
      UserError: If a line lacks one, or a panel comes twice.
    """
    said: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        fields = row if isinstance(row, Mapping) else {}
        name, answer = (fields.get(field) for field in ("panel", "answer"))
        if not (isinstance(name, str) and isinstance(answer, str)):
            raise UserError(f'line {number} needs "panel" and "answer" as texts')
        if name in said:
            raise UserError(f"line {number}: panel {name!r} is answered already")
        said[name] = answer
    return said
