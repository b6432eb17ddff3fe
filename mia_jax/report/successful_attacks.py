"""Which systems accept clones as the people whose templates were stolen: sentences, a table."""

from typing import NamedTuple

from mia_jax.evidence.results import Measure
from mia_jax.evidence.successful_attacks import ComparisonFigures, SuccessfulAttacks, SuccessRates
from mia_jax.report import formats

TARGET = "the target"
TYPE1, TYPE2 = "type I", "type II"


class Row(NamedTuple):
    """One line of the table.

    Attributes:
      system: Who accepts.
      kind: Of comparison.
      figures: All of that kind.
      rates: At one threshold.
      distance: Whether the threshold is a distance rather than a cosine.
    """

    system: str
    kind: str
    figures: ComparisonFigures
    rates: SuccessRates
    distance: bool


def rows(found: SuccessfulAttacks) -> list[Row]:
    """Lists what was measured, the target first.

    Args:
      found: What was counted.

    Returns:
      A row for each system, kind of comparison and threshold.
    """
    return [
        Row(system, kind, figures, rates, system != TARGET)
        for system, kinds in {TARGET: found.target, **found.independent}.items()
        for kind, figures in ((TYPE1, kinds.type1), (TYPE2, kinds.type2))
        if figures
        for rates in figures.rates
    ]


def sentences(found: SuccessfulAttacks) -> list[str]:
    """Says who accepts the clones, what to compare that with, and what it says of the templates.

    Args:
      found: What was counted.

    Returns:
      A few sentences.
    """
    listed = rows(found)
    if not listed:
        return []
    promised = [row.rates.false_matches for row in listed if row.rates.false_matches is not None]
    strictest = min(promised, default=None)
    strict = [row for row in listed if row.rates.false_matches == strictest]
    where = "At the threshold that was given "
    if strictest is not None:
        where = f"At a threshold for a false match rate (FMR) of {formats.rough(strictest)} "
    said = [
        where
        + formats.listed(
            [
                f"{row.system} accepts {_rate(row.rates.clones)} of the clones ({row.kind})"
                for row in strict
            ],
            len(strict),
        )
        + "."
    ]
    said += [_nulls(strict), *_shown(strict), _reversed(strict)]
    if found.unlinkability:
        said.append(
            "Templates that the target makes of two photographs are linkable by D_sys = "
            f"{formats.number(found.unlinkability.d_sys, 2)}, where 0 is unlinkable and 1 fully "
            f"linkable (Gomez-Barrero et al. 2018; {found.unlinkability.mated:,} pairs of one "
            f"person, {found.unlinkability.non_mated:,} of two)."
        )
    return said


def _rate(measure: Measure | None) -> str:
    """Writes a rate."""
    return formats.percent(measure.value if measure else None)


def _nulls(strict: list[Row]) -> str:
    """Says what is accepted without knowing the person, and what a perfect likeness would get."""
    named = {
        "mean_face": "mean faces",
        "seeds": "images before the attack",
        "others": "clones aimed at others",
    }
    said = []
    for kind, words in named.items():
        seen = [each.value for row in strict if (each := getattr(row.rates, kind)) is not None]
        if seen:
            said.append(f"{formats.percent(max(seen))} of {words}")
    real = [row.rates.photographs.value for row in strict if row.rates.photographs]
    ends = [formats.percent(end(real)) for end in (min, max)] if real else []
    photographs = f"; of real photographs {' to '.join(dict.fromkeys(ends))}" if ends else ""
    return (
        f"What knows nothing of the person is accepted at most so often: {formats.listed(said)}"
        f"{photographs}."
    )


def _shown(strict: list[Row]) -> list[str]:
    """Says where the gallery has too few people for the FMR that is promised."""
    few = max((row.figures for row in strict), key=lambda each: each.least_false_matches)
    promised = strict[0].rates.false_matches
    if promised is None or few.least_false_matches <= promised:
        return []
    return [
        f"The gallery's {few.people_pairs:,} pairs of people show no FMR below "
        f"{formats.percent(few.least_false_matches, 2)} (95% confidence): the threshold for "
        f"{formats.rough(promised)} is one that few or none of them reach."
    ]


def _reversed(strict: list[Row]) -> str:
    """Says in the standards' terms whether the templates were reversed."""
    told = [row for row in strict if row.kind == TYPE2 and _beyond(row.rates)]
    if told:
        systems = formats.listed([row.system for row in told])
        return (
            "The templates are not irreversible in the sense of ISO/IEC 24745: an image made of "
            f"them passes for the person beside other photographs too ({systems})."
        )
    if any(row.kind == TYPE1 and _beyond(row.rates) for row in strict):
        return (
            "The clones pass for the templates themselves, which the attack sought, and not beside "
            "other photographs of the person beyond what clones aimed at others reach: by ISO/IEC "
            "24745 whoever holds a template gets in with it, but no likeness is shown."
        )
    return (
        "No template was reversed by this attack; that proves no irreversibility in the sense of "
        "ISO/IEC 24745, which asks it against any."
    )


def _beyond(rates: SuccessRates) -> bool:
    """Tells whether clones are accepted more often than anything that knows nothing of a person."""
    low = rates.clones.interval[0] if rates.clones.interval else rates.clones.value
    nulls = [each.value for each in (rates.others, rates.seeds, rates.mean_face) if each]
    return low > max(nulls)
