"""Many methods on the same people by the same judges: the table that the paper stands in.

Each method is an `Attempt`, stored as soon as it is done; `table` puts attempts, and the null rows
that need no attack, side by side. `Comparison` is all that `comparison.json` holds.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
import scipy.spatial.distance

from mia_jax.evidence import calibration, statistics
from mia_jax.evidence.calibration import Figures, Reading
from mia_jax.evidence.game import JudgeFacts
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import AttackFacts, DatasetFacts, Measure, Provenance

# The null rows. The last is only for who knows a part of a photograph: it shows most of the person.
MEAN_FACE, SEEDS, OTHERS = "mean face", "seeds, not attacked", "clones of others"
KNOWN_PART = "known part around the mean face"


@dataclasses.dataclass(frozen=True)
class Looks:
    """How the judges see one image group of each person, and how it lies to the truth.

    Attributes:
      readings: By judge and person.
      diversity: By person, how far clones are from one another, over how far photographs are, by
        the first judge; empty where there are no two images.
      hidden_error: By person, the root mean square error in gray levels within eyes, nose and
        mouth, against a photograph that trained nothing; mean over the images.
    """

    readings: Mapping[str, Mapping[str, Reading]]
    diversity: Mapping[str, float]
    hidden_error: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One method on everybody.

    Attributes:
      attack: How the clones were made.
      scenario: In which scenario.
      needs: What the attacker needs, in words.
      weights: Digest of the target's weights.
      queries: Images that the target was shown for a person, mean over the people.
      shared_queries: Those that serve everybody.
      agreement: Where a copy is attacked, the share of images, asked about but held out from its
        training, that it names as the target does; else None.
      gradients: Updates of all restarts of a person, mean over the people.
      seconds: All in all, the compilation too.
      looks: What came out.
    """

    attack: AttackFacts
    scenario: str
    needs: str
    weights: str
    queries: float
    shared_queries: int
    agreement: float | None
    gradients: float
    seconds: float
    looks: Looks


@dataclasses.dataclass(frozen=True)
class Grounds:
    """What attempts are held against: looked at once, and stored.

    Attributes:
      nulls: What is reached without attacking the person, by the name of the null row.
      ceiling: Photographs that trained nothing.
    """

    nulls: Mapping[str, Looks]
    ceiling: Looks


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; what a null row has not is None.

    Attributes:
      scenario: As in `Attempt`.
      needs: As in `Attempt`.
      queries: As in `Attempt`.
      shared_queries: As in `Attempt`.
      agreement: As in `Attempt`.
      gradients: As in `Attempt`.
      seconds: As in `Attempt`.
      figures: By judge who knows any of the people.
      diversity: Mean over the people.
      hidden_error: Mean over the people.
    """

    scenario: str | None
    needs: str | None
    queries: float | None
    shared_queries: int | None
    agreement: float | None
    gradients: float | None
    seconds: float | None
    figures: Mapping[str, Figures]
    diversity: Measure | None
    hidden_error: Measure | None

    @property
    def knows_a_part(self) -> bool:
        """Whether the attacker knows a part of a photograph of the person."""
        return self.scenario == "white_box"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The whole table.

    Attributes:
      people: Who was attacked.
      restarts: Clones of each, by every method.
      judges: Who looked, strangers first.
      nulls: What is reached without attacking the person, by name.
      ceiling: Photographs that trained nothing.
      rows: The methods, by name.
      left_out: Those that could not be tried, with the reason.
      device: Kind of the device that was timed.
      dataset: The faces.
      provenance: Versions, commit and flags.
    """

    people: tuple[str, ...]
    restarts: int
    judges: Mapping[str, JudgeFacts]
    nulls: Mapping[str, Row]
    ceiling: Row
    rows: Mapping[str, Row]
    left_out: Mapping[str, str]
    device: str
    dataset: DatasetFacts
    provenance: Provenance


def look(
    judges: Sequence[Judge],
    images: Mapping[str, np.ndarray],
    apart: Mapping[str, float],
    truth: Mapping[str, np.ndarray],
    hidden: np.ndarray,
) -> Looks:
    """Shows images of everybody to all judges.

    Args:
      judges: Who looks; the first says how diverse they are.
      images: By person, `[n, height, width, channels]` in [0, 1].
      apart: By person, the `spread` of real photographs in that judge's features.
      truth: By person, the photograph `[height, width, channels]` that trained nothing.
      hidden: `[height, width, 1]` booleans: eyes, nose and mouth.

    Returns:
      What came out.
    """
    readings = {
        judge.name: {
            name: calibration.read(judge, each, name)
            for name, each in images.items()
            if name in judge.people
        }
        for judge in judges
    }
    spreads = {name: spread(judges[0], each) for name, each in images.items()}
    return Looks(
        readings=readings,
        diversity={
            name: own / apart[name]
            for name, own in spreads.items()
            if own is not None and apart.get(name)
        },
        hidden_error={name: error(each, truth[name], hidden) for name, each in images.items()},
    )


def spread(judge: Judge, images: np.ndarray) -> float | None:
    """Returns the mean distance between the features of two images; None where there are no two.

    Args:
      judge: Who looks.
      images: `[n, height, width, channels]` in [0, 1].
    """
    if len(images) < 2:
        return None
    return float(
        np.mean(scipy.spatial.distance.pdist(np.asarray(judge.features(jnp.asarray(images)))))
    )


def error(images: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Returns the root mean square error of the gray levels in a region, mean over the images.

    Args:
      images: `[n, height, width, channels]` in [0, 1].
      truth: `[height, width, channels]` in [0, 1].
      where: `[height, width, 1]` booleans.
    """
    region = np.broadcast_to(where, truth.shape)
    apart = np.asarray(images, np.float64)[:, region] - truth[region]
    return float(np.mean(np.sqrt(np.mean(apart**2, axis=1))))


def row(looks: Looks, attempt: Attempt | None, seed: int) -> Row:
    """Sums up one line, with intervals over the people.

    Args:
      looks: What was seen.
      attempt: The method; None for a null row.
      seed: Of the resampling.

    Returns:
      The line.
    """
    figures = {
        judge: calibration.figures([readings], seed) for judge, readings in looks.readings.items()
    }
    costs = (
        *("scenario", "needs", "queries", "shared_queries", "agreement", "gradients", "seconds"),
    )
    return Row(
        **{name: getattr(attempt, name, None) for name in costs},
        figures={judge: each for judge, each in figures.items() if each},
        diversity=_over_people(looks.diversity),
        hidden_error=_over_people(looks.hidden_error),
    )


def winners(found: Comparison, judge: str) -> dict[str, str | None]:
    """Says which method wins under each threat model, by one judge.

    Args:
      found: The comparison.
      judge: Whose word counts.

    Returns:
      By what the attacker needs, the method of the best mean rank-1 whose interval lies above
      every null row's rank-1; None where there is none. `KNOWN_PART` is a null row of the white
      box alone.
    """
    bars = {name: row.figures[judge].rank1.value for name, row in found.nulls.items()}
    best: dict[str, str | None] = {}
    for name, row in found.rows.items():
        measure = row.figures[judge].rank1
        assert row.needs is not None
        leader = best.setdefault(row.needs, None)
        bar = max(bars[null] for null in bars if null != KNOWN_PART or row.knows_a_part)
        beats = measure.interval is not None and measure.interval[0] > bar
        if beats and (
            leader is None or measure.value > found.rows[leader].figures[judge].rank1.value
        ):
            best[row.needs] = name
    return best


def _over_people(values: Mapping[str, float]) -> Measure | None:
    """Averages over people."""
    if not values:
        return None
    numbers = list(values.values())
    return statistics.crossed_measure(numbers, [0] * len(numbers), list(values), False)
