"""Tests of the linear map from features to pixels: closed forms, and second ways to compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax.attack import invert, linear, make_cases, recipes
from mia_jax.runtime.errors import UserError

SHAPE = (8, 3, 1)
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(300, 5))
WEIGHTS = RNG.normal(size=(5, *SHAPE)) / 20


def faces(noise=0.0, seed=1):
    drawn = np.random.default_rng(seed).normal(size=(300, *SHAPE))
    return (0.5 + np.tensordot(FEATURES, WEIGHTS, axes=1) + noise * drawn).astype(np.float32)


def test_a_linear_embedder_is_inverted_exactly():
    """Pixels that are linear in the features come back, of templates that nobody saw."""
    found = linear.fit(FEATURES, faces(), strength=1e-12)
    templates = RNG.normal(size=(7, 5))
    expected = 0.5 + np.tensordot(templates, WEIGHTS, axes=1)
    assert linear.apply(found, templates) == pytest.approx(expected, abs=1e-5)
    assert found.explained == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("strength", [0.001, 0.1])
def test_ridge_by_its_normal_equations(strength):
    images = faces(0.1)
    found = linear.fit(FEATURES, images, strength=strength)
    apart = FEATURES - FEATURES.mean(axis=0)
    pixels = images.reshape(300, -1).astype(np.float64)
    ridge = strength * np.trace(apart.T @ apart) * np.eye(5)
    weights = np.linalg.solve(apart.T @ apart + ridge, apart.T @ (pixels - pixels.mean(axis=0)))
    assert found.weights.reshape(5, -1) == pytest.approx(weights, abs=1e-5)
    assert found.mean.ravel() == pytest.approx(pixels.mean(axis=0), abs=1e-6)


def test_the_strength_has_the_least_generalized_cross_validation():
    images = faces(0.5)
    pixels = images.reshape(300, -1).astype(np.float64)
    apart = FEATURES - FEATURES.mean(axis=0)

    def error(strength):
        ridge = strength * np.trace(apart.T @ apart) * np.eye(5)
        hat = apart @ np.linalg.solve(apart.T @ apart + ridge, apart.T) + 1 / 300
        rest = pixels - hat @ pixels
        return np.sum(rest**2) / (300 - np.trace(hat)) ** 2

    errors = [error(strength) for strength in linear.STRENGTHS]
    found = linear.fit(FEATURES, images)
    assert found.strength == pytest.approx(linear.STRENGTHS[int(np.argmin(errors))])
    assert linear.STRENGTHS[0] < found.strength < linear.STRENGTHS[-1]


def test_what_is_explained_of_faces_left_out():
    images = faces(0.1)
    found = linear.fit(FEATURES, images, strength=1e-6)
    left_out = np.arange(300) % 10 == 9
    fitted = linear.fit(FEATURES[~left_out], images[~left_out], strength=1e-6)
    rest = images[left_out] - linear.apply(fitted, FEATURES[left_out])
    variance = np.sum((images[left_out] - fitted.mean) ** 2)
    assert found.explained == pytest.approx(1 - np.sum(rest**2) / variance, abs=1e-4)
    noise = linear.fit(FEATURES, np.random.default_rng(3).random((300, *SHAPE), np.float32))
    assert noise.explained < 0.05


@pytest.mark.parametrize("at_once", [1, 7, 300])
def test_blocks_make_no_difference(monkeypatch, at_once):
    expected = linear.fit(FEATURES, faces(0.1))
    monkeypatch.setattr(linear, "_AT_ONCE", at_once)
    found = linear.fit(FEATURES, faces(0.1))
    assert found.weights == pytest.approx(expected.weights, abs=1e-6)
    assert found.strength == expected.strength


def test_mirror_images_are_as_many_faces_more():
    images, mirrored = faces(0.1), RNG.normal(size=(300, 5))
    twice = np.stack([images, images[:, :, ::-1]], 1).reshape(600, *SHAPE)
    expected = linear.fit(np.stack([FEATURES, mirrored], 1).reshape(600, 5), twice)
    found = linear.fit(FEATURES, images, mirrored)
    assert found.weights == pytest.approx(expected.weights, abs=1e-6)
    assert found.mean == pytest.approx(found.mean[:, ::-1], abs=1e-6)
    with pytest.raises(UserError, match=r"\[300, 5\] as features are, but is \[299, 5\]"):
        linear.fit(FEATURES, images, mirrored[1:])


def test_more_features_than_faces():
    found = linear.fit(RNG.normal(size=(20, 50)), faces(0.1)[:20])
    assert np.isfinite(found.weights).all()


def test_residuals_are_what_the_map_cannot_tell():
    direction = np.zeros(SHAPE)
    direction[0, 0, 0] = 1
    hidden = np.random.default_rng(5).normal(size=300)
    images = faces() + (0.2 * hidden[:, None, None, None] * direction).astype(np.float32)
    found = linear.fit(FEATURES, images)
    (component,) = linear.residuals(found, FEATURES, images, 1)
    assert component == pytest.approx(0.2 * hidden.std() * direction, abs=0.02)


def space(spread=0.0, gain=1.0):
    found = linear.fit(FEATURES, faces(0.1))
    templates = FEATURES[:3]
    components = linear.residuals(found, FEATURES, faces(0.1), 4)
    around = linear.around(found, templates, components, gain=gain, spread=spread, prior=0.5)
    return found, around


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_the_space_starts_at_the_image_of_the_template(gain):
    found, around = space(gain=gain)
    for target in range(3):
        image = around.decode(around.first(jax.random.key(0), jnp.array(target)))
        expected = np.clip(linear.apply(found, FEATURES[target : target + 1], gain)[0], 0, 1)
        assert image == pytest.approx(expected, abs=1e-6)
    nobody = around.decode(around.start(jax.random.key(0)))
    assert nobody == pytest.approx(np.clip(found.mean, 0, 1), abs=1e-6)


def test_a_descent_moves_the_offset_alone():
    _, around = space(spread=0.5)
    point = around.first(jax.random.key(0), jnp.array(1))
    gradient = jax.grad(lambda p: jnp.sum(around.decode(p) ** 2))(point)
    assert not gradient.center.any() and gradient.offset.any()
    assert around.penalty(point, None) == pytest.approx(0.25 * np.sum(point.offset**2))


@pytest.mark.parametrize(
    ("features", "count", "strength", "said"),
    [
        (FEATURES[:9], 10, None, "two or more"),
        (FEATURES[:1], 1, None, "two or more"),
        (FEATURES[0], 5, None, "two or more"),
        (np.full((9, 5), np.nan), 9, None, "finite"),
        (FEATURES[:9], 9, 0.0, "above 0"),
    ],
)
def test_what_cannot_be_fitted(features, count, strength, said):
    with pytest.raises(UserError, match=said):
        linear.fit(features, faces()[:count], strength=strength)


def test_templates_of_rows_lead_by_so_many_deviations():
    rows = RNG.normal(size=(4, 5))
    features = RNG.normal(size=(5000, 5)) @ RNG.normal(size=(5, 5)) + 2
    apart = rows - rows.mean(axis=0)
    scores = features @ apart.T
    found = linear.templates_of_rows(features, rows, 7.0)
    lead = (np.diag(found @ apart.T) - scores.mean(axis=0)) / scores.std(axis=0)
    assert lead == pytest.approx(np.full(4, 7.0), rel=1e-3)


def embed(params, images):
    """A linear embedder."""
    return images.reshape(len(images), -1) @ params


def test_the_recipe_gives_back_a_linear_embedders_faces():
    """Templates of people who are not among the auxiliary faces; what no feature tells is lost."""
    basis = np.linalg.qr(np.random.default_rng(2).normal(size=(24, 5)))[0]
    coordinates = np.random.default_rng(3).normal(size=(203, 5)) / 20
    images = np.clip(0.5 + coordinates @ basis.T, 0, 1).reshape(203, *SHAPE).astype(np.float32)
    seen = np.asarray(embed(jnp.asarray(basis), images))
    people, others = images[200:], images[:200]

    def logits(params, shown):
        apart = embed(params, shown)[:, None] - seen[200:]
        return -jnp.sum(apart**2, axis=-1)

    attack = recipes.of_templates(
        logits, others, features=seen[:200], templates=seen[200:], gain=1.0, spread=0.0
    )
    cases = make_cases(jax.random.key(0), 1, jnp.arange(2))
    found = invert(jnp.asarray(basis), cases, attack)
    assert found.images == pytest.approx(np.stack([people[1]] * 2), abs=0.04)
    assert found.seeds == pytest.approx(np.stack([others.mean(axis=0)] * 2), abs=1e-3)


def test_a_recipe_refuses_features_of_other_faces():
    with pytest.raises(UserError, match="of 200"):
        recipes.of_templates(
            embed, faces()[:200].clip(0, 1), features=FEATURES[:9], templates=FEATURES
        )
