# ruff: noqa: RUF001 (the report prints en dashes)
import base64
import copy
import html.parser
import itertools
import json
import math
import re

import numpy as np
import pytest

from mia_jax import report
from mia_jax.report import figures

HOSTILE = '<script>alert("x")</script>'
PNG = figures.image_png(np.zeros((2, 2, 1)))


def rates(rank1, spread=0.05):
    def around(value):
        return [max(0.0, value - spread), min(1.0, value + spread)]

    figures_ = {
        "rank1": rank1,
        "rank5": 0.25 + 0.7 * rank1,
        "rank10": 0.5 + 0.48 * rank1,
        "cmc_area": 0.41 + 0.53 * rank1,
        "mean_score": 0.03 + 0.83 * rank1,
        "mean_target_score": 0.9 + 0.07 * rank1,
    }
    figures_ |= {f"{key}_interval": around(value) for key, value in figures_.items()}
    return figures_ | {"cmc": np.linspace(rank1, 1, 14).tolist()}


def identity(rank1, exposure_rank, seed=0.06, others=0.013):
    return rates(rank1) | {
        "best_restart": 17,
        "best_score": 0.9812,
        "best_rank": 1,
        "best_target_score": 0.9954,
        "attacker_pick": 42,
        "attacker_pick_score": 0.4321,
        "attacker_pick_rank": 1 if rank1 > 0.5 else 6,
        "attacker_pick_target_score": 0.9987,
        "iterations_to_90": 131.5,
        "iterations_to_99": None,
        "psnr": 13.37,
        "ssim": 0.318,
        "feature_distance": 7.194,
        "training_photographs": 8,
        "exposure_rank": exposure_rank,
        "null": {"seed": rates(seed), "others": rates(others)},
    }


def evaluation(low=0.31, middle=0.62, high=0.93, **changes):
    """Three people, the least exposed first."""
    mean = (low + middle + high) / 3
    result = {
        "identities": {
            "s7": identity(low, 3),
            "s3": identity(middle, 2),
            "s12": identity(high, 1),
        },
        "mean": rates(mean)
        | {"psnr": 14.41, "ssim": 0.331, "feature_distance": 6.871}
        | {"null": {"seed": rates(0.071), "others": rates(0.017)}},
        "ceiling": rates(0.957) | {"photographs": 70},
        "chance": {"rank1": 1 / 14, "rank5": 5 / 14, "rank10": 10 / 14},
        "classes": {"target": 22, "evaluator": 14},
        "restarts": 100,
        "held_out_accuracy": {
            "target": 0.954,
            "target_interval": [0.871, 0.985],
            "evaluator": 0.971,
            "evaluator_interval": [0.902, 0.992],
            "photographs": {"target": 66, "evaluator": 70},
        },
        "recipe": {"name": "paper", "iterations": 2000, "loss": "least_squares", "jitter": False},
        "cost": {
            "iterations": 2000,
            "gradient_evaluations": 600000,
            "gradient_evaluations_per_restart": 2000,
            "device": "TPU v4",
        },
        "seconds": {
            "train_target": 61.2,
            "train_evaluator": 12.34,
            "attack": 3790.0,
            "attack_per_person": 0.5,
            "evaluate": None,
        },
        "versions": {"jax": "0.6.2"},
        "commit": "3f9a1c0d9e2b47aa01c2",
        "flags": {"restarts": 100, "targets": ["s7", "s3"], "tolerance": 0.25, "note": HOSTILE},
        "dataset": {
            "name": "ORL",
            "credit": "AT&T",
            "people": 40,
            "photographs": 400,
            "image_size": [128, 128, 1],
            "auxiliary_people": 9,
            "auxiliary_photographs": 90,
        },
    }
    return result | changes


def pictures(people=3):
    return {name: PNG for name in [*report.PICTURES, *(f"clones_{i}" for i in range(people))]}


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
    return Page(report.render(evaluation(), pictures()))


def test_page_is_well_formed_and_self_contained(page):
    assert page.open == []
    assert {"script", "link", "iframe", "object", "embed", "base"}.isdisjoint(
        t for t, _ in page.tags
    )
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert attributes.get("src", "data:").startswith("data:image/png;base64,"[:5])
        assert attributes.get("href", "#").startswith("#")
    text = report.render(evaluation(), pictures())
    assert not re.search(r"url\(|@import|https?://", text)


def test_links_lead_to_sections(page):
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {a["href"] for a in page.all("a")} <= {f"#{name}" for name in ids}


def test_every_picture_is_embedded_with_its_own_alternative_text():
    given = {
        name: figures.image_png(np.full((1, 1, 1), place / 255))
        for place, name in enumerate(pictures())
    }
    images = Page(report.render(evaluation(), given)).all("img")
    embedded = [base64.b64decode(image["src"].partition("base64,")[2]) for image in images]
    assert sorted(embedded) == sorted(given.values())
    assert all(len(image["alt"]) > 20 for image in images)
    assert len({image["alt"] for image in images}) == len(images)
    clones = embedded.index(given["clones_2"])  # s12 comes third in the evaluation, first here
    assert "s12" in images[clones]["alt"]


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


@pytest.mark.parametrize("hostile", [HOSTILE, '"><img src=x onerror=y>', "{{ 7 * 7 }}", "a'b & c"])
def test_names_from_the_data_are_escaped(hostile):
    data = evaluation()
    data["identities"] = {hostile: data["identities"]["s12"]}
    data["recipe"] = {hostile: hostile}
    data["dataset"]["name"] = data["commit"] = hostile
    page = Page(report.render(data, pictures(1)))
    assert page.open == [] and not page.all("script")
    assert len(page.all("img")) == len(pictures(1))
    assert hostile in "".join(page.text)


def percent(value):
    return f"{100 * value:.1f}%"


def test_recognition_table_holds_every_number(page):
    data = evaluation()
    tables = [data["identities"]["s12"], data["identities"]["s3"], data["identities"]["s7"]]
    tables.append(data["mean"])
    expected = [
        row for part in tables for row in (part, part["null"]["seed"], part["null"]["others"])
    ]
    expected.append(data["ceiling"])
    start = next(i for i, row in enumerate(page.rows) if row[0] == "person") + 1
    for row, part in zip(page.rows[start:], expected, strict=False):
        for cell, key in zip(row[1:4], ("rank1", "rank5", "rank10"), strict=True):
            low, high = part[f"{key}_interval"]
            assert cell == f"{percent(part[key])} {100 * low:.1f}–{percent(high)}"
        for cell, key in zip(
            row[4:7], ("cmc_area", "mean_score", "mean_target_score"), strict=True
        ):
            low, high = part[f"{key}_interval"]
            assert cell.split()[0] == f"{part[key]:.3f}"
            assert cell.split()[1].split("–")[1] == f"{high:.3f}"
    assert page.rows[start + len(expected)][:4] == ["chance", "7.1%", "35.7%", "71.4%"]


@pytest.mark.parametrize(
    "row",
    [
        ["s12", "0.9954", "0.9812", "1", "17", "0.9987", "0.4321", "1", "42"],
        ["s7", "0.9954", "0.9812", "1", "17", "0.9987", "0.4321", "6", "42"],
        ["s12", "13.37", "0.318", "7.194", "131.5", "–"],
        ["mean", "14.41", "0.331", "6.871", "–", "–"],
        ["target", "22", "95.4% 87.1–98.5%", "66", "1 min 01 s"],
        ["evaluator", "14", "97.1% 90.2–99.2%", "70", "12.3 s"],
        ["gradient evaluations", "600,000"],
        ["attack, all people", "1 h 03 min"],
        ["attack, for each person", "0.5 s"],
        ["evaluation", "–"],
        ["targets", "s7, s3"],
        ["tolerance", "0.25"],
        ["jitter", "false"],
        ["image_size", "128, 128, 1"],
        ["jax", "0.6.2"],
        ["note", HOSTILE],
    ],
)
def test_tables_hold_scores_likeness_cost_and_settings(page, row):
    assert row in page.rows


def test_people_stand_in_order_of_exposure(page):
    names = [row[0] for row in page.rows if row[0] in ("s12", "s3", "s7")]
    assert names == ["s12", "s3", "s7"] * 3


@pytest.mark.parametrize("lacking", ["seed", "cmc", "best_clones", "clones_2", "loss_traces"])
def test_a_missing_picture_is_named(lacking):
    given = pictures()
    del given[lacking]
    with pytest.raises(ValueError, match=f"lacks {lacking}"):
        report.render(evaluation(), given)


@pytest.mark.parametrize("lacking", ["identities", "mean", "ceiling"])
def test_a_missing_required_part_is_named(lacking):
    data = evaluation()
    del data[lacking]
    with pytest.raises(ValueError, match=lacking):
        report.render(data, pictures())
    with pytest.raises(ValueError, match=lacking):
        report.summary(data)


def keys(tree, path=()):
    """The paths of all keys of nested dictionaries."""
    for key, value in tree.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from keys(value, (*path, key))


OPTIONAL = [
    path for path in keys(evaluation()) if path not in {("identities",), ("mean",), ("ceiling",)}
]


@pytest.mark.parametrize("instead", ["absent", None, math.nan])
def test_no_optional_part_is_needed(instead):
    for path in OPTIONAL:
        if path[0] == "identities" and (len(path) == 2 or path[1] != "s3"):
            continue  # a person without figures is no person; one of them stands for all
        data = evaluation()
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        if instead == "absent":
            del parent[path[-1]]
        elif instead is not None and not isinstance(parent[path[-1]], float):
            continue
        else:
            parent[path[-1]] = instead
        page = Page(report.render(data, pictures()))
        text = "".join(page.text)
        assert page.open == [] and not re.search(r"\b(nan|None|null|Undefined)\b", text), path
        assert "–" in text


def test_only_the_required_parts_suffice():
    data = {"identities": {"a": {"rank1": 0.5}}, "mean": {"rank1": 0.5}, "ceiling": {"rank1": 0.9}}
    text = "".join(Page(report.render(data, pictures(1))).text)
    assert "Inconclusive" in text and "A leak is measured" not in text


def test_an_evaluation_read_back_from_json_gives_the_same_page():
    data = evaluation()
    before = copy.deepcopy(data)
    text = report.render(data, pictures())
    assert report.render(json.loads(json.dumps(data)), pictures()) == text
    assert data == before


@pytest.mark.parametrize(
    "rates_, verdict, share",
    [
        ((0.31, 0.62, 0.93), "A leak is measured for all 3 people", "rebuilt all 3 people"),
        ((0.05, 0.62, 0.93), "A leak is measured for 2 of 3 people", "rebuilt 2 of 3 people"),
        ((0.02, 0.05, 0.08), "No leak is shown", "rebuilt none of 3 people"),
    ],
)
def test_the_result_names_how_many_people_are_exposed(rates_, verdict, share):
    data = evaluation(*rates_)
    assert share in report.summary(data)[0]
    assert verdict in "".join(Page(report.render(data, pictures())).text)


def test_summary_of_a_high_leak():
    text = " ".join(report.summary(evaluation()))
    assert "s12, s3 and s7" in text
    assert "all 300 clones" in text and "for 62%" in text and "chance is 1/14 = 7%" in text
    assert "Most exposed: s12 (93% of the clones named right first" in text
    assert "least exposed: s7 (31%" in text and "8 training photographs" in text
    assert "7% of the time, clones aimed at somebody else 2%" in text
    assert "70 real photographs" in text and "for 96%" in text
    assert "named right first for 2 of 3 people" in text
    assert "not the same as being recognized by a human" in text


def test_summary_of_no_leak_claims_neither_a_leak_nor_safety():
    sentences = report.summary(evaluation(0.02, 0.05, 0.08))
    text = " ".join(sentences)
    assert "does not prove the model safe" in sentences[0]
    assert "Most exposed" not in text
    assert "The highest rate is that of s12, 8%" in text


@pytest.mark.parametrize("control", ["seed", "others"])
def test_a_rate_that_a_control_reaches_too_is_no_leak(control):
    data = evaluation()
    data["identities"]["s12"]["null"][control] = rates(0.9)
    assert "2 of 3 people" in report.summary(data)[0]
    assert "s12" not in report.summary(data)[0]


def test_a_rate_above_the_controls_but_not_above_chance_is_no_leak():
    data = evaluation(classes={"target": 2, "evaluator": 2})  # chance is 50%
    assert report.summary(data)[0].endswith(": s12 and s3.")


@pytest.mark.parametrize("path", [("rank1_interval",), ("null",), ("null", "seed")])
def test_nothing_is_claimed_without_intervals_or_controls(path):
    data = evaluation()
    parent = data["identities"]["s12"]
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = None
    assert "rebuilt all 2 people" in report.summary(data)[0]
    assert "Nothing is claimed for s12" in report.summary(data)[0]


def test_a_weak_evaluator_does_not_clear_the_model():
    data = evaluation(0.02, 0.05, 0.08, ceiling=rates(0.4) | {"photographs": 70})
    assert "may hide a leak" in " ".join(report.summary(data))
    assert "does not prove" not in report.summary(data)[0]
    text = "".join(Page(report.render(data, pictures())).text)
    assert "Inconclusive" in text and "No leak is shown" not in text


def test_clones_that_beat_photographs_are_not_called_better_likenesses():
    data = evaluation(0.97, 0.98, 0.99, ceiling=rates(0.8))
    assert "does not make them better likenesses" in " ".join(report.summary(data))


@pytest.mark.parametrize(
    "rate, shown",
    [(0.0, "for 0%"), (0.004, "for 0.4%"), (0.996, "for over 99%"), (1.0, "for 100%")],
)
def test_sentences_never_round_to_never_or_always(rate, shown):
    data = evaluation()
    data["mean"]["rank1"] = rate
    assert shown in report.summary(data)[1]


def test_summary_of_one_person():
    data = evaluation()
    data["identities"] = {"s12": data["identities"]["s12"]}
    text = " ".join(report.summary(data))
    assert "rebuilt the one person attacked well enough" in text and "least exposed" not in text


def test_many_names_are_cut_short():
    data = evaluation()
    data["identities"] = {f"p{i}": identity(0.9, i + 1) for i in range(30)}
    assert "p7 and 22 more" in report.summary(data)[0]
    page = report.render(data, pictures(20))
    assert page.count("<img ") == 25 and "20 most exposed of 30 people" in page
