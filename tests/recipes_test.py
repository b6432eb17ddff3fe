"""The recipes from end to end, on a recognizer that is small but trained."""

import contextlib
import functools
from unittest import mock

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from mia_jax.attack import (
    Objective,
    descents,
    invert,
    losses,
    make_cases,
    mi_face,
    recipes,
    seeds,
)
from mia_jax.runtime.errors import UserError

SIDE, CLASSES, PEOPLE = 16, 4, 40


def faces(random, count):
    """Smooth random images, each of another person."""
    coarse = random.uniform(size=(count, 4, 4, 1)).astype(np.float32)
    return np.asarray(jax.image.resize(coarse, (count, SIDE, SIDE, 1), "cubic")).clip(0, 1)


def apply_fn(prototypes, images):
    """Knows each person by one face: the nearer, the larger the logit."""
    away = images.reshape(len(images), 1, -1) - prototypes.reshape(CLASSES, -1)
    return -jnp.sum(away**2, -1)


RANDOM = np.random.default_rng(0)
AUXILIARY, PROTOTYPES = faces(RANDOM, PEOPLE), faces(RANDOM, CLASSES)


def run(attack, target=2, restarts=4):
    cases = make_cases(jax.random.key(0), target, jnp.arange(restarts))
    return jax.tree.map(np.asarray, invert(PROTOTYPES, cases, attack))


def distance(images, target):
    return np.mean((images - PROTOTYPES[target]) ** 2, (1, 2, 3))


def landmarks(images):
    """Finds the corners of an inner square, shifted a little from face to face."""
    random = np.random.default_rng(len(images))
    square = np.array([[4.0, 4], [4, 11], [11, 4], [11, 11]])
    return square + random.uniform(-1, 1, (len(images), 4, 2))


LEAD = descents.lead_of(1.0)
SMALL = {"components": 12, "waves": 5, "loss": LEAD}


class RecipesTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("paper", recipes.paper, {"rate": 0.05}),
        ("best", recipes.best, SMALL),
        ("best_without_waves", recipes.best, SMALL | {"waves": 0}),
        (
            "eigenfaces_of_many_faces",
            recipes.of_eigenfaces,
            SMALL
            | {
                "loss": descents.lead_of(0.8),
                "falling_rate": True,
                "mirror": 0.5,
                "noise": 0.05,
                "views_per_iteration": 2,
            },
        ),
        ("components", recipes.of_components, {"components": 6, "windows": 3, "loss": LEAD}),
        ("shapes", recipes.of_shapes, {"landmarks": landmarks, "components": 4, "loss": LEAD}),
        ("autoencoder", recipes.of_autoencoder, {"latents": 8, "steps": 150, "loss": LEAD}),
    )
    def test_clones_come_nearer_to_the_person_than_their_seeds(self, make, arguments):
        for target in (0, 2):
            found = run(make(apply_fn, AUXILIARY, **arguments), target)
            self.assertEqual(found.images.shape, (4, SIDE, SIDE, 1))
            logits = np.asarray(apply_fn(PROTOTYPES, found.images))
            np.testing.assert_array_equal(logits.argmax(1), target)
            np.testing.assert_array_less(
                distance(found.images, target), distance(found.seeds, target)
            )
            self.assertLen(np.unique(found.images.reshape(4, -1), axis=0), 4)

    def test_a_lead_that_is_enough_ends_the_descent(self):
        leads = []
        for enough in (8.0, np.inf):
            loss = functools.partial(losses.max_margin, enough=enough)
            arguments = SMALL | {"prior": 0.0, "views_per_iteration": 0, "loss": loss}
            arguments |= {"standardized": False}
            found = run(recipes.best(apply_fn, AUXILIARY, **arguments))
            logits = np.asarray(apply_fn(PROTOTYPES, found.last))
            leads.append(logits[:, 2] - np.delete(logits, 2, 1).max(1))
            self.assertAlmostEqual(float(found.last_loss.min()), -min(enough, leads[-1].max()), 3)
        self.assertGreaterEqual(leads[0].min(), 8)
        np.testing.assert_array_less(leads[0], leads[1])

    @parameterized.named_parameters(
        ("best", recipes.best, {"components": 12, "waves": 5}),
        ("of_many_faces", recipes.of_eigenfaces, SMALL | descents.MANY_FACES),
        ("components", recipes.of_components, {"components": 6, "windows": 3}),
        ("shapes", recipes.of_shapes, {"landmarks": landmarks, "components": 4}),
        ("autoencoder", recipes.of_autoencoder, {"latents": 8, "steps": 20}),
        ("infomax", recipes.best, {"components": 12, "waves": 5, "loss": losses.infomax}),
        ("logit", recipes.best, {"components": 12, "waves": 5, "loss": losses.logit}),
        ("poincare", recipes.best, {"components": 12, "waves": 5, "loss": losses.poincare}),
        ("paper_standardized", recipes.paper, {"standardized": True}),
    )
    def test_clones_do_not_depend_on_the_scale_of_the_logits(self, make, arguments):
        """The same model with another temperature decides the same, and gives the same away."""

        def scaled(params, images):
            prototypes, scale, shift = params
            return scale * apply_fn(prototypes, images) + shift

        attack = make(scaled, AUXILIARY, **(arguments | {"iterations": 15}))
        cases = make_cases(jax.random.key(0), 2, jnp.arange(3))
        plain, *others = (
            invert((PROTOTYPES, jnp.float32(scale), jnp.float32(shift)), cases, attack)
            for scale, shift in ((1, 0), (0.01, 0), (0.1, 1), (10, -3), (100, 20))
        )
        self.assertGreater(np.abs(plain.images - plain.seeds).max(), 0.01)
        for other in others:
            np.testing.assert_allclose(other.images, plain.images, atol=2e-3)

    @parameterized.parameters(losses.infomax, losses.least_squares)
    def test_the_paper_s_softmax_has_a_temperature(self, loss):
        """So its clones are those of the logits as they are, which its losses say."""
        self.assertIn("temperature", loss.__doc__)
        clones = [
            run(recipes.paper(lambda p, x, s=s: s * apply_fn(p, x), AUXILIARY, loss=loss))
            for s in (1, 0.03)
        ]
        self.assertGreater(np.abs(clones[0].images - clones[1].images).max(), 0.05)

    def test_the_paper_s_attack_is_equation_7_from_a_mean_of_faces(self):
        attack = recipes.paper(apply_fn, AUXILIARY, rate=0.03, iterations=1)
        found = run(attack)
        for restart, seed in enumerate(found.seeds):
            # A mean of faces drawn with replacement: within their hull, near their mean.
            self.assertLess(np.abs(seed - AUXILIARY.mean(0)).mean(), 0.1)
            gradient = jax.grad(
                lambda image: -jax.nn.log_softmax(apply_fn(PROTOTYPES, image[None])[0])[2]
            )(seed)
            np.testing.assert_allclose(
                found.last[restart], np.clip(seed - 0.03 * gradient, 0, 1), atol=1e-6
            )

    def test_every_space_starts_from_the_same_faces(self):
        """All eigenfaces can show every mean of auxiliary faces."""
        everything = {"components": 2 * PEOPLE - 1, "waves": 0, "spread": 0.0}
        pixels = run(recipes.paper(apply_fn, AUXILIARY, iterations=1))
        best = run(recipes.best(apply_fn, AUXILIARY, **everything, iterations=1))
        np.testing.assert_allclose(best.seeds, pixels.seeds, atol=1e-3)

    def test_penalties_are_added(self):
        smooth = recipes.paper(
            apply_fn, AUXILIARY, loss=lambda logits, target: 0.0 * logits[target], rate=1.0,
            iterations=30, l2=10.0,
        )  # fmt: skip
        found = run(smooth)
        np.testing.assert_array_less(np.abs(found.last - 0.5), np.abs(found.seeds - 0.5) + 1e-6)
        self.assertLess(found.last_loss.max(), found.loss_trace[:, 0].min())

    @parameterized.product(
        make=(
            recipes.paper,
            recipes.best,
            recipes.of_eigenfaces,
            recipes.of_components,
            recipes.of_shapes,
            recipes.of_autoencoder,
            recipes.of_photographs,
            recipes.of_retouched,
        ),
        wrong=(
            ({"iters": 5}, "iters is no argument of a recipe: give some of"),
            ({"rate": 0.0}, "rate=0.0 does not descend"),
            ({"mirror": 2.0}, r"mirror=2.0 must be in \[0, 1\]"),
        ),
    )
    def test_what_no_recipe_takes_is_refused_before_its_space_is_fitted(self, make, wrong):
        arguments, words = wrong
        fitting = (
            (recipes.spaces, "pixels"),
            (recipes.eigenfaces, "space"),
            (recipes.eigenfaces, "fit"),
            (recipes.local, "space"),
            (recipes, "dlib_landmarks"),
            (recipes.vae, "fit"),
            (recipes.mobile_stylegan_files, "load"),
        )
        with contextlib.ExitStack() as patched:
            for where, name in fitting:
                patched.enter_context(mock.patch.object(where, name, side_effect=AssertionError))
            with self.assertRaisesRegex(UserError, words):
                make(apply_fn, AUXILIARY, **arguments)

    @parameterized.parameters(recipes.paper, recipes.best)
    def test_limits_end_a_restart(self, make):
        arguments = SMALL if make is recipes.best else {"rate": 0.05}
        found = run(make(apply_fn, AUXILIARY, stop_patience=1, stop_score=0.5, **arguments))
        self.assertLess(found.iterations.max(), found.loss_trace.shape[1])

    @parameterized.parameters(
        ({"rate": 0.0}, "rate=0.0 does not descend"),
        ({"rate": float("nan")}, "rate=nan does not descend"),
        ({"stop_score": 2.0}, "score must be above 0 and at most 1"),
        ({"stop_patience": 0}, "patience must be at least 1"),
    )
    def test_refuses(self, arguments, message):
        for make in (recipes.paper, recipes.best):
            rest = SMALL if make is recipes.best else {}
            with self.assertRaisesRegex(UserError, message):
                make(apply_fn, AUXILIARY, **arguments, **rest)

    @parameterized.parameters(
        ((255 * AUXILIARY).astype(np.uint8), "the faces are uint8: give float32"),
        (255 * AUXILIARY, "the faces have values from .* to .*: give numbers in"),
        (AUXILIARY - 0.5, "the faces have values from -0"),
        (np.full_like(AUXILIARY, np.nan), "the faces have values from nan to nan"),
        (AUXILIARY.transpose(0, 3, 1, 2), r"shape \(40, 1, 16, 16\).* faces.transpose"),
        (AUXILIARY[..., 0], "shape .*: give .n, height, width, channels"),
    )
    def test_refuses_what_is_no_faces(self, faces, message):
        makes = (recipes.paper, recipes.best, recipes.of_components, mi_face.mi_face)
        for make in makes:
            with self.assertRaisesRegex(UserError, message):
                make(apply_fn, faces)

    @parameterized.parameters(
        ({"mirror": 1.5, "views_per_iteration": 1}, "mirror=1.5 must be in"),
        ({"noise": -0.1, "views_per_iteration": 1}, "noise=-0.1 at least 0"),
        ({"draws": 0}, "draws=0 starts nowhere"),
    )
    def test_refuses_what_a_descent_cannot_be(self, arguments, message):
        with self.assertRaisesRegex(UserError, message):
            run(recipes.paper(apply_fn, AUXILIARY, **arguments))

    @parameterized.parameters(False, True)
    def test_the_rate_falls_as_half_a_cosine_wave(self, falling):
        """A loss of slope 1 everywhere tells each update's rate."""
        attack = recipes.paper(
            apply_fn, AUXILIARY, loss=lambda logits, _: logits.sum(), rate=0.1, iterations=4,
            falling_rate=falling,
        )  # fmt: skip
        slope = Objective(lambda _, unit, image, *rest: (jnp.sum(image), jnp.zeros(CLASSES)))
        everywhere = attack.space._replace(project=lambda point: point)
        found = run(attack._replace(objective=slope, space=everywhere))
        rates = 0.1 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2 if falling else np.full(4, 0.1)
        np.testing.assert_allclose(-np.diff(found.loss_trace[0]) / SIDE**2, rates[:3], rtol=1e-3)

    @parameterized.parameters((recipes.MANY - 1, 60), (recipes.MANY, 500))
    def test_best_has_more_eigenfaces_where_there_are_faces(self, faces, components):
        auxiliary = np.random.default_rng(0).uniform(size=(faces, 6, 6, 1)).astype(np.float32)
        attack = recipes.best(apply_fn, auxiliary, waves=0, components=5)
        self.assertEqual(recipes.choice(faces)["components"], components)
        self.assertEqual(attack.space.start(jax.random.key(0)).shape, (5,))

    def test_too_few_faces(self):
        with self.assertRaisesRegex(UserError, "components=60 .* 3 faces"):
            recipes.best(apply_fn, AUXILIARY[:3])

    def test_a_model_of_another_library_with_functions_among_its_weights(self):
        model = equinox.nn.MLP(
            SIDE * SIDE, CLASSES, 16, 1, activation=jnp.tanh, key=jax.random.key(0)
        )
        apply = lambda model, images: jax.vmap(model)(images.reshape(len(images), -1))  # noqa: E731
        attack = recipes.best(apply, AUXILIARY, **SMALL)
        found = invert(model, make_cases(jax.random.key(0), 1, jnp.arange(2)), attack)
        np.testing.assert_array_less(found.last_loss, found.loss_trace[:, 0])

    def test_parts_can_be_replaced(self):
        attack = recipes.paper(apply_fn, AUXILIARY, seed_image=seeds.uniform_noise)
        found = run(attack._replace(optimizer=optax.adam(0.05), iterations=10))
        self.assertEqual(found.loss_trace.shape, (4, 10))
        np.testing.assert_array_less(found.last_loss, found.loss_trace[:, 0])


if __name__ == "__main__":
    absltest.main()
