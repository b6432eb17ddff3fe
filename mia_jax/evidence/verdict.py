"""The verdict for each person: recognizable to strangers, named by relatives only, or nothing.

The end of the evidence. A person is recognizable if the judges that share nothing with the target
rank the person better for the clones than all nulls explain, in two ways that both have to hold:

- The clones taken together come nearer to their person than sets of clones come to anybody at whom
  they were not aimed (`significance.set_p_values`).
- One by one they rank the person better than seeds and than clones aimed at others do
  (`significance.clones_p_value`).

The larger p-value counts, corrected for the number of people by Holm's method.
"""

from collections.abc import Mapping, Sequence

from mia_jax.evidence import results, significance, statistics
from mia_jax.evidence.examination import Examined
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import Judgement, Measure, PersonFigures, Verdict

LEVEL = significance.LEVEL


def verdicts(
    judges: Sequence[Judge],
    seen: Mapping[str, Mapping[str, Examined]],
    judgements: Mapping[str, Judgement],
) -> dict[str, Verdict]:
    """Says for each person what the evidence comes to.

    Args:
      judges: All judges; a stranger knows everybody who is attacked.
      seen: For each judge's name and attacked person whom the judge knows, what the judge saw.
      judgements: What each judge says, by name.

    Returns:
      The verdicts, by person, in the order of the first judge, then of the others.
    """
    strangers = [judge for judge in judges if judge.stranger]
    tested = _tests(strangers, [seen[judge.name] for judge in strangers]) if strangers else {}

    def verdict(name: str) -> Verdict:
        named_by = tuple(
            judge.name
            for judge in judges
            if not judge.stranger
            and name in seen[judge.name]
            and stands_out(judgements[judge.name].people[name], judgements[judge.name].chance.rank1)
        )
        p_value, of_set, of_clones = tested.get(name, (None, None, None))
        level = results.NAMED if named_by else results.NO_EVIDENCE
        if p_value is not None and p_value <= LEVEL:
            level = results.RECOGNIZABLE
        return Verdict(level, p_value, of_set, of_clones, named_by)

    return {
        name: verdict(name) for name in dict.fromkeys(n for view in seen.values() for n in view)
    }


def _tests(
    strangers: Sequence[Judge], views: significance.Views
) -> dict[str, tuple[float, float, float]]:
    """Returns the corrected p-value, and those of the sets and of the clones, by person."""
    of_sets = significance.set_p_values(strangers, views)
    of_clones = {
        name: significance.clones_p_value([view[name] for view in views]) for name in of_sets
    }
    corrected = statistics.holm([max(of_sets[name], of_clones[name]) for name in of_sets])
    return {
        name: (float(p_value), of_sets[name], of_clones[name])
        for name, p_value in zip(of_sets, corrected, strict=True)
    }


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


def _ends(measure: Measure) -> tuple[float, float]:
    """Returns the ends of a rate's interval; of all that is possible where there is none."""
    return measure.interval or (0.0, 1.0)
