"""A face of one space with a likeness of another on top."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
import tiny_stylegan

from mia_jax.attack import invert, make_cases, recipes, spaces
from mia_jax.attack.generators import eigenfaces, mobile_stylegan_files, retouched

SHAPE = (12, 10, 1)
FACES = np.random.default_rng(0).uniform(0.3, 0.7, (9, *SHAPE)).astype(np.float32)
LIKENESS = eigenfaces.fit(FACES, 5)


def own():
    """A space of its own: an image of two numbers, one above the middle and one below."""
    return spaces.Space(
        start=lambda key: jax.random.uniform(key, (2,)),
        decode=lambda point: jnp.repeat(point, 6)[:, None, None] * jnp.ones(SHAPE),
        penalty=lambda point, image: 3 * point.sum(),
        project=lambda point: point.clip(0, 1),
    )


def test_it_starts_from_a_face_as_it_is():
    space = retouched.space(own(), LIKENESS)
    point = space.start(jax.random.key(0))
    face = own().start(jax.random.key(0))
    np.testing.assert_array_equal(point[0], face)
    np.testing.assert_array_equal(space.decode(point), own().decode(face))


def test_the_likeness_is_added_without_its_mean():
    space = retouched.space(own(), LIKENESS, prior=0.5)
    face, coefficients = jnp.array([0.4, 0.6]), jnp.arange(5.0) / 10
    added = np.tensordot(coefficients, LIKENESS.components, 1)
    found = space.decode((face, coefficients))
    np.testing.assert_allclose(found, own().decode(face) + added, atol=1e-6)
    assert space.penalty((face, coefficients), found) == pytest.approx(3 + 0.25 * 0.3)
    far = space.decode((face, 1000 * coefficients))
    assert (far.min(), far.max()) == (0, 1)
    projected, same = space.project((face + 1, coefficients))
    np.testing.assert_array_equal(projected, [1, 1])
    np.testing.assert_array_equal(same, coefficients)


def test_gradient_is_that_of_finite_differences():
    space = retouched.space(own(), LIKENESS)
    weights = np.random.default_rng(1).normal(size=SHAPE)

    def total(point):
        return jnp.sum(weights * space.decode(point))

    point = (jnp.array([0.4, 0.6]), jnp.arange(5.0) / 10)
    jax.test_util.check_grads(total, (point,), 1, ["rev"], 0.01, 0.01, 1e-3)


def logits(people, images):
    return -10 * jnp.sum((images[:, None] - people) ** 2, (2, 3, 4))


def test_of_the_recipe_a_little_retouch_brings_clones_nearer(tmp_path):
    tiny_stylegan.write(tmp_path)
    network = mobile_stylegan_files.load(tmp_path)
    people = FACES[:3]
    cases = make_cases(jax.random.key(1), 1, jnp.arange(4))
    common = {"network": network, "components": tiny_stylegan.SIZE, "draws": 20, "iterations": 30}
    plain = recipes.of_photographs(logits, FACES, **(recipes.RETOUCHED | common))
    none, some = (
        recipes.of_retouched(logits, FACES, retouch=retouch, **common) for retouch in (0.0, 0.5)
    )
    photographs, same, nearer = (
        invert(people, cases, attack).images for attack in (plain, none, some)
    )
    np.testing.assert_allclose(same, photographs, atol=1e-3)
    away = [np.mean((images - people[1]) ** 2, (1, 2, 3)) for images in (photographs, nearer)]
    np.testing.assert_array_less(away[1], away[0])
