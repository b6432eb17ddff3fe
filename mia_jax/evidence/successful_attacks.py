"""Successful attack rates: how many clones a face verification system accepts as their person.

A system knows a person by an enrolled template and accepts whatever is similar enough to it. A
stolen template that yields an accepted image is not irreversible in the sense of ISO/IEC 24745;
how often it does is the attack's success in the sense of ISO/IEC 30136. *Type I* compares with the
enrolled template itself, *type II* with other photographs of the person: that the attacked system
accepts its own template's image is what the attack sought, and only the second says that the
person is in it. The same is asked of systems that the attacker never saw.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.spatial.distance

from mia_jax.evidence import statistics, verification
from mia_jax.evidence.results import Interval, Measure
from mia_jax.evidence.unlinkability import Unlinkability, unlinkability

Similar = Callable[[np.ndarray, np.ndarray], np.ndarray]

_KINDS = ("clones", "seeds", "mean_face", "others", "photographs")


class Enrollment(NamedTuple):
    """One person in a system, by features.

    Attributes:
      template: `[features]`; None of somebody who is not enrolled, and serves as an impostor.
      enrolled: `[n, features]`: of the photographs that made the template, none where unknown.
      others: `[n, features]`: of other photographs of the person, each of which is put forward.
    """

    template: np.ndarray | None
    enrolled: np.ndarray
    others: np.ndarray


class Aimed(NamedTuple):
    """Images that are put forward as one person, by features `[n, features]`.

    Attributes:
      clones: The clones.
      seeds: The images before the attack.
      mean_face: The mean of the attacker's faces, one.
      others: Clones aimed at other people; none where nobody else was attacked.
    """

    clones: np.ndarray
    seeds: np.ndarray
    mean_face: np.ndarray
    others: np.ndarray


class ImpostorPairs(NamedTuple):
    """Photographs that are compared with what is known of somebody else, `[pairs]` each.

    Attributes:
      similarities: Higher for more like.
      probes: Who is on the photograph, from 0.
      references: With whom it is compared.
    """

    similarities: np.ndarray
    probes: np.ndarray
    references: np.ndarray


@dataclasses.dataclass(frozen=True)
class SuccessRates:
    """How many images of each kind are accepted at one threshold.

    Attributes:
      false_matches: The false match rate (FMR) at which the threshold was set; None where the
        user set it.
      threshold: The similarity from which an image is accepted.
      threshold_interval: Between which thresholds that of this FMR would lie for all people like
        these: where the 95% interval of the FMR ends, and no higher than any impostor that was
        seen. With one photograph of each of 20, 40, 75 people it covers 0.85, 0.91, 0.92 in
        simulations at an FMR of 5%, and 0.62, 0.86, 0.89 at 1%, where that of the FMR covers 0.91
        to 0.94. None for the user's own.
      impostors: The fraction of the pairs of different people that is accepted, with its interval
        over people; None where there is but one person.
      clones: The successful attack rate (SAR), mean over people.
      clones_between: The SAR at the upper and at the lower end of `threshold_interval`.
      seeds: Of the images before the attack.
      mean_face: Of the mean of the attacker's faces.
      others: Of clones aimed at other people; None where nobody else was attacked.
      photographs: Of real photographs of the person: what a perfect likeness would get; None where
        there are none.
      people: Of each person's clones, by name.
    """

    false_matches: float | None
    threshold: float
    threshold_interval: Interval | None
    impostors: Measure | None
    clones: Measure
    clones_between: Interval | None
    seeds: Measure
    mean_face: Measure
    others: Measure | None
    photographs: Measure | None
    people: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class ComparisonFigures:
    """What a system accepts by one kind of comparison.

    Attributes:
      pairs: Pairs of different people's photographs that set the thresholds.
      people_pairs: Pairs of people among them.
      least_false_matches: The least FMR that they can show; see `least_false_matches`.
      rates: At each threshold.
    """

    pairs: int
    people_pairs: int
    least_false_matches: float
    rates: tuple[SuccessRates, ...]


@dataclasses.dataclass(frozen=True)
class SystemFigures:
    """What one system accepts.

    Attributes:
      type1: Compared with enrolled templates; None where it is not known which photographs made
        them.
      type2: Compared with other photographs; None where there are none.
    """

    type1: ComparisonFigures | None
    type2: ComparisonFigures | None


@dataclasses.dataclass(frozen=True)
class SuccessfulAttacks:
    """Everything in `successful_attacks.json`.

    Attributes:
      target: The attacked system.
      independent: Systems that share nothing with it, by name.
      unlinkability: Of templates that the target makes of two photographs; None where it is not
        known which photographs are enrolled, or there are too few.
    """

    target: SystemFigures
    independent: Mapping[str, SystemFigures]
    unlinkability: Unlinkability | None


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compares features by the cosine of their angle.

    Args:
      first: `[n, features]`.
      second: `[m, features]`.

    Returns:
      `[n, m]` in [-1, 1]; 0 for features that are all zero.
    """
    units = []
    for each in (first, second):
        vectors = np.asarray(each, np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units.append(vectors / np.where(lengths > 0, lengths, 1))
    return units[0] @ units[1].T


def nearness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compares features by their Euclidean distance, with a minus sign.

    Args:
      first: `[n, features]`.
      second: `[m, features]`.

    Returns:
      `[n, m]`, 0 at most.
    """
    return -scipy.spatial.distance.cdist(first, second)


def system(
    gallery: Mapping[str, Enrollment],
    aimed: Mapping[str, Aimed],
    similar: Similar,
    false_matches: Sequence[float] = verification.FALSE_ACCEPTS,
    own_threshold: float | None = None,
) -> SystemFigures:
    """Counts what a system accepts.

    Thresholds are set for either kind of comparison by its own impostors, so that each promises its
    FMR: other photographs of everybody in the gallery, compared with everybody else's template, or
    with everybody else's other photographs.

    Args:
      gallery: By name, everybody of whom there are photographs.
      aimed: By attacked person, all of whom are in the gallery.
      similar: From features `[n, features]` and `[m, features]` to similarities `[n, m]`.
      false_matches: The FMRs at which thresholds are set, each in [0, 1).
      own_threshold: A threshold of the user's, beside these.

    Returns:
      What was counted.
    """
    templates = {
        name: each.template[None] for name, each in gallery.items() if each.template is not None
    }
    others = {name: each.others for name, each in gallery.items() if len(each.others)}
    enrolled = {name: each.enrolled for name, each in gallery.items()}

    def comparison(
        references: Mapping[str, np.ndarray], real: Mapping[str, np.ndarray], once: bool
    ) -> ComparisonFigures | None:
        known = {name: each for name, each in aimed.items() if name in references}
        if not known or not others:
            return None
        pairs = impostor_pairs(others, references, similar, once)
        seen: dict[str, list[np.ndarray]] = {kind: [] for kind in _KINDS}
        for name, each in known.items():
            images = {**each._asdict(), "photographs": real.get(name, each.clones[:0])}
            for kind in _KINDS:
                seen[kind].append(similar(images[kind], references[name]))
        people_pairs = _people_pairs(pairs)
        thresholds: list[tuple[float | None, float]] = []
        if people_pairs:
            thresholds += [(rate, threshold_at(pairs.similarities, rate)) for rate in false_matches]
        if own_threshold is not None:
            thresholds.append((None, own_threshold))
        if not thresholds:
            return None
        return ComparisonFigures(
            pairs=len(pairs.similarities),
            people_pairs=people_pairs,
            least_false_matches=least_false_matches(people_pairs),
            rates=tuple(_rates([*known], seen, pairs, people_pairs, *each) for each in thresholds),
        )

    return SystemFigures(
        type1=comparison(templates, others, once=False),
        type2=comparison(others, enrolled, once=True),
    )


def linked(gallery: Iterable[Enrollment], similar: Similar) -> Unlinkability | None:
    """Says whether templates of two photographs give away that they are of one person.

    Args:
      gallery: Everybody of whom there are photographs.
      similar: From features `[n, features]` and `[m, features]` to similarities `[n, m]`.

    Returns:
      The unlinkability of templates of enrolled photographs and of others; None where too few are
      known.
    """
    people = [each for each in gallery if len(each.enrolled) and len(each.others)]
    if len(people) < 2:
        return None
    first, second = (
        np.concatenate([getattr(each, kind) for each in people]) for kind in ("enrolled", "others")
    )
    one, other = (
        np.repeat(np.arange(len(people)), [len(getattr(each, kind)) for each in people])
        for kind in ("enrolled", "others")
    )
    scores, mated = similar(first, second), one[:, None] == other
    return unlinkability(scores[mated], scores[~mated])


def impostor_pairs(
    photographs: Mapping[str, np.ndarray],
    references: Mapping[str, np.ndarray],
    similar: Similar,
    once: bool,
) -> ImpostorPairs:
    """Compares everybody's photographs with what is known of everybody else.

    Args:
      photographs: By name, features `[n, features]`.
      references: By name, features `[m, features]`.
      similar: From features to similarities.
      once: Whether both are the same photographs, of which each two are compared once.

    Returns:
      The pairs.
    """
    names = [*dict.fromkeys([*photographs, *references])]
    numbers = {name: number for number, name in enumerate(names)}
    known = [*references]
    stacked = np.concatenate([references[name] for name in known])
    whose = np.repeat([numbers[name] for name in known], [len(references[n]) for n in known])
    found, probes, compared = [np.zeros(0)], [np.zeros(0, int)], [np.zeros(0, int)]
    for name, features in photographs.items():
        number = numbers[name]
        columns = whose > number if once else whose != number
        similarities = similar(features, stacked[columns])
        found.append(similarities.ravel())
        probes.append(np.full(similarities.size, number))
        compared.append(np.tile(whose[columns], len(features)))
    return ImpostorPairs(*(np.concatenate(each) for each in (found, probes, compared)))


def least_false_matches(people_pairs: int) -> float:
    """Says which FMR so many pairs of people can show: that of none in so many, at worst.

    The photographs of two people are alike, and count once. Pairs that share a person are taken for
    independent, as is usual, so that the truth is somewhat larger.

    Args:
      people_pairs: How many pairs of different people were compared.

    Returns:
      The upper end of the 95% interval of the FMR where no pair is accepted, about 3 in so many;
      1 where there are none.

    Source: the "rule of 3" of ISO/IEC 19795-1; C. Clopper, E. Pearson, "The use of confidence or
      fiducial limits", 1934.
    """
    if not people_pairs:
        return 1.0
    return float(-np.expm1(np.log(1 - statistics.CONFIDENCE) / people_pairs))


def threshold_at(similarities: np.ndarray, false_matches: float) -> float:
    """Finds the least threshold from which on at most a given fraction of impostors is accepted.

    Args:
      similarities: `[pairs]`, of impostors.
      false_matches: The fraction, in [0, 1).

    Returns:
      The similarity from which an image is accepted: equal ones, and few pairs, accept none too
      many.
    """
    return float(np.nextafter(verification.threshold(similarities, false_matches), np.inf))


def _rates(
    names: Sequence[str],
    seen: Mapping[str, Sequence[np.ndarray]],
    pairs: ImpostorPairs,
    people_pairs: int,
    wanted: float | None,
    threshold: float,
) -> SuccessRates:
    """Counts what is accepted at the threshold of an FMR, or, where that is None, the user's."""
    impostors = _false_matches(pairs, people_pairs, threshold)
    ends = clones_between = None
    if wanted is not None and impostors is not None:
        # Woodruff's interval of a quantile: where the rate's own interval ends.
        low, high = impostors.interval or (impostors.value, impostors.value)
        loose, strict = min(max(high, wanted), 1 - 1e-9), min(low, wanted)
        ends = threshold_at(pairs.similarities, loose), threshold_at(pairs.similarities, strict)
        least, most = (_mean(seen["clones"], end) for end in ends[::-1])
        clones_between = least, most
    measured: dict[str, Any] = {kind: _accepted(seen[kind], threshold) for kind in _KINDS}
    return SuccessRates(
        false_matches=wanted,
        threshold=threshold,
        threshold_interval=ends,
        impostors=impostors,
        clones_between=clones_between,
        people={
            name: float(np.mean(each >= threshold))
            for name, each in zip(names, seen["clones"], strict=True)
        },
        **measured,
    )


def _false_matches(pairs: ImpostorPairs, people_pairs: int, threshold: float) -> Measure | None:
    """Measures the FMR at a threshold, with an interval over people; None without pairs."""
    if not people_pairs:
        return None
    accepted = (pairs.similarities >= threshold).astype(float)
    rate = float(accepted.mean())
    if not rate:
        return Measure(0.0, (0.0, least_false_matches(people_pairs)))
    interval = statistics.pairs_interval(accepted, pairs.probes, pairs.references)
    return Measure(rate, interval or statistics.wilson_interval(rate, people_pairs))


def _people_pairs(pairs: ImpostorPairs) -> int:
    """Counts the pairs of different people."""
    first, second = np.sort(np.stack([pairs.probes, pairs.references]), axis=0)
    return len(np.unique(first * (1 + second.max(initial=0)) + second))


def _accepted(groups: Sequence[np.ndarray], threshold: float) -> Measure | None:
    """Measures how many images of each person are accepted; None where there are none."""
    present = [np.mean(each >= threshold, axis=1, keepdims=True) for each in groups if len(each)]
    return statistics.measure(present, [True])[0] if present else None


def _mean(groups: Sequence[np.ndarray], threshold: float) -> float:
    """Averages over people the fraction that is accepted."""
    return float(np.mean([np.mean(each >= threshold) for each in groups]))
