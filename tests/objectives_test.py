import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from mia_jax.attack import gradients, losses, make_cases, objectives
from mia_jax.attack.inversion import Attack, invert
from mia_jax.attack.objectives import classification, clip_pixels
from mia_jax.attack.spaces import Space, identity, no_penalty
from mia_jax.recognizer.views import ViewRange
from mia_jax.runtime.errors import UserError

SHAPE, PIXELS, CLASSES = (2, 3, 1), 6, 4
RANDOM = np.random.default_rng(0)
FIRST, SECOND = RANDOM.normal(size=(2, PIXELS, CLASSES)).astype(np.float32)
FACES = RANDOM.uniform(size=(20, *SHAPE)).astype(np.float32)
IMAGE = RANDOM.uniform(size=SHAPE).astype(np.float32)
CASE = jax.tree.map(lambda array: array[0], make_cases(jax.random.key(0), 2, jnp.arange(1)))

# Most of the time here is compilation; this is LLVM's part, XLA's own passes still run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def linear(weights, images):
    return images.reshape(len(images), -1) @ weights


def features(weights, images):
    return linear(weights, images) ** 2


class TogetherTest(parameterized.TestCase):
    def test_is_the_mean_of_its_models(self):
        parts = [classification(linear, losses.infomax), classification(linear, losses.max_margin)]
        both = objectives.together(parts)
        loss, confidences = jit(
            lambda: both.look((FIRST, SECOND), (None, None), IMAGE, CASE, None)
        )()
        logits = [IMAGE.ravel() @ weights for weights in (FIRST, SECOND)]
        by_hand = np.log(np.exp(logits[0]).sum()) - logits[0][2]
        by_hand += np.delete(logits[1], 2).max() - logits[1][2]
        np.testing.assert_allclose(loss, by_hand / 2, rtol=1e-5)
        np.testing.assert_allclose(confidences, jax.nn.softmax(logits[0]), rtol=1e-5)

    def test_all_see_the_same_views(self):
        one = classification(linear, losses.infomax, ViewRange(brightness=0.3), 2)
        both = objectives.together([one, one])
        alone, twice = jit(
            lambda key: (
                one.look(FIRST, None, IMAGE, CASE, key),
                both.look((FIRST, FIRST), (None, None), IMAGE, CASE, key),
            )
        )(jax.random.key(3))
        np.testing.assert_allclose(twice[0], alone[0], rtol=1e-5)

    def test_two_that_want_the_same_direction_or_opposite_ones(self):
        """What one model gains and the other loses is not worth a change."""
        part = classification(linear, losses.logit)
        space = Space(lambda key: jnp.asarray(IMAGE), identity, no_penalty, clip_pixels)
        cases = make_cases(jax.random.key(0), 2, jnp.arange(1))
        attack = Attack(space, objectives.together([part, part]), optax.sgd(0.01), 1)
        still = invert((FIRST, -FIRST), cases, attack).last[0]
        np.testing.assert_allclose(still, IMAGE, atol=1e-6)
        moved = invert((FIRST, SECOND), cases, attack).last[0]
        step = 0.01 * (FIRST + SECOND)[:, 2].reshape(SHAPE) / 2
        np.testing.assert_allclose(moved, np.clip(IMAGE + step, 0, 1), atol=1e-6)


class StandardizedTest(parameterized.TestCase):
    @parameterized.parameters((0.01, 0.0), (1.0, 3.0), (100.0, -50.0))
    def test_the_unit_is_the_spread_over_faces(self, scale, shift):
        logits = RANDOM.normal(size=(30, CLASSES)).astype(np.float32)
        centered = logits - logits.mean(1, keepdims=True)
        by_hand = np.sqrt(np.mean(centered.std(0) ** 2))
        # A constant of each face's own changes no confidence, and no unit.
        own = shift * RANDOM.normal(size=(30, 1)).astype(np.float32)
        found = objectives.spread(jnp.asarray(scale * logits + own))
        np.testing.assert_allclose(found, scale * by_hand, rtol=1e-3)

    def test_a_model_that_tells_no_faces_apart_has_the_unit_1(self):
        logits = jnp.broadcast_to(jnp.arange(4.0), (5, 4))
        self.assertEqual(objectives.spread(logits), 1)

    @parameterized.product(
        loss=(losses.infomax, losses.least_squares, losses.max_margin, losses.logit,
              losses.top_margin, losses.poincare, losses.shortfall),
        scale=(0.01, 100.0),
    )  # fmt: skip
    def test_loss_of_scaled_logits_is_that_of_logits(self, loss, scale):
        scaled = lambda weights, images: scale * linear(weights, images) + 2.5 * scale  # noqa: E731
        plain, other = (
            classification(apply_fn, loss, faces=FACES) for apply_fn in (linear, scaled)
        )
        found, same = (
            jit(lambda one=one: one.look(FIRST, one.measure(FIRST), IMAGE, CASE, None))()
            for one in (plain, other)
        )
        np.testing.assert_allclose(same[0], found[0], rtol=1e-4)
        # What is told of the model's confidence stays the model's.
        logits = scale * (IMAGE.ravel() @ FIRST)
        np.testing.assert_allclose(same[1], jax.nn.softmax(logits), rtol=1e-3, atol=1e-6)

    @parameterized.parameters(losses.infomax, losses.least_squares, losses.max_margin)
    def test_without_faces_the_scale_of_the_logits_counts(self, loss):
        scaled = lambda weights, images: 3 * linear(weights, images)  # noqa: E731
        found, other = (
            classification(apply_fn, loss).look(FIRST, None, IMAGE, CASE, None)[0]
            for apply_fn in (linear, scaled)
        )
        self.assertGreater(abs(float(found - other)), 0.01)

    def test_measured_once_is_as_measured_each_time(self):
        objective = classification(linear, losses.logit, faces=FACES)
        once = objectives.measured(objective, FIRST)
        self.assertIsNone(once.faces)
        np.testing.assert_allclose(once.measure(None), objective.measure(FIRST), rtol=1e-6)
        both = objectives.together([objective, objective])
        units = both.measure((FIRST, 2 * FIRST))
        np.testing.assert_allclose(units[1], 2 * units[0], rtol=1e-6)

    @parameterized.parameters((3, 3), (64, 64), (1000, 64))
    def test_faces_are_taken_from_everywhere(self, count, taken):
        faces = np.arange(count, dtype=np.float32)[:, None, None, None]
        found = objectives.sample(faces).ravel()
        self.assertLen(np.unique(found), taken)
        self.assertEqual((found[0], found[-1]), (0, count - 1))


class FeaturesTest(parameterized.TestCase):
    def test_adds_the_mean_squared_difference(self):
        plain = classification(linear, losses.infomax)
        references = RANDOM.normal(size=(CLASSES, CLASSES)).astype(np.float32)
        more = objectives.with_features(plain, features, references, 0.5)
        expected, found = jit(
            lambda: [each.look(FIRST, None, IMAGE, CASE, None)[0] for each in (plain, more)]
        )()
        difference = (IMAGE.ravel() @ FIRST) ** 2 - references[2]
        np.testing.assert_allclose(found, expected + 0.5 * np.mean(difference**2), rtol=1e-5)

    @parameterized.parameters(1, 3, 100)
    def test_features_of_the_faces_that_a_class_likes(self, count):
        faces = RANDOM.uniform(size=(11, *SHAPE)).astype(np.float32)
        found = objectives.likely_features(linear, features, FIRST, faces, count, batch=4)
        logits = faces.reshape(11, -1) @ FIRST
        confidences = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        for number in range(CLASSES):
            best = np.argsort(-confidences[:, number])[:count]
            np.testing.assert_allclose(found[number], (logits[best] ** 2).mean(0), rtol=1e-4)


class AveragedTest(parameterized.TestCase):
    def test_of_a_linear_loss_is_its_gradient(self):
        loss = lambda point, key: (point["a"].sum() * 3 + point["b"] @ jnp.arange(4.0), point["b"])  # noqa: E731
        point = {"a": jnp.ones(2), "b": jnp.zeros(4)}
        averaged = gradients.averaged(7, 0.5)
        (_, seen), slope = jit(lambda key: averaged(loss, point, key))(jax.random.key(0))
        np.testing.assert_allclose(slope["a"], [3, 3], rtol=1e-6)
        np.testing.assert_allclose(slope["b"], np.arange(4), rtol=1e-6)
        self.assertEqual(seen.shape, (4,))
        self.assertGreater(np.abs(seen).max(), 0.05)

    def test_of_a_step_is_a_bell(self):
        """Noise turns a step, whose gradient is 0, into a slope: that of the smoothed function."""
        ramp = lambda point, key: (jnp.clip(100 * point, 0, 1), jnp.zeros(2))  # noqa: E731
        averaged = jit(functools.partial(gradients.averaged(20_000, 0.5), ramp))
        for place in (0.0, 0.5, 1.0):
            (value, _), slope = averaged(jnp.array(place), jax.random.key(1))
            bell = np.exp(-((place / 0.5) ** 2) / 2) / (0.5 * np.sqrt(2 * np.pi))
            np.testing.assert_allclose(slope, bell, atol=0.12)
            self.assertBetween(value, 0.45, 1)

    def test_one_copy_without_noise_is_exact(self):
        loss = lambda point, key: (jnp.sum(point**3), jnp.zeros(2))  # noqa: E731
        point = jnp.arange(3.0)
        exact = gradients.averaged(1, 0.0)
        found = jit(lambda key: exact(loss, point, key))(jax.random.key(0))
        np.testing.assert_allclose(found[1], 3 * point**2)

    def test_refuses_no_copy(self):
        with self.assertRaisesRegex(UserError, "count=0"):
            gradients.averaged(0, 0.1)


if __name__ == "__main__":
    absltest.main()
