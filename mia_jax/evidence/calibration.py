"""What candidate attacks reach on some victims, as tables: by this weights and priors are chosen.

In the story this stands beside `evaluation`, which says everything of one attack; here few figures
are taken of many. `Calibration` is all that `shadows.json` and `target.json` hold.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from mia_jax.evidence import scores, statistics
from mia_jax.evidence.game import JudgeFacts
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import AttackFacts, DatasetFacts, Measure, Provenance
from mia_jax.recognizer.training import RecognizerFacts

SHADOWS, TARGET = "shadows", "target"
FACES = 0.9  # Fraction of the clones in which a face has to be found.


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a judge sees the clones of one person.

    Attributes:
      ranks: The person's rank for each clone, 1 for the best.
      set_rank: The same for all clones together, by the mean of their features.
      deviations: By how many standard deviations of the other people's scores the person's score is
        above their mean, for all clones together.
      found: Whether the judge finds a face in each clone; None for a judge who does not say.
    """

    ranks: tuple[int, ...]
    set_rank: int
    deviations: float
    found: tuple[bool, ...] | None


@dataclasses.dataclass(frozen=True)
class Trial:
    """One candidate on one victim, as it is stored as soon as it is done.

    Attributes:
      attack: How the clones were made.
      weights: Digest of the victim's weights.
      judges: Who looked; of a recognizer the digest too.
      seconds_per_clone: On the device at hand, without the compilation.
      readings: By judge and attacked person.
    """

    attack: AttackFacts
    weights: str
    judges: Mapping[str, str | None]
    seconds_per_clone: float
    readings: Mapping[str, Mapping[str, Reading]]


@dataclasses.dataclass(frozen=True)
class Figures:
    """What a judge says of one candidate on all victims; intervals are over people and victims.

    Attributes:
      attacks: Attacked people whom the judge knows, once for each victim.
      rank1: Fraction of the clones for which the judge puts the person first.
      median_rank: Median over the attacks of the median rank of their clones.
      set_rank1: Fraction of the people put first for all clones together.
      set_median_rank: The median rank for all clones together.
      deviations: Mean of `Reading.deviations`.
      found: Fraction of the clones in which the judge finds a face; None where it does not say.
    """

    attacks: int
    rank1: Measure
    median_rank: Measure
    set_rank1: Measure
    set_median_rank: Measure
    deviations: Measure
    found: Measure | None


@dataclasses.dataclass(frozen=True)
class Row:
    """One candidate.

    Attributes:
      flags: What asks for it on the command line.
      seconds_per_clone: Mean over the victims.
      figures: By judge who knows any of the attacked people.
    """

    flags: str
    seconds_per_clone: float
    figures: Mapping[str, Figures]


@dataclasses.dataclass(frozen=True)
class VictimFacts:
    """Who was attacked.

    Attributes:
      recognizer: What it is.
      auxiliary_photographs: How many the attacker had.
    """

    recognizer: RecognizerFacts
    auxiliary_photographs: int


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The table of all candidates.

    Attributes:
      kind: "shadows", of auxiliary people: these choose; or "target": these only report.
      victims: The attacked recognizers, by name.
      judges: Who looked; whoever shares nothing with the victims is a stranger.
      restarts: Clones of each person.
      rows: By candidate.
      left_out: The candidates that need more faces than there are, or a package.
      choice: The candidate that the shadows advise; None for "target".
      device: Kind of the device that was timed.
      dataset: The faces.
      provenance: Versions, commit and flags.
    """

    kind: str
    victims: Mapping[str, VictimFacts]
    judges: Mapping[str, JudgeFacts]
    restarts: int
    rows: Mapping[str, Row]
    left_out: tuple[str, ...]
    choice: str | None
    device: str
    dataset: DatasetFacts
    provenance: Provenance


def read(judge: Judge, clones: np.ndarray, person: str) -> Reading:
    """Shows a judge the clones of one person.

    Args:
      judge: Who looks.
      clones: `[n, height, width, channels]` in [0, 1].
      person: Whom they are aimed at, whom the judge knows.

    Returns:
      What the judge says.
    """
    place, images = judge.people.index(person), jnp.asarray(clones)
    vectors = np.asarray(judge.features(images))
    together = scores.match(judge, vectors.mean(axis=0, dtype=np.float64))
    return Reading(
        ranks=tuple(statistics.ranks(scores.match(judge, vectors), place).tolist()),
        set_rank=int(statistics.ranks(together[None], place)[0]),
        deviations=deviations(together, place),
        found=None if judge.detect is None else tuple(map(bool, np.asarray(judge.detect(images)))),
    )


def deviations(scored: np.ndarray, place: int) -> float:
    """Says how far one person stands out, in standard deviations of the others.

    Args:
      scored: `[people]`, higher for more like.
      place: The person's.

    Returns:
      The person's score less the mean of the others', over their deviation; 0 where they do not
      deviate, or a score is not finite.
    """
    others = np.delete(scored, place)
    if len(others) < 2 or not np.isfinite(scored).all() or others.std() == 0:
        return 0.0
    return float((scored[place] - others.mean()) / others.std())


def row(flags: str, trials: Sequence[Trial], seed: int) -> Row:
    """Sums up one candidate.

    Args:
      flags: What asks for it.
      trials: On each victim, one or more.
      seed: Of the resampling.

    Returns:
      Its row.
    """
    names = dict.fromkeys(judge for trial in trials for judge in trial.readings)
    found = {
        judge: figures([trial.readings.get(judge, {}) for trial in trials], seed) for judge in names
    }
    return Row(
        flags=flags,
        seconds_per_clone=float(np.mean([trial.seconds_per_clone for trial in trials])),
        figures={judge: each for judge, each in found.items() if each},
    )


def figures(victims: Sequence[Mapping[str, Reading]], seed: int) -> Figures | None:
    """Averages what one judge says over people and victims.

    Args:
      victims: For each, the readings by person.
      seed: Of the resampling.

    Returns:
      The figures; None where the judge knows nobody.
    """
    attacks = [
        (run, name, each) for run, victim in enumerate(victims) for name, each in victim.items()
    ]
    if not attacks:
        return None
    runs, people, readings = (list(column) for column in zip(*attacks, strict=True))

    def mean(figure: Callable[[Reading], float], rate: bool = True) -> Measure:
        measure = statistics.crossed_measure([*map(figure, readings)], runs, people, rate)
        assert measure is not None  # Readings are finite.
        return measure

    def median(figure: Callable[[Reading], float]) -> Measure:
        return statistics.crossed_median([*map(figure, readings)], runs, people, seed)

    says = all(each.found is not None for each in readings)
    return Figures(
        attacks=len(readings),
        rank1=mean(lambda each: float(np.mean(np.array(each.ranks) == 1))),
        median_rank=median(lambda each: float(np.median(each.ranks))),
        set_rank1=mean(lambda each: float(each.set_rank == 1)),
        set_median_rank=median(lambda each: each.set_rank),
        deviations=mean(lambda each: each.deviations, rate=False),
        found=mean(lambda each: float(np.mean(each.found or [False]))) if says else None,
    )


def choose(rows: Mapping[str, Row], strangers: Sequence[str]) -> str:
    """Picks the candidate for which strangers find the right person farthest ahead of others.

    A likeness that nobody takes for a face would be no likeness to people.

    Args:
      rows: The candidates.
      strangers: The judges who share nothing with the victims.

    Returns:
      Of the candidates in whose clones `FACES` or more are found to be faces, by every stranger who
      says, or of all where there is none, the one of the largest `Figures.deviations`, mean over
      the strangers; of equals the first.
    """

    def shows_faces(name: str) -> bool:
        found = [rows[name].figures[judge].found for judge in strangers]
        return all(each is None or each.value >= FACES for each in found)

    def ahead(name: str) -> float:
        return float(np.mean([rows[name].figures[judge].deviations.value for judge in strangers]))

    return max(filter(shows_faces, rows), key=ahead, default=max(rows, key=ahead))
