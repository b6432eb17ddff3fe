"""The comparison's figures by hand, its table, and who wins."""

import dataclasses

import numpy as np
import pytest
from calibration_test import reading, table
from game_test import image, pixels

from mia_jax.evidence import comparison
from mia_jax.evidence.comparison import Attempt, Comparison, Looks
from mia_jax.evidence.results import AttackFacts
from mia_jax.report import comparison as report
from mia_jax.report import primitives
from mia_jax.runtime import records

HIDDEN = np.zeros((4, 4, 1), bool)
HIDDEN[1:3, 1:3] = True
PEOPLE = ("ann", "bob", "eve")


def looks(*ranks, judge="dlib"):
    """Each person's clones have these ranks."""
    seen = {name: reading(*ranks) for name in PEOPLE}
    return Looks({judge: seen}, dict.fromkeys(PEOPLE, 0.5), {"ann": 0.1, "bob": 0.2, "eve": 0.3})


def attempt(needs="weights", scenario="gray_box", **costs):
    free = {"queries": 0.0, "shared_queries": 0, "agreement": None}
    costs = free | {"gradients": 120.0, "seconds": 3.0} | costs
    return Attempt(
        attack=AttackFacts("best", {}, 2, 0, 1, 60),
        scenario=scenario,
        needs=needs,
        weights="abc",
        looks=looks(1, 2),
        **costs,
    )


def compared(**rows):
    nulls = {comparison.MEAN_FACE: looks(2, 2), comparison.KNOWN_PART: looks(1, 1)}
    made = table()
    return Comparison(
        people=PEOPLE,
        restarts=2,
        judges={"dlib": made.judges["dlib"]},
        nulls={name: comparison.row(each, None, 0) for name, each in nulls.items()},
        ceiling=comparison.row(looks(1, 1), None, 0),
        rows={name: comparison.row(seen, of, 0) for name, (seen, of) in rows.items()},
        left_out={"shapes": "dlib is missing"},
        device="cpu",
        dataset=made.dataset,
        provenance=made.provenance,
    )


def test_looks():
    truth = image(0.5, 0.5, 0.5)
    clone = truth.copy()
    clone[HIDDEN[..., 0]] = (0.5, 0.5, 0.8)  # One channel of three is off by 0.3.
    clone[0] = 0.0  # Outside nothing counts.
    found = comparison.look(
        [pixels()],
        {"eve": np.stack([clone, truth])},
        {"eve": comparison.spread(pixels(), np.stack([image(0, 0, 0), image(0.2, 0, 0)]))},
        {"eve": truth},
        HIDDEN,
    )
    assert found.hidden_error["eve"] == pytest.approx((0.3 / np.sqrt(3) + 0) / 2, rel=1e-5)
    # In the judge's features, the mean of each channel.
    apart = np.linalg.norm(clone.mean((0, 1)) - truth.mean((0, 1)))
    assert found.diversity["eve"] == pytest.approx(apart / 0.2, rel=1e-4)
    assert found.readings["pixels"]["eve"].ranks == (1, 3)
    alone = comparison.look([pixels()], {"eve": clone[None]}, {}, {"eve": truth}, HIDDEN)
    assert alone.diversity == {}


def test_a_row_averages_over_people():
    row = comparison.row(looks(1, 2), attempt(), 0)
    assert row.figures["dlib"].rank1.value == 0.5
    assert row.hidden_error.value == pytest.approx(0.2)
    assert row.hidden_error.interval[0] < 0.2 < row.hidden_error.interval[1]
    assert (row.gradients, row.queries, row.needs) == (120.0, 0.0, "weights")
    null = comparison.row(looks(1, 2), None, 0)
    assert (null.gradients, null.queries, null.needs) == (None, None, None)


def test_who_wins_under_which_threat_model():
    """Only who is above every null row; and the known part is a null row of the white box alone."""
    found = compared(
        best=(looks(1, 1), attempt()),
        paper=(looks(3, 3), attempt()),
        boundary=(looks(2, 2), attempt("labels", "labels")),
        known=(looks(1, 1), attempt("a part", "white_box")),
    )
    assert comparison.winners(found, "dlib") == {"weights": "best", "labels": None, "a part": None}
    said = " ".join(report.sentences(found))
    assert "With labels: none is above every null row." in said
    assert "With weights: best, whose clones dlib ranks first in 100%" in said
    assert "shapes was left out: dlib is missing." in said


def test_the_table_is_stored_and_written(tmp_path):
    found = compared(
        asks=(looks(1, 2), attempt("confidences", "confidences", queries=9000.0)),
        copies=(
            looks(1, 2),
            attempt("confidences", "extraction", shared_queries=5000, agreement=0.875),
        ),
    )
    records.write(tmp_path / "comparison.json", found)
    assert records.read(tmp_path / "comparison.json", Comparison) == found
    cells = {
        row[0]: dict(zip(report.header(found), row, strict=True)) for row in report.rows(found)
    }
    assert list(cells)[:3] == [
        *("null: mean face", "null: known part around the mean face", "chance")
    ]
    assert list(cells)[-1] == "ceiling: photographs"
    assert cells["asks"]["queries a person"] == "9,000"
    assert cells["copies"]["queries a person"] == "5,000 in all"
    assert cells["copies"]["the copy agrees"] == "0.88" and not cells["asks"]["the copy agrees"]
    assert cells["null: mean face"]["seconds"] == ""
    text = report.markdown(found)
    assert text.count("\n| ") == 2 + len(report.rows(found))
    page = report.page(found, b"\x89PNG")
    assert all(name in page for name in cells)
    assert "data:image/png;base64," in page


def test_the_strip_shows_a_clone_for_each_method_and_person():
    photographs = {name: image(0.1, 0.2, 0.3) for name in PEOPLE}
    clones = {"best": photographs, "paper": {"ann": image(0.3, 0.3, 0.3)}}
    figure = report.strip(photographs, clones)
    assert len(figure.axes[0].images) == 3 + 3 + 1
    assert primitives.png(figure).startswith(b"\x89PNG")


def test_attempts_are_stored_and_read_again(tmp_path):
    made = dataclasses.replace(attempt(), looks=looks(1, 3))
    records.write(tmp_path / "attempt.json", made)
    assert records.read(tmp_path / "attempt.json", Attempt) == made
