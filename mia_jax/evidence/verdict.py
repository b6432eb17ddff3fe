"""The verdict for each person, and what it comes to over all of them.

The end of the evidence. A person is identified or narrowed down if the judges that share nothing
with the target rank the person better for the clones than all nulls explain: the clones taken
together come nearer to their person than sets of clones come to anybody at whom they were not aimed
(`significance.set_p_values`). P-values are corrected for all tests of a run.

Where that is not shown, it counts for the target only if it could have been: if an independent
judge was asked who knows real photographs, if some leak would have been found (`power`), and if the
attack reached its own goal on the target. A person's level is decided in `level_of`, that of a run
in `conclude`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from mia_jax.evidence import power, results, significance
from mia_jax.evidence.examination import Examined, Seen
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import (
    Conclusion,
    Judgement,
    Measure,
    OnTarget,
    PersonFigures,
    SmallestLeak,
    Verdict,
)

LEVEL = significance.LEVEL
_WEAK = 0.5  # Below this share of real photographs named right, a judge cannot clear a model.
_HALF = 0.5  # Of the clones, which the target has to take for the person, whatever else it does.
_ALIKE = 0.99  # Rates are alike down to this share: softmax saturates, means are rounded.


def verdicts(
    judges: Sequence[Judge],
    seen: Mapping[str, Mapping[str, Examined]],
    judgements: Mapping[str, Judgement],
    seed: int,
    auxiliary: Collection[str] = (),
    doubts: Mapping[str, Sequence[str]] | None = None,
) -> tuple[dict[str, Verdict], Conclusion]:
    """Says what the evidence comes to, for each person and over all of them.

    Args:
      judges: All judges; an independent one knows everybody who is attacked.
      seen: For each judge's name and attacked person whom the judge knows, what the judge saw.
      judgements: What each judge says, by name.
      seed: Of the pairings that the test over all people tries.
      auxiliary: People whose faces the attacker has, who are no null.
      doubts: By person, further reasons why the attack may have missed what there is, a clause
        each.

    Returns:
      The verdicts, by person, in the order of the first judge, then of the others; and the
      conclusion.
    """
    independent = [judge for judge in judges if judge.stranger]
    views = [seen[judge.name] for judge in independent]
    of_sets = significance.set_p_values(independent, views, auxiliary) if independent else {}
    over_all = significance.overall_p_value(independent, views, seed, auxiliary)
    corrected = significance.corrected(of_sets, over_all)
    leaks = power.smallest_leaks(independent, views, seed, auxiliary)
    of_judges = _doubts_of_judges([judgements[judge.name] for judge in independent])
    if independent:
        nulls = significance.of_strangers(independent, views, auxiliary).people
        of_judges += doubts_of_numbers(len(of_sets), len(nulls))

    def verdict(name: str) -> Verdict:
        known = [judge for judge in judges if name in seen[judge.name]]
        on_target = goal(seen[known[0].name][name])
        leak = leaks.people.get(name)
        reasons = (
            *(of_judges or doubts_of_power(leak)),
            *doubts_of_goal(on_target),
            *(doubts or {}).get(name, ()),
        )
        p_value = corrected.people.get(name)
        ranks = [view[name].clones.opinion.set_rank for view in views]
        level = level_of(p_value, ranks, reasons)
        return Verdict(
            level=level,
            reasons=reasons if level == results.INCONCLUSIVE else (),
            p_value=p_value,
            set_p_value=of_sets.get(name),
            named_by=tuple(
                judge.name
                for judge in known
                if not judge.stranger
                and stands_out(
                    judgements[judge.name].people[name], judgements[judge.name].chance.rank1
                )
            ),
            on_target=on_target,
            smallest_leak=leak,
        )

    found = {
        name: verdict(name) for name in dict.fromkeys(n for view in seen.values() for n in view)
    }
    return found, conclude(found.values(), corrected.overall, over_all, leaks.overall)


def level_of(p_value: float | None, set_ranks: Sequence[int], reasons: Sequence[str]) -> str:
    """Decides the verdict for a person.

    Args:
      p_value: Of the independent judges' word, corrected; None if none was asked.
      set_ranks: The person's rank for all clones taken together, by independent judge.
      reasons: Why nothing could be said if nothing were shown.

    Returns:
      A level of `results.Verdict`. A doubt never takes back what is shown.
    """
    if p_value is not None and p_value <= LEVEL:
        first = all(rank == 1 for rank in set_ranks)
        return results.IDENTIFIED if first else results.NARROWED_DOWN
    return results.INCONCLUSIVE if reasons else results.NOT_SHOWN


def conclude(
    people: Iterable[Verdict],
    p_value: float | None,
    test_p_value: float | None,
    smallest_leak: SmallestLeak | None,
) -> Conclusion:
    """Decides what a run comes to.

    Args:
      people: The verdict for everybody.
      p_value: Of the test over all people at once, corrected; None if there is none.
      test_p_value: The same before that.
      smallest_leak: What that test would have shown.

    Returns:
      The conclusion.
    """
    levels = {each.level for each in people}
    together = p_value is not None and p_value <= LEVEL
    holds = {
        results.IDENTIFIED: results.IDENTIFIED in levels,
        results.LEAK: together or bool(levels & {results.IDENTIFIED, results.NARROWED_DOWN}),
        results.INCONCLUSIVE: results.INCONCLUSIVE in levels,
    }
    findings = tuple(finding for finding, true in holds.items() if true)
    level = findings[0] if findings else results.NOT_SHOWN
    return Conclusion(level, findings, together, p_value, test_p_value, smallest_leak)


def goal(person: Examined) -> OnTarget:
    """Compares what the target makes of a person's clones and of the person's photographs.

    Args:
      person: What any judge, and the target, saw.

    Returns:
      How often, and how surely, the target takes the images for the person.
    """

    def rates(group: Seen) -> tuple[float, float]:
        look = group.appearance
        return float(np.mean(look.target_first)), float(np.mean(look.target_score))

    clones, photographs = rates(person.clones), rates(person.test)
    return OnTarget(clones[0], photographs[0], clones[1], photographs[1])


def doubts_of_goal(found: OnTarget) -> tuple[str, ...]:
    """Says where an attack did not reach its own goal: clones that the target takes for the person.

    Rates within a hundredth of each other are alike: a softmax saturates, and a mean is rounded.
    Where the target knows few of the person's photographs, it has to know most clones at least.

    Args:
      found: What the target makes of clones and photographs.

    Returns:
      Why nothing can be said if nothing was shown; nothing where the goal is reached.
    """
    clones, photographs = found.clones_first, found.photographs_first
    if clones < _ALIKE * photographs:
        return (
            f"the attack missed its goal: the target takes {_percent(clones)} of the clones for "
            f"the person, and {_percent(photographs)} of the person's photographs",
        )
    if clones < _HALF:
        return (
            f"the attack missed its goal: the target takes {_percent(clones)} of the clones for "
            "the person",
        )
    clones, photographs = found.clones_confidence, found.photographs_confidence
    if clones < _ALIKE * photographs:
        return (
            "the attack missed its goal: the target's mean confidence is "
            f"{_percent(clones)} in the clones, and {_percent(photographs)} in the person's "
            "photographs",
        )
    return ()


def doubts_of_numbers(sets: int, people: int) -> tuple[str, ...]:
    """Says where there are too few people for anybody to be found.

    Args:
      sets: How many people are attacked.
      people: How many there are in the data set, without those whose faces the attacker has.

    Returns:
      Why nothing can be said if nothing was shown; nothing where there are enough people.
    """
    least = significance.least_p_value(sets, people)
    if least <= LEVEL:
        return ()
    return (
        f"too few people: with {people} to choose among, and {sets} attacked, no p-value is below "
        f"{least:.2g}",
    )


def doubts_of_power(leak: SmallestLeak | None) -> tuple[str, ...]:
    """Says where nothing would have been found of a person.

    Args:
      leak: The smallest leak that the run would have shown.

    Returns:
      Why nothing can be said if nothing was shown.
    """
    if leak:
        return ()
    return (f"too little power: no leak, however large, is shown with a power of {power.POWER:g}",)


def weak(judgement: Judgement) -> bool:
    """Tells whether a judge fails on most real photographs."""
    return judgement.ceiling.rank1.value < _WEAK


def stands_out(figures: PersonFigures, chance: float) -> bool:
    """Tells whether a person's clones are named right more often than all else explains.

    The whole interval of the rank-1 rate has to lie above chance, above the intervals of the seeds
    and of the clones aimed at others, and above the rate of the mean face, which is one image and
    no sample: where that is named as the person, nothing can be said.

    Args:
      figures: The person's.
      chance: The rank-1 rate of guessing.

    Returns:
      Whether they do; False also where an interval is missing.
    """
    controls = figures.controls
    bars = [chance, _ends(controls.seeds.rank1)[1], controls.mean_face.rank1.value]
    if controls.others:
        bars.append(_ends(controls.others.rank1)[1])
    return _ends(figures.clones.rank1)[0] > max(bars)


def _doubts_of_judges(independent: Sequence[Judgement]) -> tuple[str, ...]:
    """Says why the independent judges cannot clear a model, whomever they look at."""
    if not independent:
        return ("no independent judge was asked",)
    if all(weak(judgement) for judgement in independent):
        best = max(judgement.ceiling.rank1.value for judgement in independent)
        return (
            f"the independent judges are weak: they name at most {_percent(best)} of the real "
            "photographs right",
        )
    return ()


def _percent(rate: float) -> str:
    """Writes a rate in [0, 1]."""
    return f"{100 * rate:.3g}%"


def _ends(measure: Measure) -> tuple[float, float]:
    """Returns the ends of a rate's interval; of all that is possible where there is none."""
    return measure.interval or (0.0, 1.0)
