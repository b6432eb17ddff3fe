"""Tests of several runs put together: weights, intervals over people and trainings, refusals."""

import dataclasses

import binaries
import judged
import numpy as np
import pytest
import scipy.stats

from mia_jax.evidence import pooling, statistics
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError


def run(seed, *rates, **changes):
    found = judged.evaluation(*(judged.judgement(*each) for each in rates or [(0.31, 0.62, 0.93)]))
    attack = dataclasses.replace(found.attack, random_seed=seed)
    return dataclasses.replace(found, attack=attack, **changes)


def test_every_attack_counts_the_same():
    pooled = pooling.pool({"a": run(0, (0.1, 0.2, 0.6)), "b": run(1, (0.3, 0.4, 0.8))})
    judge = pooled.judges["evaluator"]
    assert (judge.attacks, judge.people, judge.classes) == (6, 3, 14)
    assert judge.images["clones"].rank1.value == pytest.approx(0.4)
    assert judge.images["clones"].set_rank1.value == pytest.approx(2 / 6)
    assert judge.images["clones"].set_tenth.value == pytest.approx(2 / 6)  # Two of 14, not three.
    assert judge.images["photographs"].rank1.value == pytest.approx(0.957)
    assert judge.accepted["clones"] == pytest.approx(0.41)
    assert pooled.levels == {"inconclusive": 6}
    line = pooled.attacks[-1]
    assert (line.run, line.person, line.rank1) == ("b", "s12", {"evaluator": 0.8})


def test_a_judge_counts_whom_it_knows():
    found = run(0, (0.1, 0.2, 0.6), (0.1, 0.2, 0.6))
    second = found.judges["evaluator 1"]
    known = dataclasses.replace(second, people={"s12": second.people["s12"]})
    found = dataclasses.replace(found, judges={**found.judges, "evaluator 1": known})
    pooled = pooling.pool({"a": found})
    assert pooled.judges["evaluator 1"].attacks == 1
    assert pooled.judges["evaluator 1"].images["clones"].rank1.value == 0.6
    assert list(pooled.attacks[0].rank1) == ["evaluator"]
    assert list(pooled.attacks[2].rank1) == ["evaluator", "evaluator 1"]


def test_it_is_stored_and_read_again():
    pooled = pooling.pool({"a": run(0), "b": run(1)})
    assert records.from_json(pooling.Pooled, records.to_json(pooled)) == pooled


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (run(0), "b and a are both of seed 0"),
        (run(1, (0.1, 0.2, 0.3), (0.1, 0.2, 0.3)), "b and a differ in judges"),
        (run(1, dataset=dataclasses.replace(run(0).dataset, name="lfw")), "differ in data"),
        (
            dataclasses.replace(
                run(1), attack=dataclasses.replace(run(1).attack, arguments={"auxiliary": "public"})
            ),
            "differ in recipe",
        ),
    ],
)
def test_what_is_not_alike_is_refused(other, words):
    with pytest.raises(UserError, match=words):
        pooling.pool({"a": run(0), "b": other})


def test_the_interval_grows_with_what_runs_or_people_have_in_common():
    rng = np.random.default_rng(0)
    runs, people = np.repeat(np.arange(6), 20), np.tile([f"p{i}" for i in range(20)], 6)

    def width(of_run, of_person):
        values = of_run * rng.normal(size=6)[runs] + of_person * np.tile(rng.normal(size=20), 6)
        values = values + 0.1 * rng.normal(size=120)
        low, high = statistics.crossed_measure(values, runs, people, False).interval
        return high - low

    independent = width(0, 0)
    assert width(1, 0) > 10 * independent
    assert width(0, 1) > 10 * independent


def test_one_run_alone_is_students_interval_over_people():
    values = np.random.default_rng(0).normal(size=40)
    people = [f"p{i}" for i in range(40)]
    found = statistics.crossed_measure(values, np.zeros(40, int), people, False)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval()
    assert found.interval == pytest.approx((expected.low, expected.high))


def test_copies_of_a_person_tell_nothing_new():
    values = [1.0, 0.0, 1.0, 0.3, 0.0, 1.0]
    once = statistics.crossed_interval(values, ([*"abcdef"], [0] * 6))
    often = statistics.crossed_interval(values * 5, ([*"abcdef"] * 5, [0] * 30))
    assert often == pytest.approx(once)


@pytest.mark.parametrize("count", [5, 14])
@pytest.mark.parametrize("runs", [1, 3])
def test_intervals_of_rates_cover_though_clusters_are_few(count, runs):
    """The percentile bootstrap covered 0.76 to 0.90 here."""
    rng, covered = np.random.default_rng(count + runs), 0
    people, run = np.tile(np.arange(count), runs), np.repeat(np.arange(runs), count)

    def draw(people, run):
        spread = 0.3 if runs > 1 else 0
        logits = rng.normal(size=people.max() + 1)[people] - 1
        logits += spread * rng.normal(size=run.max() + 1)[run] + 0.7 * rng.normal(size=len(people))
        return 1 / (1 + np.exp(-2 * logits))

    many = np.arange(200_000)
    truth = draw(many, many).mean()
    for _ in range(400):
        low, high = statistics.crossed_interval(draw(people, run), (people, run), True)
        covered += 0 <= low <= truth <= high <= 1
    assert covered / 400 > 0.87


def test_where_all_are_alike_a_rate_gets_wilsons_interval_of_the_people():
    found = statistics.crossed_measure([1, 1, 1], [0, 0, 1], ["a", "b", "a"], True)
    assert found.interval == statistics.wilson_interval(1, 2)
    assert statistics.crossed_measure([2, 2], [0, 1], ["a", "b"], False).interval is None
    assert statistics.crossed_measure([2, np.nan], [0, 1], ["a", "b"], False) is None


def test_the_binary_pools_work_directories(tmp_path):
    for seed in range(2):
        records.write(tmp_path / f"run{seed}" / "evaluation.json", run(seed))

    def pool(*runs):
        flags = [f"--runs={','.join(map(str, runs))}", f"--output={tmp_path / 'pooled.json'}"]
        return binaries.run("pool", *flags)

    assert pool(tmp_path / "run0", tmp_path / "run1").returncode == 0
    pooled = records.read(tmp_path / "pooled.json", pooling.Pooled)
    assert list(pooled.runs) == ["run0", "run1"]
    missing = pool(tmp_path / "run0", tmp_path / "run7")
    assert missing.returncode and "run7" in missing.stderr and "Traceback" not in missing.stderr
