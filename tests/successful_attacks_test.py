"""Successful attack rates: by counting, by closed forms, and in words."""

import math

import judged
import numpy as np
import pytest
import scipy.stats

from mia_jax.evidence import statistics, successful_attacks
from mia_jax.evidence.successful_attacks import Aimed, Enrollment, ImpostorPairs, SuccessfulAttacks
from mia_jax.report import page as report
from mia_jax.report import successful_attacks as written
from mia_jax.runtime import records

AXES = np.eye(4)


def product(first, second):
    """A similarity that is easy to count with."""
    return np.asarray(first) @ np.asarray(second).T


def gallery():
    """Three people, each near an axis, and one who is not enrolled."""
    people = {
        name: Enrollment(AXES[place], AXES[place][None], 0.9 * AXES[place][None] + 0.05)
        for place, name in enumerate(("ann", "bob", "eve"))
    }
    return people | {"kim": Enrollment(None, np.zeros((0, 4)), 0.9 * AXES[3][None] + 0.05)}


def aimed():
    nothing = np.full((1, 4), 0.05)
    return {
        "ann": Aimed(np.stack([AXES[0], 0.02 * AXES[0]]), nothing, nothing, AXES[1:2]),
        "bob": Aimed(np.stack([AXES[1], AXES[1]]), nothing, nothing, AXES[:1]),
    }


def test_accepted_images_are_counted_by_person_and_kind():
    found = successful_attacks.system(gallery(), aimed(), product, (0.0,), own_threshold=0.5)
    for kind, pairs in ((found.type1, 9), (found.type2, 6)):
        # Photographs of four people on three templates; and each two of the four once.
        assert (kind.pairs, kind.people_pairs) == (pairs, 6)
        for rates in kind.rates:
            assert rates.people == {"ann": 0.5, "bob": 1.0}
            values = (rates.clones, rates.mean_face, rates.seeds, rates.others, rates.photographs)
            assert [each.value for each in values] == [0.75, 0, 0, 0, 1]
            assert rates.impostors.value == 0
        strict, own = kind.rates
        assert (strict.false_matches, own.false_matches, own.threshold) == (0, None, 0.5)
        assert own.threshold_interval is None


def test_of_one_person_only_the_threshold_that_was_given_counts():
    alone = {"ann": gallery()["ann"]}
    images = {"ann": aimed()["ann"]._replace(others=np.zeros((0, 4)))}
    assert successful_attacks.system(alone, images, product).type1 is None
    (rates,) = successful_attacks.system(alone, images, product, own_threshold=0.5).type1.rates
    assert (rates.clones.value, rates.impostors, rates.others) == (0.5, None, None)
    found = SuccessfulAttacks(
        successful_attacks.system(alone, images, product, own_threshold=0.5), {}, None
    )
    assert written.sentences(found)[0].startswith("At the threshold that was given the target")


@pytest.mark.parametrize("rate", [0.01, 0.001])
@pytest.mark.parametrize("people", [5, 40])
@pytest.mark.parametrize("rounded", [None, 2])
def test_no_more_impostors_pass_than_promised(rate, people, rounded):
    draw = np.random.default_rng(people)
    photographs = {f"p{n}": draw.normal(size=(3, 8)) for n in range(people)}
    pairs = successful_attacks.impostor_pairs(
        photographs, photographs, successful_attacks.cosines, once=True
    )
    similarities = pairs.similarities if rounded is None else pairs.similarities.round(rounded)
    assert len(similarities) == 9 * people * (people - 1) // 2
    threshold = successful_attacks.threshold_at(similarities, rate)
    accepted = int(np.sum(similarities >= threshold))
    assert accepted <= rate * len(similarities)
    if rounded is None:  # No stricter than it has to be.
        assert accepted == int(rate * len(similarities))


def test_pairs_are_those_of_two_people_each_once():
    draw = np.random.default_rng(0)
    photographs = {name: draw.normal(size=(n, 3)) for name, n in (("a", 2), ("b", 1), ("c", 3))}
    found = successful_attacks.impostor_pairs(
        photographs, photographs, successful_attacks.nearness, once=True
    )
    names, stacked = np.repeat([0, 1, 2], [2, 1, 3]), np.concatenate([*photographs.values()])
    expected = sorted(
        (one, other, -float(np.linalg.norm(stacked[i] - stacked[j])))
        for i, one in enumerate(names)
        for j, other in enumerate(names)
        if one < other
    )
    seen = sorted(zip(found.probes, found.references, found.similarities, strict=True))
    np.testing.assert_allclose(seen, expected)


@pytest.mark.parametrize("pairs", [1, 10, 2775])
def test_the_least_rate_is_that_of_clopper_and_pearson(pairs):
    interval = scipy.stats.binomtest(0, pairs).proportion_ci(0.9, method="exact")
    assert successful_attacks.least_false_matches(pairs) == pytest.approx(interval.high)
    assert successful_attacks.least_false_matches(0) == 1


def simulated(draw, people):
    """Impostor pairs of people of whom some resemble many: the similarity has both in it."""
    looks = draw.normal(size=people)
    first, second = np.triu_indices(people, 1)
    noise = draw.normal(size=len(first))
    return ImpostorPairs((looks[first] + looks[second] + noise) / math.sqrt(3), first, second)


@pytest.mark.parametrize("people", [20, 60])
def test_intervals_of_the_false_match_rate_cover_what_pairs_that_share_people_hide(people):
    draw, true = np.random.default_rng(people), 0.1
    cut = scipy.stats.norm.ppf(1 - true)
    covered = {"people": 0, "pairs": 0}
    for _ in range(300):
        pairs = simulated(draw, people)
        values = (pairs.similarities >= cut).astype(float)
        low, high = statistics.pairs_interval(values, pairs.probes, pairs.references)
        covered["people"] += low <= true <= high
        low, high = statistics.wilson_interval(values.mean(), len(values))
        covered["pairs"] += low <= true <= high
    assert covered["people"] / 300 > 0.88
    assert covered["pairs"] / 300 < 0.75  # Taken for independent they promise too much.


def test_the_interval_of_a_threshold_holds_that_of_all_people():
    draw, rate, held = np.random.default_rng(7), 0.05, 0
    for _ in range(200):
        pairs = simulated(draw, 40)
        rates = successful_attacks._rates(
            ["ann"],
            {kind: [np.zeros((1, 1))] for kind in successful_attacks._KINDS},
            *(pairs, 780, rate, successful_attacks.threshold_at(pairs.similarities, rate)),
        )
        low, high = rates.threshold_interval
        assert low <= rates.threshold <= high
        held += low <= scipy.stats.norm.ppf(1 - rate) <= high
    assert held / 200 > 0.88


def test_where_no_impostor_passes_the_interval_is_that_of_so_many_people():
    (rates,) = successful_attacks.system(gallery(), aimed(), product, (0.0,)).type1.rates
    assert rates.impostors.interval == (0, successful_attacks.least_false_matches(6))


def everything():
    return SuccessfulAttacks(
        target=successful_attacks.system(gallery(), aimed(), product, own_threshold=0.6),
        independent={"<b>dlib</b>": successful_attacks.system(gallery(), aimed(), product)},
        unlinkability=None,
    )


def test_what_was_counted_is_written_down_and_read(tmp_path):
    found = everything()
    records.write(tmp_path / "found.json", found)
    assert records.read(tmp_path / "found.json", SuccessfulAttacks) == found


def test_the_sentences_say_who_accepts_what_and_what_so_few_pairs_show():
    first, nulls, few, reversed_ = written.sentences(everything())
    assert "(FMR) of 0.1% the target accepts 75.0% of the clones (type I)" in first
    assert "0.0% of mean faces" in nulls
    assert "of real photographs 100.0%" in nulls
    assert "6 pairs of people show no FMR below 39.30%" in few
    assert "ISO/IEC 24745" in reversed_
    kinds = [(row.system, row.kind) for row in written.rows(everything())]
    assert len(kinds) == 3 + 3 + 2 + 2
    assert kinds[0] == (written.TARGET, written.TYPE1)


def accepted(clones, others):
    """What a system accepts of twenty people's clones, and of those of others."""
    draw = np.random.default_rng(0)
    directions = draw.normal(size=(20, 64))
    people = {
        f"p{n}": Enrollment(each, each[None], each[None] + 0.1 * draw.normal(size=(2, 64)))
        for n, each in enumerate(directions)
    }
    kinds = {
        f"p{n}": Aimed(
            (each if clones else -each)[None],
            *(0 * each[None], 0 * each[None]),
            (each if others else -each)[None],
        )
        for n, each in enumerate(directions)
    }
    return successful_attacks.system(people, kinds, successful_attacks.cosines)


@pytest.mark.parametrize(
    ("clones", "others", "words"),
    [
        (True, False, "are not irreversible in the sense of ISO/IEC 24745"),
        (True, True, "No template was reversed by this attack; that proves no irreversibility"),
        (False, False, "No template was reversed"),
    ],
)
def test_templates_are_reversed_where_clones_pass_and_nulls_do_not(clones, others, words):
    found = SuccessfulAttacks(accepted(clones, others), {}, None)
    assert words in written.sentences(found)[-1]


def test_passing_for_the_template_alone_is_no_likeness():
    both, neither = accepted(True, False), accepted(False, False)
    found = SuccessfulAttacks(both.__class__(both.type1, neither.type2), {}, None)
    assert "no likeness is shown" in written.sentences(found)[-1]


def test_the_report_has_a_row_for_each_threshold_and_escapes_names():
    evaluation = judged.evaluation()
    pictures = dict.fromkeys(report.picture_names(evaluation), b"png")
    plain = report.render(evaluation, {}, pictures)
    text = report.render(evaluation, {}, pictures, successes=everything())
    assert "Stolen templates" not in plain
    section = text[text.index('<section id="templates">') :]
    section = section[: section.index("</section>")]
    assert section.count('<tr><th scope="row"') == len(written.rows(everything()))
    assert "&lt;b&gt;dlib&lt;/b&gt;" in section
    assert "<b>dlib</b>" not in text
    assert "show no FMR below 39.30%" in section
    assert "own threshold" in section
