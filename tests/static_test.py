"""Tests of the quiz as files: nothing in them tells what is right, and only ours are taken back."""

import json
import re

import pytest
import simulated

from mia_jax.runtime.errors import UserError
from mia_jax.study import design, links, static

PLAN, IMAGES = simulated.plan()
WORDS = links.Links(b"s" * links.SECRET_BYTES)
SHEET = {
    "schema": 1,
    "plan": design.digest(PLAN),
    "observer": WORDS.observer(2),
    "answers": [design.AGREED, "0", "none"],
}


def returned(tmp_path, *sheets):
    paths = []
    for number, sheet in enumerate(sheets):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(sheet))
    return static.returned(PLAN, WORDS, [1, 2, 3], paths)


def test_a_file_holds_no_name_kind_or_order_of_the_plan():
    page = static.render(PLAN, 2, IMAGES, WORDS)
    assert page == static.render(PLAN, 2, IMAGES, WORDS)
    text = re.sub(r"data:image/png;base64,[\w+/=]+", "", page)
    for word in (*simulated.PEOPLE, *(item.name for item in PLAN.items), "attention check"):
        assert not re.search(rf"\b{word}\b", text), word
    assert text.count("<section data-step") == len(design.steps(PLAN, 2))
    pictures = re.findall(r"data:image/png;base64,([\w+/=]+)", page)
    assert len({len(each) for each in pictures}) == 1
    assert len({*pictures}) == len(pictures)  # Not even a picture that is shown twice is found so.
    assert "sends nothing anywhere" in text and "link" not in text.partition("<script")[0]
    assert "http" not in text.replace("http-equiv", "")


def test_answers_come_back(tmp_path):
    found = returned(tmp_path, SHEET, {**SHEET, "observer": WORDS.observer(3), "answers": []})
    assert found == {2: SHEET["answers"], 3: []}
    (row,) = design.resolve(PLAN, found).recognition
    assert (row.observer, row.named) == (2, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan": "another"}, "another plan"),
        ({"observer": "x" * 24}, "of nobody who was invited"),
        ({"observer": WORDS.observer(4)}, "of nobody who was invited"),
        ({"observer": links.Links(b"o" * 32).observer(2)}, "of nobody who was invited"),
        ({"answers": "0"}, "answers"),
        ({"answers": [1]}, "answers"),
        ({"schema": 2}, "schema 2"),
        ({"more": 1}, "the field 'more' is unknown"),
    ],
)
def test_a_forged_or_foreign_file_is_refused(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        returned(tmp_path, {**SHEET, **changes})


def test_a_replayed_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="are of one observer"):
        returned(tmp_path, SHEET, SHEET)
