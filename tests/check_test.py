import functools

import equinox
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from mia_jax import recognizer
from mia_jax.attack import check, losses
from mia_jax.recognizer import templates
from mia_jax.runtime.errors import UserError

CLASSES, SHAPE = 3, (4, 5, 1)
WEIGHTS = np.random.default_rng(0).normal(size=(20, CLASSES)).astype(np.float32)
IMAGES = np.random.default_rng(1).uniform(size=(4, *SHAPE)).astype(np.float32)


def linear(params, images):
    return images.reshape(images.shape[0], -1) @ params


def softmax(params, images):
    return jax.nn.softmax(linear(params, images))


def distance(confidences, target):
    """A loss of probabilities."""
    return jnp.sum((confidences - jax.nn.one_hot(target, CLASSES)) ** 2)


def for_bytes(params, images):
    """A model for gray levels in [0, 255] that barely notices those in [0, 1]."""
    return linear(params, images) / 255


def seen(apply_fn, params=WEIGHTS, target=1, loss=losses.infomax, **options):
    return check.check_model(apply_fn, params, IMAGES, target, loss, **options)


def largest_gradient(score):
    return max(np.abs(jax.grad(score)(image)).max() for image in IMAGES)


class CheckModelTest(parameterized.TestCase):
    def test_logits(self):
        found = seen(linear)
        self.assertEqual(found.classes, CLASSES)
        self.assertEqual(found.returns, "logits")
        expected = largest_gradient(
            lambda image: -jax.nn.log_softmax(linear(WEIGHTS, image[None])[0])[1]
        )
        self.assertAlmostEqual(found.largest_gradient, float(expected), places=5)

    def test_probabilities(self):
        found = seen(softmax, loss=distance, loss_takes="probabilities")
        self.assertEqual(found.classes, CLASSES)
        self.assertEqual(found.returns, "probabilities")
        expected = largest_gradient(lambda image: distance(softmax(WEIGHTS, image[None])[0], 1))
        self.assertAlmostEqual(found.largest_gradient, float(expected), places=5)

    @parameterized.parameters(0, CLASSES - 1)
    def test_every_class_may_be_the_target(self, target):
        self.assertGreater(seen(linear, target=target).largest_gradient, 0)

    def test_small_logits_of_a_model_for_the_right_range_pass(self):
        self.assertEqual(seen(linear, 0.3 * WEIGHTS).returns, "logits")

    @parameterized.named_parameters(
        ("a_score_an_image", lambda w, x: x.sum((1, 2, 3)), r"returns \(4,\) for 4 images"),
        ("a_map", lambda w, x: x, r"returns \(4, 4, 5, 1\) .* \[4, classes\]"),
        ("one_class", lambda w, x: linear(w, x)[:, :1], r"returns \(4, 1\) .* at least 2"),
        ("too_few_rows", lambda w, x: linear(w, x)[:1], r"returns \(1, 3\) for 4 images"),
        ("not_a_number", lambda w, x: linear(w * np.nan, x), "not finite for images.*weights"),
        ("infinite", lambda w, x: linear(w, x) / jnp.zeros(3), "values that are not finite"),
        ("probabilities", softmax, "returns probabilities, but .* logits: .*from_confidences"),
        ("constant", lambda w, x: 0 * linear(w, x) + 1, "same logits for 4 different images"),
        ("steep", lambda w, x: linear(w, jnp.sqrt(x - x)) + linear(w, x), "is not finite"),
        ("in_steps", lambda w, x: linear(w, jnp.round(4 * x)), "zero everywhere: .* not diff"),
        ("cut_off", lambda w, x: jax.lax.stop_gradient(linear(w, x)), "zero everywhere"),
    )
    def test_refuses(self, apply_fn, sentence):
        with self.assertRaisesRegex(ValueError, sentence):
            seen(apply_fn)

    @parameterized.parameters(-1, CLASSES, 1000)
    def test_refuses_a_class_that_is_not_there(self, target):
        with self.assertRaisesRegex(ValueError, f"target={target} is not one .* 0 to 2"):
            seen(linear, target=target)

    def test_refuses_logits_where_the_loss_takes_probabilities(self):
        with self.assertRaisesRegex(ValueError, "returns logits, but .* probabilities: .*softmax"):
            seen(linear, loss=distance, loss_takes="probabilities")

    @parameterized.named_parameters(
        ("a_sigmoid", lambda w, x: jax.nn.sigmoid(linear(w, x)), "a sigmoid's"),
        ("percentages", lambda w, x: 100 * softmax(w, x), "are percentages"),
        ("features", lambda w, x: templates.normalized(linear(w, x)), "a vector of length 1"),
    )
    def test_warns_of_what_is_hardly_logits(self, apply_fn, words):
        odd = [each for each in seen(apply_fn).warnings if "are taken for logits" in each]
        self.assertLen(odd, 1)
        self.assertIn(words, odd[0])

    def test_refuses_saturated_probabilities(self):
        with self.assertRaisesRegex(ValueError, "zero everywhere: .* saturated"):
            seen(
                lambda params, images: jax.nn.softmax(linear(params, 1e6 * (images - 0.5))),
                loss=distance,
                loss_takes="probabilities",
            )

    def test_the_advice_for_gray_levels_is_good(self):
        found = seen(lambda params, images: for_bytes(params, 255 * images))
        self.assertGreater(found.largest_gradient, 0.1)

    def test_a_model_that_may_be_for_gray_levels_up_to_255_is_a_warning(self):
        found = seen(for_bytes)
        self.assertLen(found.warnings, 1)
        self.assertRegex(
            found.warnings[0], r"hardly tells images in \[0, 1\] apart .*barely trained"
        )
        self.assertEqual(seen(linear).warnings, ())

    @parameterized.parameters((0.03, "flat"), (1000.0, "one-hot"))
    def test_confidences_that_only_the_scale_of_the_logits_makes_are_a_warning(self, scale, word):
        scaled = lambda params, images: scale * linear(params, images)  # noqa: E731
        (warning,) = seen(scaled).warnings
        self.assertRegex(warning, f"unrelated faces are {word} .* scale of the logits")
        # A loss of standardized logits does not see the scale.
        gradients = [
            seen(model, loss=losses.infomax, standardized=True).largest_gradient
            for model in (linear, scaled)
        ]
        np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-3)

    def test_a_recognizer_of_our_own_that_is_barely_trained_passes(self):
        params = recognizer.init(jax.random.key(0), CLASSES, (16, 16, 1))
        params = jax.tree.map(lambda leaf: 0.3 * leaf, params)
        images = np.random.default_rng(1).uniform(size=(4, 16, 16, 1)).astype(np.float32)
        found = check.check_model(recognizer.logits, params, images, 1, losses.infomax)
        self.assertEqual(found.returns, "logits")

    def test_a_loss_is_looked_at_with_its_margin(self):
        """Where the target leads by enough there is no gradient, and no fault of the model's."""
        ahead = lambda params, images: linear(params, images) + 100 * jnp.eye(CLASSES)[1]  # noqa: E731
        for enough, expected in ((5.0, 1), (1000.0, 0)):
            found = seen(ahead, loss=functools.partial(losses.max_margin, enough=enough))
            flat = [each for each in found.warnings if "gradient of the loss is zero" in each]
            self.assertLen(flat, expected)
            self.assertEqual(found.largest_gradient > 0, not expected)
        with self.assertRaisesRegex(UserError, "zero everywhere"):
            seen(
                lambda params, images: jax.lax.stop_gradient(ahead(params, images)),
                loss=functools.partial(losses.max_margin, enough=5.0),
            )

    def test_functions_among_the_weights(self):
        """An equinox model keeps its activation among its leaves, where jax.jit takes none."""
        model = equinox.nn.MLP(20, CLASSES, 8, 1, activation=jnp.tanh, key=jax.random.key(0))
        apply_fn = lambda model, images: jax.vmap(model)(images.reshape(len(images), -1))  # noqa: E731
        with self.assertRaises(TypeError):
            jax.jit(apply_fn)(model, IMAGES)
        found = seen(apply_fn, model)
        self.assertEqual(found.classes, CLASSES)
        self.assertGreater(found.largest_gradient, 0)

    def test_any_parameters_will_do(self):
        found = seen(
            lambda params, images: linear(*params["layers"], images), {"layers": [WEIGHTS]}
        )
        self.assertEqual(found, seen(linear))


class FromConfidencesTest(parameterized.TestCase):
    def test_softmax_gives_the_confidences_back(self):
        logits = check.from_confidences(softmax)
        np.testing.assert_allclose(
            jax.nn.softmax(logits(WEIGHTS, IMAGES)), softmax(WEIGHTS, IMAGES), rtol=1e-5
        )

    def test_the_advice_for_probabilities_is_good(self):
        found = seen(check.from_confidences(softmax))
        self.assertEqual(found.returns, "logits")
        self.assertAlmostEqual(found.largest_gradient, seen(linear).largest_gradient, places=4)

    def test_certainty_stays_finite(self):
        logits = check.from_confidences(lambda params, images: jnp.eye(4, 3))
        found = logits(None, IMAGES)
        self.assertTrue(np.isfinite(found).all())
        np.testing.assert_array_equal(jax.nn.softmax(found)[:3], np.eye(3))


if __name__ == "__main__":
    absltest.main()
