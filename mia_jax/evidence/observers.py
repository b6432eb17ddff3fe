"""From observers' answers to figures: the paper's Table 3, with intervals, controls and tests.

Every answer becomes a number in [0, 1] for a person, whatever the quiz: 1 if it names the person
and 0 if not, or the similarity over 100. In the recognition quiz, an answer to a picture that was
aimed at nobody, or at somebody else, is such a number for every person whom it was not aimed at:
how often that person is named without a leak. So both quizzes are scored alike.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import krippendorff
import numpy as np
import scipy.stats

from mia_jax.evidence import statistics, study
from mia_jax.evidence.results import Measure
from mia_jax.evidence.study import (
    Answers,
    Asked,
    Compared,
    Difference,
    Figures,
    Quiz,
    Recognized,
    Row,
    Rule,
    Study,
)
from mia_jax.runtime.errors import UserError

_FLIPS = 9999  # Of signs, drawn where there are too many to try all.


@dataclasses.dataclass(frozen=True)
class _Values:
    """The answers to pictures of one kind as numbers, each for one person.

    Attributes:
      observers: `[n]` numbers.
      people: `[n]` places among the people.
      items: `[n]` names.
      values: `[n]` in [0, 1].
    """

    observers: np.ndarray
    people: np.ndarray
    items: np.ndarray
    values: np.ndarray

    def of(self, person: int) -> "_Values":
        """Returns the values for one person."""
        mine = self.people == person
        columns = (self.observers, self.people, self.items, self.values)
        return _Values(*(column[mine] for column in columns))

    def means(self, observers: np.ndarray, people: int) -> np.ndarray:
        """Returns `[observers, people]`: each observer's mean for each person."""
        place = np.searchsorted(observers, self.observers), self.people
        total, count = np.zeros((2, len(observers), people))
        np.add.at(total, place, self.values)
        np.add.at(count, place, 1)
        if not count.all():
            raise UserError("each person needs pictures of every kind, clones and all controls")
        return total / count


Kinds = Mapping[str, _Values]


def score(answers: Answers, seed: int, judges: Mapping[str, Asked] | None = None) -> Study:
    """Scores what observers answered.

    Args:
      answers: All answers, each observer's and item's once.
      seed: Of the resampling.
      judges: What judges said to panels, by name.

    Returns:
      The figures.

    Raises:
      UserError: If an item was answered twice by one observer, there are fewer than two people, or
        an item's kind, person or answer does not exist.
    """
    _check(answers)
    failed = failed_checks(answers)
    everybody = {row.observer for row in answers.rows}
    excluded = {each for each in everybody if failed.get(each, 0) > answers.rule.most_failed}

    def quiz(name: str, rows: Sequence[Row]) -> Quiz | None:
        count = collections.Counter(row.observer for row in rows if row.observer not in excluded)
        whole = {observer for observer in count if count[observer] == answers.items[name]}
        taken = [row for row in rows if row.observer in whole]
        return _score(taken, answers.people, len(count) - len(whole), seed) if whole else None

    return Study(
        plan=answers.plan,
        simulated=answers.simulated,
        began=len(everybody),
        excluded=len(excluded),
        rule=answers.rule,
        recognition=quiz(study.RECOGNITION, answers.recognition),
        similarity=quiz(study.SIMILARITY, answers.similarity),
        judges=judges or {},
    )


def _score(rows: Sequence[Row], people: Sequence[str], incomplete: int, seed: int) -> Quiz:
    """Scores one quiz by the answers of those who count."""
    kinds = _numbers(rows, people)
    missing = [kind for kind in (study.CLONE, *study.NULLS, study.PHOTOGRAPH) if kind not in kinds]
    if missing:
        raise UserError(f"there is no answer to a picture of the kind {missing[0]!r}")
    undecided = [
        row.named is None for row in rows if isinstance(row, Recognized) and row.kind == study.CLONE
    ]
    overall, alone = _figures(kinds, people, bool(undecided), seed)
    return Quiz(
        observers=len({row.observer for row in rows}),
        incomplete=incomplete,
        chance=1 / len(people) if undecided else None,
        overall=overall,
        people=alone,
        alpha=_alpha(rows, bool(undecided)),
        undecided=float(np.mean(undecided)) if undecided else None,
    )


def failed_checks(answers: Answers) -> dict[int, int]:
    """Counts the attention checks that observers failed.

    Args:
      answers: All answers.

    Returns:
      By observer, of those who failed one at least.
    """
    failed: dict[int, int] = {}
    for row in answers.rows:
        if row.kind == study.CHECK and not _attentive(row, answers.rule):
            failed[row.observer] = failed.get(row.observer, 0) + 1
    return failed


def _attentive(row: Row, rule: Rule) -> bool:
    """Tells whether an answer passes the attention check that was asked."""
    if isinstance(row, Recognized):
        return row.named == row.person
    return row.similarity >= rule.least_similarity


def _check(answers: Answers) -> None:
    """Refuses answers that cannot have been given."""
    people = {*answers.people}
    if len(people) < 2 or len(people) < len(answers.people):
        raise UserError(f"people={list(answers.people)}: two are needed at least, each once")
    kinds = {study.CLONE, study.SEED, study.MEAN_FACE, study.PHOTOGRAPH, study.CHECK}
    aimed = {study.CLONE, study.PHOTOGRAPH, study.CHECK}
    seen: set[tuple[str, int, str]] = set()

    def refuse(quiz: str, row: Row, known: bool) -> None:
        name = (quiz, row.observer, row.item)
        if not known:
            raise UserError(f"{quiz}: {row} is no possible answer")
        if name in seen:
            raise UserError(f"{quiz}: observer {row.observer} answered {row.item} twice")
        seen.add(name)

    for row in answers.recognition:
        to_whom = row.person in people if row.kind in aimed else row.person is None
        named = row.named is None or row.named in people
        refuse(study.RECOGNITION, row, row.kind in kinds and to_whom and named)
    for other in answers.similarity:
        scale = 0 <= other.similarity <= 100
        known = other.kind in {*kinds, study.OTHERS} and other.person in people and scale
        refuse(study.SIMILARITY, other, known)


def _numbers(rows: Sequence[Row], people: Sequence[str]) -> Kinds:
    """Turns answers into numbers, by kind; see the head of this module."""
    found: dict[str, list[tuple[int, int, str, float]]] = {}
    for row in rows:
        if row.kind == study.CHECK:
            continue
        for place, person in enumerate(people):
            kind: str | None = row.kind
            if row.person is not None and person != row.person:
                named = isinstance(row, Recognized) and kind == study.CLONE
                kind = study.OTHERS if named else None
            if kind:
                number = (row.observer, place, row.item, _value(row, person))
                found.setdefault(kind, []).append(number)
    return {
        kind: _Values(*(np.array(column) for column in zip(*numbers, strict=True)))
        for kind, numbers in found.items()
    }


def _value(row: Row, person: str) -> float:
    """Returns an answer as a number for a person."""
    return row.similarity / 100 if isinstance(row, Compared) else float(row.named == person)


def _figures(
    kinds: Kinds, people: Sequence[str], rate: bool, seed: int
) -> tuple[Figures, dict[str, Figures]]:
    """Returns the figures of all people, and of each."""
    observers = np.unique(kinds[study.CLONE].observers)
    means = {kind: values.means(observers, len(people)) for kind, values in kinds.items()}
    alone = [
        _of_group(
            {kind: values.of(place) for kind, values in kinds.items()},
            {kind: mean[:, [place]] for kind, mean in means.items()},
            *(rate, seed),
        )
        for place in range(len(people))
    ]
    corrected = statistics.holm([figures.p_value for figures in alone])
    each = {
        name: dataclasses.replace(figures, p_value=float(p_value))
        for name, figures, p_value in zip(people, alone, corrected, strict=True)
    }
    return _of_group(kinds, means, rate, seed), each


def _of_group(kinds: Kinds, means: Mapping[str, np.ndarray], rate: bool, seed: int) -> Figures:
    """Returns the figures of some people: their values, and each observer's means for each."""
    differences = {
        kind: _difference(means[study.CLONE] - means[kind], seed) for kind in study.NULLS
    }
    tests = [
        p_value
        for each in differences.values()
        for p_value in (each.p_observers, each.p_people)
        if p_value is not None
    ]
    nulls = np.concatenate([kinds[kind].values for kind in study.NULLS])
    perceived = _rates_apart if rate else _ratings_apart

    def mean(kind: str) -> Measure:
        return _mean(kinds[kind], means[kind], rate)

    return Figures(
        clones=mean(study.CLONE),
        seeds=mean(study.SEED),
        mean_face=mean(study.MEAN_FACE),
        others=mean(study.OTHERS),
        photographs=mean(study.PHOTOGRAPH),
        d_prime=perceived(kinds[study.CLONE].values, nulls),
        differences=differences,
        p_value=max(tests),
    )


def _mean(found: _Values, means: np.ndarray, rate: bool) -> Measure:
    """Averages values, with an interval over observers, and over people, or one person's items."""
    if means.shape[1] == 1:
        return _measure(found.values, (found.observers, found.items), rate)
    # All observers answer the same: the mean of their means is the mean, and is faster to resample.
    observers, people = np.indices(means.shape)
    return _measure(means.ravel(), (observers.ravel(), people.ravel()), rate)


def _measure(values: np.ndarray, clusters: tuple[np.ndarray, np.ndarray], rate: bool) -> Measure:
    """Averages values of crossed clusters; the interval of rates that are all alike is Wilson's."""
    mean = float(values.mean())
    interval = statistics.crossed_interval(values, [list(each) for each in clusters], rate)
    if interval is None and rate and mean in (0, 1):
        interval = statistics.wilson_interval(mean, len(np.unique(clusters[0])))
    return Measure(mean, interval)


def _difference(apart: np.ndarray, seed: int) -> Difference:
    """Tests differences, `[observers, people]`, over the ones and over the others.

    Source: signs change as in R. A. Fisher, "The design of experiments", 1935, section 21; by
    observers and by items as in H. Clark, "The language-as-fixed-effect fallacy", 1973.
    """
    observers, people = np.indices(apart.shape)
    value = _measure(apart.ravel(), (observers.ravel(), people.ravel()), False)
    several = apart.shape[1] > 1
    return Difference(
        value=value,
        p_observers=_sign_test(apart.mean(axis=1), seed),
        p_people=_sign_test(apart.mean(axis=0), seed) if several else None,
    )


def _sign_test(apart: np.ndarray, seed: int) -> float:
    """Returns how often the mean is as large when signs change by chance; of few, all are tried."""
    count = len(apart)
    if 2**count <= _FLIPS:
        positive = np.arange(2**count)[:, None] >> np.arange(count) & 1
    else:
        # The differences as they are count as one of the draws.
        drawn = np.random.default_rng(seed).integers(0, 2, (_FLIPS, count), np.int8)
        positive = np.concatenate([np.ones((1, count), drawn.dtype), drawn])
    sums = (2.0 * positive - 1) @ apart
    return float(np.mean(sums >= apart.sum() - 1e-9))


def _rates_apart(hits: np.ndarray, false_alarms: np.ndarray) -> float:
    """Returns d' of naming a person: z(hits) - z(false alarms), half an answer added to each side.

    Source: D. Green and J. Swets, "Signal detection theory and psychophysics", 1966; M. Hautus,
    "Corrections for extreme proportions and their biasing effects on estimated values of d'", 1995.
    """
    rates = [(each.sum() + 0.5) / (len(each) + 1) for each in (hits, false_alarms)]
    one, other = scipy.stats.norm.ppf(rates)
    return float(one - other)


def _ratings_apart(signal: np.ndarray, noise: np.ndarray) -> float | None:
    """Returns d_a of ratings: the distance of the means in root mean square deviations.

    Source: A. Simpson and M. Fitter, "What is the best index of detectability?", 1973.
    """
    spread = np.sqrt((signal.var() + noise.var()) / 2)
    return float((signal.mean() - noise.mean()) / spread) if spread > 0 else None


def _alpha(rows: Sequence[Row], rate: bool) -> float | None:
    """Returns Krippendorff's alpha of the answers to all items but checks.

    Source: K. Krippendorff, "Content analysis", 2004, chapter 11.
    """
    shown = [row for row in rows if row.kind != study.CHECK]
    given = [row.similarity if isinstance(row, Compared) else row.named or "" for row in shown]
    _, codes = np.unique(np.array(given), return_inverse=True)
    observers, observer = np.unique([row.observer for row in shown], return_inverse=True)
    items, item = np.unique([row.item for row in shown], return_inverse=True)
    if len(observers) < 2 or codes.max() == 0:
        return None
    table = np.full((len(observers), len(items)), np.nan)
    table[observer, item] = codes if rate else given
    scale: Literal["nominal", "interval"] = "nominal" if rate else "interval"
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement=scale))
