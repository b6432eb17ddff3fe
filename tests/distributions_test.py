"""Tests of measures of distributions: definitions, another implementation, what must not matter."""

import numpy as np
import prdc
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from mia_jax.evidence import distributions

MEASURES = ("precision", "recall", "density", "coverage")


def measured(real, fake):
    return {name: getattr(distributions, name)(real, fake) for name in MEASURES}


def clouds(seed, real, fake, features=6, shift=0.5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(real, features)), shift + rng.normal(size=(fake, features))


def by_definition(real, fake):
    """The four measures, image by image."""

    def reach(images, i):
        k = min(5, len(images) - 1)
        return sorted(np.linalg.norm(images[i] - b) for j, b in enumerate(images) if j != i)[k - 1]

    def near(images, others):
        rows = [
            [np.linalg.norm(a - b) < reach(images, i) for b in others] for i, a in enumerate(images)
        ]
        return np.array(rows)

    inside, around = near(real, fake), near(fake, real)
    return {
        "precision": np.mean([any(inside[:, j]) for j in range(len(fake))]),
        "recall": np.mean([any(around[:, i]) for i in range(len(real))]),
        "density": np.mean([sum(inside[:, j]) for j in range(len(fake))]) / min(5, len(real) - 1),
        "coverage": np.mean([any(inside[i]) for i in range(len(real))]),
    }


@pytest.mark.parametrize(("real", "fake"), [(40, 30), (8, 200), (7, 7)])
def test_the_measures_are_those_of_their_authors(real, fake, capsys):
    sets = clouds(real, real, fake)
    expected = prdc.compute_prdc(*sets, nearest_k=5)
    assert measured(*sets) == pytest.approx(expected)


@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9), st.floats(0, 3))
@settings(max_examples=30, deadline=None)
def test_small_sets_follow_the_definitions(seed, real, fake, shift):
    sets = clouds(seed, real, fake, features=2, shift=shift)
    assert measured(*sets) == pytest.approx(by_definition(*sets))


@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(2, 30), st.floats(0, 5))
@settings(max_examples=30, deadline=None)
def test_shares_are_shares_and_a_motion_of_all_features_changes_nothing(seed, real, fake, shift):
    sets = clouds(seed, real, fake, shift=shift)
    found = measured(*sets)
    assert all(0 <= found[name] <= 1 for name in ("precision", "recall", "coverage"))
    assert 0 <= found["density"] <= real / min(5, real - 1)
    rng = np.random.default_rng(seed)
    turn, move = np.linalg.qr(rng.normal(size=(6, 6)))[0], rng.normal(size=6)
    moved = [each @ turn + move for each in sets]
    assert measured(*moved) == pytest.approx(found)
    distance = distributions.frechet_distance(*sets)
    assert distance >= 0
    assert distributions.frechet_distance(*moved) == pytest.approx(distance, abs=1e-8)
    assert distributions.frechet_distance(*sets[::-1]) == pytest.approx(distance, abs=1e-8)
    assert distributions.diversity(moved[1]) == pytest.approx(distributions.diversity(sets[1]))


@given(st.integers(0, 10**6), st.integers(2, 30))
@settings(max_examples=20, deadline=None)
def test_copies_of_the_photographs_are_as_good_as_can_be(seed, count):
    real, far = clouds(seed, count, count, shift=1e3)
    assert measured(real, real) == pytest.approx(dict.fromkeys(MEASURES, 1))
    assert measured(real, far) == dict.fromkeys(MEASURES, 0)
    assert distributions.frechet_distance(real, real) == pytest.approx(0, abs=1e-8)
    np.testing.assert_allclose(distributions.nearest(real, real), 0)


def test_one_photograph_over_and_over_is_precise_and_not_diverse():
    real, _ = clouds(0, 20, 1)
    found = measured(real, np.repeat(real[:1], 50, axis=0))
    assert found["precision"] == 1
    assert found["recall"] == 0
    assert found["coverage"] < 0.7
    assert distributions.diversity(np.repeat(real[:1], 50, axis=0)) == 0


def test_diversity_by_hand():
    assert distributions.diversity(np.array([[0.0, 0], [3, 4], [0, 8]])) == pytest.approx(18 / 3)


@pytest.mark.parametrize("offset", [0, 100])
def test_the_nearest_is_found_among_all(offset):
    photographs, images = (np.float32(each + offset) for each in clouds(1, 300, 40))
    distances = np.linalg.norm(images[:, None] - photographs, axis=-1)
    np.testing.assert_allclose(
        distributions.nearest(images, photographs), distances.min(axis=1), rtol=1e-4
    )


def test_the_frechet_distance_of_lines_is_known():
    """Of normal distributions on a line: (m1 - m2)^2 + (s1 - s2)^2."""
    line = np.array([[-1.0], [0], [1]])  # Of standard deviation 1.
    assert distributions.frechet_distance(3 * line + 2, line) == pytest.approx(4 + 4)
    axes = np.diag([3.0, 1, 5])  # Where the axes are shared, it is the sum over them.
    cube = np.array(np.meshgrid(*[[-1.0, 1]] * 3)).reshape(3, -1).T * np.sqrt(7 / 8)
    assert distributions.frechet_distance(cube @ axes, cube) == pytest.approx(4 + 0 + 16)


@pytest.mark.parametrize(("first", "second"), [(50, 40), (200, 5), (4, 3)])
def test_the_frechet_distance_is_that_of_the_root_of_a_matrix(first, second):
    sets = clouds(first, first, second)
    a, b = (np.cov(each, rowvar=False) for each in sets)
    root = np.real(scipy.linalg.sqrtm(a @ b + 1e-14 * np.eye(6)))
    means = np.sum((sets[0].mean(axis=0) - sets[1].mean(axis=0)) ** 2)
    expected = means + np.trace(a + b - 2 * root)
    assert distributions.frechet_distance(*sets) == pytest.approx(expected, rel=1e-4)


def test_few_images_make_the_frechet_distance_too_large():
    same = np.random.default_rng(0).normal(size=(4000, 32))
    few = distributions.frechet_distance(same[:10], same[2000:])
    assert few > 5 * distributions.frechet_distance(same[:2000], same[2000:])


@pytest.mark.parametrize("name", [*MEASURES, "frechet_distance"])
def test_an_image_alone_has_no_surroundings(name):
    one, several = np.zeros((1, 3)), np.ones((4, 3))
    sets = (several, one) if name == "recall" else (one, several)
    with pytest.raises(ValueError, match="no neighbor"):
        getattr(distributions, name)(*sets)
