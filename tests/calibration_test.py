"""Tests of the figures and the table of the calibration, by hand."""

import numpy as np
import pytest
from game_test import image, pixels

from mia_jax.evidence import calibration
from mia_jax.evidence.calibration import Calibration, Reading, Trial, VictimFacts
from mia_jax.evidence.game import JudgeFacts
from mia_jax.evidence.results import AttackFacts, DatasetFacts, Measure, Provenance
from mia_jax.recognizer.training import RecognizerFacts, Settings
from mia_jax.report import calibration as report
from mia_jax.runtime import records

NAN = float("nan")


def reading(*ranks, set_rank=1, deviations=1.0, found=None):
    return Reading(ranks, set_rank, deviations, found)


def trial(seconds=1.0, **readings):
    facts = AttackFacts("best", {"loss": "max_margin", "prior": 1.0}, 2, 0, 1, 60)
    return Trial(facts, "abc", {"dlib": None}, seconds, readings)


def test_what_a_judge_says_of_the_clones_of_one_person():
    clones = np.stack([image(0.9, 0.1, 0.2), image(0.3, 0.6, 0.2)])
    found = calibration.read(pixels(), clones, "ann")
    assert (found.ranks, found.set_rank, found.found) == ((1, 2), 1, None)
    # Together 0.6, 0.35 and 0.2: 0.325 above the mean of two that deviate by 0.075.
    assert found.deviations == pytest.approx(0.325 / 0.075, rel=1e-5)
    looking = pixels()._replace(detect=lambda images: images[:, 0, 0, 0] > 0.5)
    assert calibration.read(looking, clones, "eve").found == (True, False)


@pytest.mark.parametrize(
    ("scored", "expected"),
    [
        ([2.0, 1.0, 3.0], 0.0),
        ([5.0, 1.0, 3.0], 3.0),
        ([-4.0, 1.0, 3.0], -6.0),
        ([5.0, 1.0, 1.0], 0.0),
        ([5.0, 1.0], 0.0),
        ([5.0], 0.0),
        ([NAN, 1.0, 3.0], 0.0),
        ([5.0, NAN, 3.0], 0.0),
    ],
)
def test_deviations_of_the_others(scored, expected):
    assert calibration.deviations(np.array(scored), 0) == expected


def test_figures_average_people_of_all_victims():
    first = {
        "ann": reading(1, 3, set_rank=1, deviations=2.0, found=(True, False)),
        "bob": reading(4, 6, set_rank=5, deviations=-1.0, found=(True, True)),
    }
    second = {"ann": reading(1, 1, set_rank=3, deviations=5.0, found=(False, False))}
    found = calibration.figures([first, second], seed=0)
    assert found.attacks == 3
    assert found.rank1.value == pytest.approx((0.5 + 0 + 1) / 3)
    assert found.median_rank.value == 2
    assert found.set_rank1.value == pytest.approx(1 / 3)
    assert found.set_median_rank.value == 3
    assert found.deviations.value == pytest.approx(2)
    assert found.found.value == pytest.approx(0.5)
    for each in (found.rank1, found.median_rank, found.deviations, found.found):
        low, high = each.interval
        assert low <= each.value <= high


def test_who_does_not_look_for_faces_and_who_knows_nobody():
    assert calibration.figures([{"ann": reading(1)}], 0).found is None
    assert calibration.figures([{}, {}], 0) is None
    trials = [trial(2.0, dlib={"ann": reading(1)}, r={}), trial(4.0, dlib={"bob": reading(2)})]
    found = calibration.row("--recipe=best", trials, 0)
    assert list(found.figures) == ["dlib"]
    assert (found.seconds_per_clone, found.figures["dlib"].attacks) == (3.0, 2)


def row(deviations, found=(True, False), **others):
    readings = {
        judge: {"ann": reading(1, 2, deviations=value, found=found)}
        for judge, value in {"dlib": deviations, **others}.items()
    }
    return calibration.row("--recipe=best", [trial(**readings)], 0)


def test_strangers_choose_by_deviations_and_of_equals_the_first():
    rows = {"paper": row(0.5), "best": row(2.0), "again": row(2.0)}
    assert calibration.choose(rows, ["dlib"]) == "best"
    rows = {"one": row(1.0, own=1.0), "two": row(3.0, own=-2.0)}
    assert calibration.choose(rows, ["dlib"]) == "two"
    assert calibration.choose(rows, ["dlib", "own"]) == "one"


@pytest.mark.parametrize(
    ("found", "chosen"), [((False, True), "faces"), ((True, True), "ahead"), (None, "ahead")]
)
def test_clones_without_faces_are_not_chosen_where_others_have_them(found, chosen):
    rows = {"ahead": row(3.0, found), "faces": row(1.0, (True, True)), "none": row(2.0)}
    assert calibration.choose(rows, ["dlib"]) == chosen


def table(rows=None):
    recognizer = RecognizerFacts(
        *("target", 10, (64, 64, 1), 60, 60, 10, 30, 1.0, 0.9, (0.8, 0.95), Settings(), "abc")
    )
    return Calibration(
        kind=calibration.SHADOWS,
        victims={"shadow_0": VictimFacts(recognizer, 70)},
        judges={"dlib": JudgeFacts(17, ()), "evaluator": JudgeFacts(14, ("people",))},
        restarts=2,
        rows=rows or {"paper": row(0.5), "best": row(2.0, evaluator=1.0)},
        left_out=("eigenfaces_500_margin_30",),
        choice="best",
        device="cpu",
        dataset=DatasetFacts("orl", "", 40, 400, (64, 64, 1), 17, 170),
        provenance=Provenance({"jax": "0.10"}, "abc", True, {"restarts": 2}),
    )


def test_tables_and_trials_are_stored_and_read_again(tmp_path):
    for record in (table(), trial(dlib={"ann": reading(1, found=(True,))})):
        records.write(tmp_path / "record.json", record)
        assert records.read(tmp_path / "record.json", type(record)) == record


def test_the_table_has_the_farthest_ahead_first_and_chance_last():
    assert report.strangers(table()) == ["dlib"]
    best, paper, chance = report.rows(table(), "dlib")
    assert [best[0], paper[0], chance[0]] == ["best", "paper", "chance"]
    assert {len(cells) for cells in (best, paper, chance)} == {len(report.HEADER)}
    assert dict(zip(report.HEADER, best, strict=True))["deviations"] == "2.00"
    assert best[-2].startswith("0.50 (")
    assert (paper[-2], chance[-2]) == ("\N{EN DASH}", "0.07")
    assert chance[1:3] == ["0.06", "9"]
    said = report.text(table())
    assert said.startswith("1 people of 1 recognizers (shadows), 2 clones each; dlib chooses")
    assert len(said.splitlines()) == 5


def test_a_measure_has_its_interval():
    assert report.measure(Measure(0.25, (0.125, 0.5))) == "0.25 (0.12\N{EN DASH}0.50)"
    assert report.measure(Measure(2.0, None), 1) == "2.0"
    assert report.measure(None) == "\N{EN DASH}"
