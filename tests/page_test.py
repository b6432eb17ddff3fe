"""Tests of the report's page: whole, safe, and with every number where it belongs."""

# ruff: noqa: RUF001 (the report prints en dashes)

import base64
import dataclasses
import html.parser
import itertools
import re

import jinja2
import judged
import numpy as np
import pytest

from mia_jax import report
from mia_jax.evidence import results
from mia_jax.report import page as page_module
from mia_jax.report import primitives, sentences
from mia_jax.runtime import records

HOSTILE = '<script>alert("x")</script>'
PNG = primitives.image_png(np.zeros((2, 2, 1)))
NAMED = (
    "not shown at this budget Named right by evaluator too, which shares something with the "
    "target: that alone is no likeness."
)
LEAK = "set rank 1 first 71.0%"
ON_TARGET = ("95.0% sure: 98.7%", "90.0% sure: 97.6%")
SECONDS = {"train_target": 61.2, "train_evaluator": 12.34, "attack": 3790.0}


def render(evaluation, pictures=None):
    if pictures is None:
        pictures = dict.fromkeys(report.picture_names(evaluation), PNG)
    return report.render(evaluation, SECONDS, pictures)


def several():
    """Two judges who disagree, a stranger and a relative; one person is identified."""
    strict = judged.judgement(0.02, 0.05, 0.08, shares=(), ceiling=judged.rates(0.9))
    strict = dataclasses.replace(strict, mean=judged.rates(0.05, found=judged.measure(0.345)))
    verdicts = {
        "s7": judged.verdict("inconclusive", 0.71, reasons=("too dark",)),
        "s3": judged.verdict("not_shown", 0.65, named_by=("evaluator",)),
        "s12": judged.identified(0.0123),
    }
    return judged.evaluation(judged.judgement(), strict, verdict=verdicts)


def partial():
    """A stranger who knows everybody, and a judge who knows one person."""
    found = several()
    stranger, relative = reversed(found.judges.values())
    known = dataclasses.replace(relative, people={"s12": relative.people["s12"]})
    return dataclasses.replace(found, judges={"stranger": stranger, "evaluator": known})


class Page(html.parser.HTMLParser):
    """Collects the tags with their attributes, the text, and the tables' rows of cells."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.rows, self.open, self.cell = [], [], [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = tag
        if tag == "small" and self.cell:
            self.rows[-1][-1] += " "

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == self.cell:
            self.cell = None

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
        if self.cell:
            self.rows[-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page():
    return Page(render(judged.evaluation()))


def test_page_is_well_formed_and_self_contained(page):
    assert page.open == []
    assert {"script", "link", "iframe", "object", "embed", "base"}.isdisjoint(
        t for t, _ in page.tags
    )
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert attributes.get("src", "data:").startswith("data:image/png;base64,"[:5])
        assert attributes.get("href", "#").startswith("#")
    text = render(judged.evaluation())
    assert not re.search(r"url\(|@import|https?://", text)
    assert "prefers-color-scheme: dark" in text and "@media print" in text


@pytest.mark.parametrize("evaluation", [judged.evaluation(), several()])
def test_links_lead_to_sections_and_sections_have_one_name(evaluation):
    page = Page(render(evaluation))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"] for a in page.all("a")} <= {f"#{name}" for name in ids}


@pytest.mark.parametrize("evaluation", [judged.evaluation(), several()])
def test_every_picture_is_embedded_with_its_own_alternative_text(evaluation):
    names = report.picture_names(evaluation)
    given = {
        name: primitives.image_png(np.full((1, 1, 1), place / 255))
        for place, name in enumerate(names)
    }
    images = Page(render(evaluation, given)).all("img")
    embedded = [base64.b64decode(image["src"].partition("base64,")[2]) for image in images]
    assert sorted(embedded) == sorted(given.values())
    assert all(len(image["alt"]) > 20 for image in images)
    assert len({image["alt"] for image in images}) == len(images)
    clones = embedded.index(given["clones_2"])  # s12 comes third in the evaluation, first here
    assert "s12" in images[clones]["alt"]


@pytest.mark.parametrize("evaluation", [judged.evaluation(), several()])
def test_headings_do_not_skip_a_level(evaluation):
    page = Page(render(evaluation))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


@pytest.mark.parametrize(
    "hostile", [HOSTILE, '"><img src=x onerror=y>', "{{ 7 * 7 }}", "a'b & c", "s.1", "1", "None"]
)
def test_names_from_the_data_are_escaped(hostile):
    found = judged.judgement(people={hostile: judged.person(0.9, 1)})
    evaluation = judged.evaluation(
        dataset=results.DatasetFacts(hostile, hostile, 1, 1, (1, 1, 1), 1, 1),
        provenance=results.Provenance({hostile: hostile}, hostile, False, {hostile: hostile}),
        judges={hostile: found},
        people={hostile: results.PersonFacts(8, 1, 2)},
        verdict={hostile: judged.verdict(reasons=(hostile,), named_by=(hostile,))},
        agreement=(results.Agreement(hostile, hostile, 0, 0, 0, 1),),
        recognizers={hostile: judged.recognizer(hostile, 3, 0.5)},
    )
    page = Page(render(evaluation))
    assert page.open == [] and not page.all("script")
    assert len(page.all("img")) == len(report.picture_names(evaluation))
    assert hostile in "".join(page.text)


def percent(value):
    return f"{100 * value:.1f}%"


def test_recognition_table_holds_every_number(page):
    found = judged.judgement()
    parts = [found.people[name] for name in ("s12", "s3", "s7")]
    expected = [
        row
        for clones, controls in [
            *((part.clones, part.controls) for part in parts),
            (found.mean, found.controls),
        ]
        for row in (clones, controls.seeds, controls.mean_face, controls.others)
    ]
    expected.append(found.ceiling)
    rows = rows_of(page, "person", "rank 1 named first")
    for row, part in zip(rows, expected, strict=False):
        for cell, key in zip(row[1:4], ("rank1", "rank5", "rank10"), strict=True):
            value, (low, high) = getattr(part, key).value, getattr(part, key).interval
            assert cell == f"{percent(value)} {100 * low:.1f}–{percent(high)}"
        for cell, key in zip(
            row[4:7], ("cmc_area", "mean_score", "mean_target_score"), strict=True
        ):
            assert cell.split()[0] == f"{getattr(part, key).value:.3f}"
            assert cell.split()[1].split("–")[1] == f"{getattr(part, key).interval[1]:.3f}"
    assert rows[len(expected)][:4] == ["chance", "7.1%", "35.7%", "71.4%"]


@pytest.mark.parametrize(
    "row",
    [
        ["s12", "0.9954", "0.9812", "1", "17", "0.9987", "0.4321", "1", "42"],
        ["s7", "0.9954", "0.9812", "1", "17", "0.9987", "0.4321", "6", "42"],
        ["s12", "14.30 13.00–16.00", "0.411", "8.12 7.00–9.00", "131", "–"],
        ["mean face", "13.37 13.00–16.00", "0.318", "7.19 7.00–9.00", "", ""],
        ["mean", "13.99 13.00–16.00", "0.380", "7.81 7.00–9.00", "", ""],
        ["target", "22", "95.4% 86.4–97.4%", "66", "22", "154", "1 min 01 s"],
        ["evaluator", "14", "97.1% 88.1–99.1%", "66", "22", "154", "12.3 s"],
        ["gradient evaluations", "600,000"],
        ["… for each restart", "2,000"],
        ["attack, all people", "1 h 03 min"],
        ["evaluation", "–"],
        ["targets", "s7, s3"],
        ["tolerance", "0.25"],
        ["jitter", "false"],
        ["stop_score", "–"],
        ["image_shape", "128, 128, 1"],
        ["auxiliary_from", "orl"],
        ["jax", "0.6.2"],
        ["random_seed", "3"],
    ],
)
def test_tables_hold_scores_likeness_cost_and_settings(page, row):
    assert row in page.rows


def test_every_likeness_has_its_controls_beside_it(page):
    start = next(i for i, row in enumerate(page.rows) if row[0] == "person" and "PSNR" in row[1])
    names = [row[0] for row in page.rows[start + 1 :][:17]]
    beside = ["seeds, not attacked", "mean face", "clones of others"]
    expected = ["s12", *beside, "s3", *beside, "s7", *beside, "mean", *beside]
    assert names == [*expected, "ceiling 70 real photographs"]


def test_people_stand_in_order_of_exposure(page):
    names = [row[0] for row in page.rows if row[0] in ("s12", "s3", "s7")]
    assert names == ["s12", "s3", "s7"] * 4


def rows_of(page, *first):
    """The rows under the heading that starts with these words, up to the next heading."""
    start = next(i for i, row in enumerate(page.rows) if row[: len(first)] == list(first)) + 1
    return page.rows[start:]


def test_judges_stand_side_by_side():
    evaluation = several()
    page = Page(render(evaluation))
    rows = rows_of(page, "judge", "clones", "clones taken together")
    for row, (name, found) in zip(rows, evaluation.judges.items(), strict=False):
        shown = [cell.split()[0] for cell in row[1:8]]
        controls = [found.controls.seeds, found.controls.mean_face, found.controls.others]
        values = [percent(found.mean.rank1.value), percent(found.sets.clones.rank1.value)]
        values += [percent(rate.rank1.value) for rate in controls]
        values += [percent(found.chance.rank1), percent(found.ceiling.rank1.value)]
        assert row[0] == name and shown == values
        assert row[8] == (", ".join(found.shares) or "nothing")
    text = "".join(page.text)
    assert "The judge evaluator shares with the target the attacked people" in text
    assert "The judge evaluator 1 shares nothing with the target." in text
    headings = [row[3:5] for row in page.rows if row[0] == "person" and "PSNR" in row[1]]
    assert [["evaluator" in cell for cell in row] for row in headings] == [[True, True]]
    for picture in ("cmc_0", "cmc_1"):
        assert picture in report.picture_names(evaluation)


@pytest.mark.parametrize(
    "row",
    [
        ["evaluator 1", "4.5", "1", "4.5", "4.5", "4.5", "7.5", "1", "34.5% 29.5–39.5%", "–"],
        ["evaluator", "0.1%", "23.0% 18.0–28.0%", "20.7% 15.7–25.7%", "1.0% 0.0–6.0%"],
        ["evaluator", "clones", "60.0% 55.0–65.0%", "20.0% 15.0–25.0%"],
        ["evaluator 1", "real photographs", "95.0% 90.0–100.0%", "94.0% 89.0–99.0%"],
        ["evaluator", "evaluator 1", "40.0%", "30.0%", "20.0%", "10.0%"],
        ["s12", "identified", "0.012", *ON_TARGET, LEAK, "1 of 14", "3 of 14", "93.0% 88.0–98.0%"],
        ["s3", NAMED, "0.650", *ON_TARGET, LEAK, "1 of 14", "3 of 14"],
        ["s7", "inconclusive Too dark.", "0.710", *ON_TARGET, LEAK, "3 of 14", "3 of 14"],
    ],
)
def test_the_evidence_stands_in_tables(row):
    rows = Page(render(several())).rows
    assert row in [each[: len(row)] for each in rows]


def test_the_headline_and_the_badges_are_the_verdicts():
    page = Page(render(several()))
    assert "1 of 3 people is identified" in "".join(page.text)
    classes = [attributes.get("class") for _, attributes in page.tags]
    assert classes.count("verdict identified") == 1
    for level in ("identified", "not_shown", "inconclusive"):
        assert classes.count(f"badge {level}") == 2  # In the table, and above the clones.
    tiles = [
        page.text[i + 1 :] for i, text in enumerate(page.text) if "people are identified" in text
    ]
    assert "".join(tiles[0][:2]).split()[:3] == ["1", "of", "3"]
    alone = "".join(Page(render(judged.evaluation())).text)
    assert "Inconclusive: no independent judge was asked" in alone
    assert "people are identified by independent judges–" in alone


def test_one_person_alone_has_no_row_of_others():
    alone = judged.judgement(
        people={"s12": judged.person(0.9, 1, others=None)}, controls=judged.controls(others=None)
    )
    page = Page(render(judged.evaluation(alone)))
    assert not [row for row in page.rows if row[0] == "clones of others"]
    assert page.open == []


def test_what_is_none_is_a_dash_and_nothing_else_is():
    nothing = dict.fromkeys(("psnr", "ssim", "feature_distance"))
    person = dataclasses.replace(judged.person(0.9, 1), clones=judged.rates(0.9, **nothing))
    evaluation = judged.evaluation(
        judged.judgement(people={"s12": person}),
        people={"s12": results.PersonFacts(8, None, None)},
        provenance=results.Provenance({}, None, None, {}),
    )
    page = Page(render(evaluation))
    assert ["s12", "–", "–", "–", "–", "–"] in page.rows
    text = "".join(page.text)
    assert not re.search(r"\b(nan|None|null|Undefined)\b", text)
    assert "Commit: –" in re.sub(r"\s+", " ", text)


@pytest.mark.parametrize(("clean", "said"), [(True, False), (False, True), (None, False)])
def test_a_checkout_with_changes_says_so(clean, said):
    facts = results.Provenance({}, "3f9a1c0d9e2b47aa01c2", clean, {})
    text = "".join(Page(render(judged.evaluation(provenance=facts))).text)
    assert ("with changes that are not committed" in text) is said


def test_a_misspelled_name_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        page_module.environment().from_string("{{ result.rnak1 }}").render(result=judged.rates(0.5))


@pytest.mark.parametrize("lacking", ["seed", "cmc_0", "best_clones", "clones_2", "loss_traces"])
def test_a_missing_picture_is_named(lacking):
    evaluation = judged.evaluation()
    given = dict.fromkeys(report.picture_names(evaluation), PNG)
    del given[lacking]
    with pytest.raises(ValueError, match=f"lacks {lacking}"):
        render(evaluation, given)


@pytest.mark.parametrize("evaluation", [judged.evaluation(), several()])
def test_an_evaluation_read_back_from_its_file_gives_the_same_page(evaluation, tmp_path):
    records.write(tmp_path / "evaluation.json", evaluation)
    again = records.read(tmp_path / "evaluation.json", results.Evaluation)
    assert render(again) == render(evaluation)


def test_many_people_are_cut_short():
    people = {f"p{i}": judged.person(0.9, i + 1) for i in range(30)}
    evaluation = judged.evaluation(judged.judgement(people=people))
    assert "p7 and 22 more" in sentences.summary(evaluation)[1]
    page = render(evaluation)
    assert page.count("<img ") == 25 and "20 most exposed of 30 people" in page


def test_sets_of_clones_stand_beside_seeds_others_and_photographs():
    page = Page(render(several()))
    rows = rows_of(page, "judge", "images", "precision")
    assert [row[:2] for row in rows[:8:4]] == [["evaluator", "clones"], ["evaluator 1", "clones"]]
    shown = ["clones", "seeds, not attacked", "clones of others", "real photographs"]
    assert [row[1] for row in rows[:4]] == shown
    clones = ["45.6%", "14.1%", "0.78", "22.8%", "3.21", "6.04", "6.02", "19.6%", "12.30"]
    assert rows[0][2:] == clones
    assert (rows[2][-1], rows[3][3], rows[3][-1]) == ("–", "–", "7.80")
    alone = judged.judgement(mean_set_measures=judged.set_comparison(0.5, others=False))
    rows = rows_of(
        Page(render(judged.evaluation(alone))),
        "judge",
        "images",
        "precision",
    )
    assert [row[1] for row in rows[:3]] == [shown[0], shown[1], shown[3]]


def test_a_judge_is_silent_on_whom_it_does_not_know():
    page = Page(render(partial()))
    verdicts = [row for row in page.rows if row and row[0] in ("s3", "s7", "s12")][:3]
    silent = {row[0]: row.count("–") for row in verdicts}
    assert silent == {"s12": 0, "s3": 2, "s7": 2}
    assert len(sentences.summary(partial())) == len(sentences.summary(several()))
