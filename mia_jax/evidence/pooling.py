"""Several runs as one result: other seeds, and so other people attacked and other trainings.

One run says nothing of other trainings. Here evaluations that differ by their seed alone are put
together, with intervals over people and trainings. In the story this follows the `evaluation`s, and
stands before the tables of a paper or of the docs.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax.evidence import statistics
from mia_jax.evidence.results import (
    AttackFacts,
    DatasetFacts,
    Evaluation,
    Judgement,
    Measure,
    PersonFigures,
    Provenance,
    Rates,
)
from mia_jax.recognizer.training import RecognizerFacts
from mia_jax.runtime.errors import UserError

_GROUPS: Mapping[str, Callable[[PersonFigures], Rates | None]] = {
    "clones": lambda figures: figures.clones,
    "seeds": lambda figures: figures.controls.seeds,
    "mean_face": lambda figures: figures.controls.mean_face,
    "others": lambda figures: figures.controls.others,
    "photographs": lambda figures: figures.photographs,
}


@dataclasses.dataclass(frozen=True)
class PooledRates:
    """How a judge sees one kind of image, over all attacks: people and trainings.

    Attributes:
      rank1: Fraction of the images for which the judge puts the person first.
      median_rank: Median over the attacks of the person's median rank.
      set_rank1: Fraction of the attacks whose images taken together the judge puts first.
      set_tenth: The same for the first tenth of the people whom the judge knows.
      set_rank: Median over the attacks of the person's rank for all images taken together.
      mean_score: The judge's mean score of the person.
      found: Fraction of the images in which the judge finds a face; None where it does not look.
      psnr: To the nearest training photograph, in dB.
      ssim: To the same, in [-1, 1].
    """

    rank1: Measure
    median_rank: float
    set_rank1: Measure
    set_tenth: Measure
    set_rank: float
    mean_score: Measure
    found: Measure | None
    psnr: Measure | None
    ssim: Measure | None


@dataclasses.dataclass(frozen=True)
class PooledJudge:
    """What one judge says of all attacks on people whom it knows.

    Attributes:
      shares: What it has in common with the target.
      classes: Among how many people it chooses.
      attacks: How many attacks it judges: each person in each run.
      people: How many different people those are.
      images: By kind of image: "clones", "seeds", "mean_face", "others", "photographs".
      accepted: By kind of image, and "sets" for a person's clones taken together, the fraction that
        is accepted at 1% false accepts; mean over the runs.
    """

    shares: tuple[str, ...]
    classes: int
    attacks: int
    people: int
    images: Mapping[str, PooledRates]
    accepted: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Line:
    """One attack: a person in a run.

    Attributes:
      run: The run's name.
      person: Who is attacked.
      level: The verdict's.
      p_value: The verdict's.
      training_photographs: How many of the person's photographs trained the target.
      rank1: By judge who knows the person, the fraction of the clones named right first.
      median_rank: By the same, the median rank.
      set_rank: By the same, the rank for all clones taken together.
    """

    run: str
    person: str
    level: str
    p_value: float | None
    training_photographs: int
    rank1: Mapping[str, float]
    median_rank: Mapping[str, float]
    set_rank: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Run:
    """What one evaluation is of.

    Attributes:
      overall_p_value: Its test over all people at once.
      recognizers: By role.
      attack: How the clones were made.
      dataset: The faces.
      provenance: Versions, commit and flags.
    """

    overall_p_value: float | None
    recognizers: Mapping[str, RecognizerFacts]
    attack: AttackFacts
    dataset: DatasetFacts
    provenance: Provenance


@dataclasses.dataclass(frozen=True)
class Pooled:
    """Several runs as one result.

    Attributes:
      runs: The runs by name.
      judges: What each judge says over all of them, by name.
      levels: How many attacks have which verdict.
      attacks: All attacks.
    """

    runs: Mapping[str, Run]
    judges: Mapping[str, PooledJudge]
    levels: Mapping[str, int]
    attacks: tuple[Line, ...]


def pool(evaluations: Mapping[str, Evaluation]) -> Pooled:
    """Puts evaluations together that differ by their seed.

    Args:
      evaluations: By the run's name, one at least.

    Returns:
      The result. Means give every attack the same weight; their intervals are of
      `statistics.crossed_measure`, over people and runs.

    Raises:
      UserError: If two of them are of one seed, or differ in data, recipe or judges.
    """
    _check_alike(evaluations)
    first = next(iter(evaluations.values()))
    attacks = tuple(
        _line(run, name, found) for run, found in evaluations.items() for name in found.people
    )
    levels = [line.level for line in attacks]
    return Pooled(
        runs={
            run: Run(
                overall_p_value=found.conclusion.p_value,
                recognizers=found.recognizers,
                attack=found.attack,
                dataset=found.dataset,
                provenance=found.provenance,
            )
            for run, found in evaluations.items()
        },
        judges={
            judge: _judge([found.judges[judge] for found in evaluations.values()])
            for judge in first.judges
        },
        levels={level: levels.count(level) for level in sorted({*levels})},
        attacks=attacks,
    )


def _check_alike(evaluations: Mapping[str, Evaluation]) -> None:
    """Refuses what cannot be put together."""

    def described(found: Evaluation) -> dict[str, Any]:
        judges = {name: each.classes for name, each in found.judges.items()}
        attack = dataclasses.replace(found.attack, random_seed=0)
        return {"data": found.dataset.name, "recipe": attack, "judges": judges}

    (first, reference), *others = evaluations.items()
    seeds = {reference.attack.random_seed: first}
    for run, found in others:
        for what, value in described(found).items():
            if value != described(reference)[what]:
                raise UserError(f"{run} and {first} differ in {what}: pool runs of one kind")
        same = seeds.setdefault(found.attack.random_seed, run)
        if same != run:
            raise UserError(
                f"{run} and {same} are both of seed {found.attack.random_seed}: pool runs of "
                "different seeds"
            )


def _line(run: str, name: str, found: Evaluation) -> Line:
    """Describes one attack."""
    clones = {
        judge: each.people[name].clones
        for judge, each in found.judges.items()
        if name in each.people
    }
    return Line(
        run=run,
        person=name,
        level=found.verdict[name].level,
        p_value=found.verdict[name].p_value,
        training_photographs=found.people[name].training_photographs,
        rank1={judge: rates.rank1.value for judge, rates in clones.items()},
        median_rank={judge: rates.median_rank for judge, rates in clones.items()},
        set_rank={judge: rates.set_rank for judge, rates in clones.items()},
    )


def _judge(judgements: Sequence[Judgement]) -> PooledJudge:
    """Pools what one judge says in every run."""
    attacks = [
        (run, name, figures)
        for run, judgement in enumerate(judgements)
        for name, figures in judgement.people.items()
    ]
    runs, names = [run for run, _, _ in attacks], [name for _, name, _ in attacks]
    classes = judgements[0].classes

    def images(pick: Callable[[PersonFigures], Rates | None]) -> PooledRates | None:
        rows = [pick(figures) for _, _, figures in attacks]
        kept = [row for row in rows if row is not None]
        if len(kept) < len(rows):
            return None

        def mean(values: Sequence[float], rate: bool = False) -> Measure | None:
            return statistics.crossed_measure(values, runs, names, rate)

        def of(name: str) -> Measure | None:
            found = [getattr(row, name) for row in kept]
            if None in found:
                return None
            return mean([each.value for each in found], rate=name in ("rank1", "found"))

        def within(places: float) -> Any:
            return mean([row.set_rank <= places for row in kept], rate=True)

        certain: Any = {name: of(name) for name in ("rank1", "mean_score")}
        return PooledRates(
            **certain,
            median_rank=float(np.median([row.median_rank for row in kept])),
            set_rank1=within(1),
            set_tenth=within(-(-classes // 10)),
            set_rank=float(np.median([row.set_rank for row in kept])),
            found=of("found"),
            psnr=of("psnr"),
            ssim=of("ssim"),
        )

    found = {group: images(pick) for group, pick in _GROUPS.items()}
    kinds = ("clones", "sets", "seeds", "mean_face", "others", "photographs")
    rates = {kind: [getattr(j.verification[0], kind) for j in judgements] for kind in kinds}
    return PooledJudge(
        shares=judgements[0].shares,
        classes=classes,
        attacks=len(attacks),
        people=len({*names}),
        images={group: each for group, each in found.items() if each},
        accepted={
            kind: float(np.mean([each.value for each in measures]))
            for kind, measures in rates.items()
            if None not in measures
        },
    )
