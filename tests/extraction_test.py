"""Copies of models that are NumPy and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from mia_jax.attack import extraction, losses, make_cases, students
from mia_jax.attack.extraction import Answers, agreement, solve_linear
from mia_jax.attack.inversion import Attack, invert
from mia_jax.attack.objectives import classification, clip_pixels
from mia_jax.attack.oracle import Budget, Unanswered, from_labels
from mia_jax.attack.spaces import Space, identity, no_penalty
from mia_jax.runtime.errors import UserError

SHAPE, PIXELS, CLASSES = (3, 4, 1), 12, 4
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.normal(size=(PIXELS, CLASSES)).astype(np.float32)
BIASES = RANDOM.normal(size=CLASSES).astype(np.float32)


class Model:
    """A linear softmax that counts."""

    def __init__(self):
        self.queries = 0

    def __call__(self, images):
        self.queries += len(images)
        logits = images.reshape(len(images), -1) @ WEIGHTS + BIASES
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)


def centered(array):
    return array - array.mean(-1, keepdims=True)


def images(seed, count):
    return np.random.default_rng(seed).uniform(size=(count, *SHAPE)).astype(np.float32)


class LinearTest(parameterized.TestCase):
    @parameterized.parameters(64, 5)
    def test_is_exact_with_a_query_more_than_pixels(self, batch):
        model = Model()
        copy = solve_linear(model, SHAPE, Budget(PIXELS + 1, batch=batch))
        np.testing.assert_allclose(copy.params["weights"], centered(WEIGHTS), atol=1e-5)
        np.testing.assert_allclose(copy.params["biases"], centered(BIASES), atol=1e-5)
        self.assertEqual((copy.queries, model.queries), (13, 13))
        others = extraction.ask(Model(), images(1, 50), Budget(50))
        found = agreement(copy, others)
        self.assertEqual(found.first, 1)
        self.assertLess(found.distance, 1e-5)

    def test_the_copy_is_inverted_as_the_model_is(self):
        copy = solve_linear(Model(), SHAPE, Budget(PIXELS + 1))
        space = Space(
            lambda key: jnp.full(SHAPE, 0.5), identity, no_penalty, clip_pixels
        )  # fmt: skip
        attack = Attack(
            space, classification(copy.apply_fn, losses.infomax), optax.sgd(0.1), 10
        )  # fmt: skip
        cases = make_cases(jax.random.key(0), 1, jnp.arange(2))
        stolen = invert(copy.params, cases, attack)
        original = invert({"weights": WEIGHTS, "biases": BIASES}, cases, attack)
        np.testing.assert_allclose(stolen.images, original.images, atol=1e-4)
        np.testing.assert_allclose(stolen.target_score, original.target_score, rtol=1e-3)

    def test_one_query_too_few(self):
        with self.assertRaisesRegex(Unanswered, "budget of 12 queries leaves 11, but 12 images"):
            solve_linear(Model(), SHAPE, Budget(PIXELS))

    def test_rounded_confidences_are_refused(self):
        rounded = lambda images: np.eye(CLASSES)[np.zeros(len(images), int)]  # noqa: E731
        with self.assertRaisesRegex(UserError, "confidences of 0, which a softmax never is"):
            solve_linear(rounded, SHAPE, Budget(100))


class DistillTest(parameterized.TestCase):
    def init(self, key):
        weights = 0.1 * jax.random.normal(key, (PIXELS, CLASSES))
        return {"weights": weights, "biases": jnp.zeros(CLASSES)}

    @parameterized.named_parameters(
        ("confidences", lambda model: model, students.of_confidences, 0.99, 0.01),
        (
            "labels",
            lambda model: from_labels(lambda images: model(images).argmax(1), CLASSES),
            students.of_labels,
            0.9,
            1.0,
        ),
    )
    def test_a_student(self, access, lesson, least, most):
        model = Model()
        answers = extraction.ask(access(model), images(2, 400), Budget(400))
        copy = students.distill(
            answers, self.init, extraction.linear, jax.random.key(0),
            lesson=lesson, steps=600, optimizer=optax.adam(0.05),
        )  # fmt: skip
        self.assertEqual((copy.queries, model.queries), (400, 400))
        others = extraction.ask(Model(), images(3, 300), Budget(300))
        found = agreement(copy, others)
        self.assertGreaterEqual(found.first, least)
        self.assertLess(found.distance, most)
        untrained = agreement(copy._replace(params=self.init(jax.random.key(1))), others)
        self.assertLess(untrained.first, 0.7)

    def test_lessons_by_hand(self):
        logits, confidences = jnp.array([1.0, 2, 6]), jnp.array([0.5, 0.5, 0])
        np.testing.assert_allclose(
            students.of_labels(logits, confidences), np.log(np.exp([1, 2, 6]).sum()) - 1, 1e-5
        )
        difference = np.array([1 - np.log(0.5), 2 - np.log(0.5), 6 - np.log(1e-12)])
        np.testing.assert_allclose(
            students.of_confidences(logits, confidences),
            np.mean((difference - difference.mean()) ** 2),
            rtol=1e-4,
        )
        # A constant on all logits changes no confidence.
        np.testing.assert_allclose(
            students.of_confidences(jnp.log(jnp.array([0.2, 0.8])) + 7, jnp.array([0.2, 0.8])),
            0,
            atol=1e-8,
        )

    def test_agreement_by_hand(self):
        answers = Answers(np.zeros((2, *SHAPE)), np.array([[0.5, 0.5, 0], [0, 0.25, 0.75]]), 2)
        own = jnp.log(jnp.array([[0.6, 0.4, 1e-9], [0.5, 0.25, 0.25]]))
        copy = extraction.Copy(lambda params, images: own, None, 0)
        found = agreement(copy, answers)
        self.assertEqual(found.first, 0.5)
        self.assertAlmostEqual(found.distance, (0.1 + 0.5) / 2, places=5)

    def test_draws(self):
        space = Space(
            lambda key: jnp.zeros(PIXELS),
            lambda point: 0.5 + 0.1 * point.reshape(SHAPE),
            no_penalty,
            identity,
        )
        found = students.draws(space, jax.random.key(0), 200, deviation=2.0)
        self.assertEqual(found.shape, (200, *SHAPE))
        self.assertBetween(found.std(), 0.17, 0.2)
        self.assertBetween(found.min(), 0, 0.1)


if __name__ == "__main__":
    absltest.main()
