"""Tests of sets of clones against photographs: planted likenesses, noise, and what is not there."""

import dataclasses

import numpy as np
import planted
import pytest

from mia_jax.evidence import distributions, scores, sets
from mia_jax.evidence.judges import Judge

ATTACKED = planted.ATTACKED
MEASURES = [field.name for field in dataclasses.fields(sets.SetMeasures)]


def judged(clones):
    _, _, judgements, *_ = planted.judged(clones, (planted.stranger(), planted.relative()))
    return judgements


@pytest.fixture(scope="module")
def leak():
    count = planted.RESTARTS
    return judged({name: planted.photographs(name, seed=7, count=count) for name in ATTACKED})


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(0)
    shape = (planted.RESTARTS, planted.SIDE, planted.SIDE, 1)
    return judged({name: rng.random(shape, np.float32) for name in ATTACKED})


@pytest.mark.parametrize("judge", ["stranger", "relative"])
def test_clones_that_are_photographs_lie_among_them(leak, judge):
    found = leak[judge].mean_set_measures
    assert found.clones.precision > 0.8 and found.clones.coverage > 0.8
    assert found.clones.density > 0.5 and found.clones.recall > 0.8
    assert found.clones.own_is_nearer == 1
    assert found.clones.nearest_own < 0.5 * found.clones.nearest_stranger
    for null in (found.seeds, found.others):
        assert null.precision < 0.05 and null.coverage < 0.2
        assert null.own_is_nearer < 0.2
    assert found.photographs.precision > 0.5 and found.photographs.own_is_nearer == 1
    assert leak[judge].frechet.clones < 0.2 * leak[judge].frechet.seeds


def test_noise_lies_nowhere(noise, leak):
    found = noise["stranger"].mean_set_measures
    assert found.clones.precision == found.clones.density == found.clones.coverage == 0
    assert found.clones.own_is_nearer < 0.2
    assert found.clones.diversity > 2 * leak["stranger"].mean_set_measures.clones.diversity
    assert noise["stranger"].frechet.clones > 5 * leak["stranger"].frechet.clones


def test_the_mean_is_that_of_the_people(leak):
    people = [each.set_measures for each in leak["stranger"].people.values()]
    for group in ("clones", "seeds", "others", "photographs"):
        for name in MEASURES:
            values = [getattr(getattr(each, group), name) for each in people]
            mean = getattr(getattr(leak["stranger"].mean_set_measures, group), name)
            assert mean == pytest.approx(np.mean(values))


def test_a_person_is_compared_with_all_photographs_and_with_everybody_else(leak):
    """Of one person and one measure each, from the images."""
    name, judge = ATTACKED[1], planted.stranger()
    embed = lambda images: planted.flat(images) @ planted.FACES  # noqa: E731
    clones = embed(planted.photographs(name, seed=7, count=planted.RESTARTS))
    training, test = (
        embed(planted.photographs(name)),
        embed(planted.photographs(name, seed=1, count=3)),
    )
    found = leak[judge.name].people[name].set_measures
    real = np.concatenate([training, test])
    assert found.clones.coverage == distributions.coverage(real, clones)
    assert found.photographs.recall == distributions.recall(training, test)
    others = [embed(planted.photographs(each)) for each in planted.NAMES if each != name]
    distance = np.linalg.norm(clones[:, None] - np.concatenate(others), axis=-1).min(axis=1)
    assert found.clones.nearest_stranger == pytest.approx(distance.mean(), rel=1e-4)


VECTORS = np.random.default_rng(3).normal(size=(9, 4))


def test_one_image_has_no_spread_and_one_photograph_no_surroundings():
    found = sets.measure(VECTORS[:1], VECTORS[1:2], VECTORS[1:2], VECTORS[2:])
    missing = {name for name in MEASURES if getattr(found, name) is None}
    assert missing == {"precision", "recall", "density", "coverage", "diversity"}
    nobody = sets.measure(VECTORS[:3], VECTORS[3:], VECTORS[3:], VECTORS[:0])
    assert nobody.nearest_own is not None
    assert nobody.nearest_stranger is nobody.own_is_nearer is None


def test_features_that_are_no_numbers_have_no_measures():
    broken = VECTORS.copy()
    broken[0, 0] = np.nan
    found = sets.measure(broken, VECTORS, VECTORS, VECTORS)
    assert all(getattr(found, name) is None for name in MEASURES)
    groups = {"clones": [broken], "seeds": [VECTORS[:4], VECTORS[4:]], "test": [VECTORS[:1]]}
    distances = sets.frechet(groups, [VECTORS[:2], VECTORS[2:]])
    assert distances.clones is distances.photographs is None
    assert distances.seeds == pytest.approx(0, abs=1e-9)


def test_the_mean_is_over_those_who_have_a_measure():
    whole = sets.compare({"clones": VECTORS, "seeds": VECTORS, "test": VECTORS}, VECTORS, VECTORS)
    lacking = dataclasses.replace(
        whole, clones=dataclasses.replace(whole.clones, recall=None, precision=0.5)
    )
    found = sets.mean([whole, lacking])
    assert found.clones.recall == whole.clones.recall
    assert found.clones.precision == (0.5 + whole.clones.precision) / 2
    assert found.others is None
    assert sets.mean([lacking]).clones.recall is None


def test_the_gallery_knows_whose_photographs_are_whose():
    shown = {f"p{i}": np.full((i % 3 + 1, 2, 2, 1), i / 20, np.float32) for i in range(13)}
    judge = Judge("j", (), lambda images: images.reshape(-1, 4), None, frozenset())
    found = sets.gallery(judge, shown.items())
    assert len(found.people) == len(found.vectors) == sum(map(len, shown.values()))
    for name, vector in zip(found.people, found.vectors, strict=True):
        np.testing.assert_allclose(vector, int(name[1:]) / 20)
    assert len(found.strangers_to("p2")) == len(found.people) - 3


def test_the_features_that_are_kept_are_spread_over_all_images():
    images = np.arange(3 * scores.KEPT, dtype=np.float32).reshape(-1, 1, 1, 1)
    judge = Judge("j", ("a",), lambda batch: batch.reshape(-1, 1), lambda v: v, frozenset())
    kept = scores.opinion(judge, images, "a", np.zeros((1, 1))).vectors[:, 0]
    assert len(kept) == len(set(kept)) == scores.KEPT
    assert (kept[0], kept[-1]) == (0, len(images) - 1)
    assert np.diff(kept).max() <= 4
    few = scores.opinion(judge, images[:7], "a", np.zeros((1, 1))).vectors
    np.testing.assert_array_equal(few, images[:7].reshape(-1, 1))
