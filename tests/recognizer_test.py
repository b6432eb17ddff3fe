import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from mia_jax import recognizer
from mia_jax.runtime.errors import UserError

# Most of the time here is compilation; this is LLVM's part, XLA's own passes still run.
QUICK_TO_COMPILE = {"xla_backend_optimization_level": 0}


@functools.cache
def weights(classes, *image_shape):
    """Random weights with biases, which `init` leaves at zero: they must commute with the pool."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: recognizer.init(jax.random.key(0), classes, image_shape))

    def draw(leaf):
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 0.3
        return (scale * random.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree.map(draw, shapes)


def module(params, images):
    """The flax module itself, which the formulations must agree with."""
    classes = params["L7"]["bias"].shape[0]
    return recognizer.Recognizer(classes).apply({"params": params}, images)


def fast(params, images):
    return recognizer.classify(params, recognizer.fast_on_cpu(params, images))


class FormulationsTest(parameterized.TestCase):
    @parameterized.parameters(
        (2, 16, 16, 1),
        (3, 17, 17, 1),
        (5, 33, 33, 3),
        (4, 40, 24, 1),
    )
    def test_fast_on_cpu_computes_what_plain_does(self, classes, *image_shape):
        params = weights(classes, *image_shape)
        random = np.random.default_rng(1)
        images = random.uniform(size=(2, *image_shape)).astype(np.float32)
        length = params["L5"]["kernel"].shape[0]
        cotangents = random.standard_normal((2, length)).astype(np.float32)

        @functools.partial(jax.jit, compiler_options=QUICK_TO_COMPILE)
        def everything(params, images):
            results = []
            for formulation in (recognizer.fast_on_cpu, recognizer.plain):
                convolved, pullback = jax.vjp(formulation, params, images)
                results.append((convolved, *pullback(cotangents)))
            return results

        found, expected = everything(params, images)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5 * np.abs(other).max(), rtol=0)
        image_gradient = np.asarray(expected[2])
        self.assertEqual(image_gradient.shape, images.shape)
        self.assertGreater(np.abs(image_gradient).max(), 0)

    def test_the_layers_one_by_one_are_the_module(self):
        params = weights(3, 17, 20, 3)
        images = np.random.default_rng(1).uniform(size=(2, 17, 20, 3)).astype(np.float32)

        @functools.partial(jax.jit, compiler_options=QUICK_TO_COMPILE)
        def both(params, images):
            convolved = recognizer.plain(params, images)
            return recognizer.classify(params, convolved), module(params, images)

        for one, other in zip(*both(params, images), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)

    @parameterized.parameters(("cpu", False), ("gpu", True), ("tpu", True))
    def test_the_backend_chooses_the_formulation(self, backend, windowed):
        params = weights(2, 16, 16, 1)
        with mock.patch.object(jax, "default_backend", return_value=backend):
            for function in (recognizer.logits, recognizer.features):
                traced = jax.make_jaxpr(lambda *arguments, f=function: f(*arguments))
                program = str(traced(params, jnp.zeros((1, 16, 16, 1))))
                self.assertEqual("reduce_window" in program, windowed)


class Bfloat16Test(parameterized.TestCase):
    @parameterized.parameters(module, fast)
    def test_rounds_inside_and_is_float32_outside(self, formulation):
        params = weights(3, 16, 16, 1)
        images = np.random.default_rng(1).uniform(size=(4, 16, 16, 1)).astype(np.float32)
        inside = []

        def recorded(params, images):
            outputs = formulation(params, images)
            inside.extend(jax.tree.leaves((params, images, outputs)))
            return outputs

        @functools.partial(jax.jit, compiler_options=QUICK_TO_COMPILE)
        def everything(params, images):
            results = []
            for model in (recognizer.in_bfloat16(recorded), formulation):

                def score(images, model=model):
                    outputs = model(params, images)
                    return jnp.sum(jax.nn.log_softmax(outputs[0])[:, 1]), outputs

                gradient, outputs = jax.grad(score, has_aux=True)(images)
                results.append((*outputs, gradient))
            return results

        found, expected = everything(params, images)
        self.assertEqual({leaf.dtype for leaf in inside}, {jnp.dtype(jnp.bfloat16)})
        for one, other in zip(found, expected, strict=True):
            self.assertEqual(one.dtype, jnp.float32)
            self.assertTrue(np.isfinite(one).all())
            self.assertEqual(one.shape, other.shape)
        # Seven layers, each of which rounds to 8 bits.
        np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=0.03 * np.ptp(expected[0]))
        self.assertGreater(np.abs(found[0] - expected[0]).max(), 0)
        one, other = (np.reshape(gradient, (4, -1)) for gradient in (found[2], expected[2]))
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        np.testing.assert_array_less(0.9, np.sum(one * other, 1) / lengths)

    def test_any_model_whose_parameters_are_arrays(self):
        def apply_fn(params, images):
            scale, (shift, order) = params["scale"], params["rest"]
            self.assertEqual([scale.dtype, shift.dtype], [jnp.bfloat16] * 2)
            self.assertEqual(order.dtype, jnp.int32)
            return (images.reshape(len(images), -1) * scale + shift)[:, order]

        params = {
            "scale": np.float32([1, 2, 4]),
            "rest": (jnp.full(3, 1 / 3), np.array([2, 0, 1], np.int32)),
        }
        images = np.float32([[0.25, 0.5, 1.0]]).reshape(1, 3, 1, 1)
        found = recognizer.in_bfloat16(apply_fn)(params, images)
        self.assertEqual(found.dtype, jnp.float32)
        np.testing.assert_allclose(found, [[4 + 1 / 3, 0.25 + 1 / 3, 1 + 1 / 3]], rtol=2**-7)


class RecognizerTest(parameterized.TestCase):
    @parameterized.parameters((2041, 1), (2046, 3))
    def test_layers_of_the_paper(self, classes, channels):
        params = jax.eval_shape(
            lambda: recognizer.init(jax.random.key(0), classes, (128, 128, channels))
        )
        self.assertEqual(
            jax.tree.map(lambda leaf: leaf.shape, params),
            {
                "L1": {"kernel": (5, 5, channels, 5), "bias": (5,)},
                "L2": {"kernel": (5, 5, 5, 16), "bias": (16,)},
                "L3": {"kernel": (3, 3, 16, 32), "bias": (32,)},
                "L4": {"kernel": (3, 3, 32, 64), "bias": (64,)},
                "L5": {"kernel": (8 * 8 * 64, 1024), "bias": (1024,)},
                "L6": {"kernel": (1024, 1024), "bias": (1024,)},
                "L7": {"kernel": (1024, classes), "bias": (classes,)},
            },
        )

    @parameterized.parameters(module, fast)
    def test_shapes_of_the_paper(self, formulation):
        logits, features = jax.eval_shape(
            lambda images: formulation(
                recognizer.init(jax.random.key(0), 2041, (128, 128, 1)), images
            ),
            jax.ShapeDtypeStruct((6, 128, 128, 1), jnp.float32),
        )
        self.assertEqual(logits.shape, (6, 2041))
        self.assertEqual(features.shape, (6, 1024))

    def test_logits_are_linear_in_features_which_are_not_negative(self):
        params = weights(2, 16, 16, 1)
        images = np.random.default_rng(1).uniform(size=(3, 16, 16, 1)).astype(np.float32)
        logits, features = jax.jit(
            lambda *both: (recognizer.logits(*both), recognizer.features(*both))
        )(params, images)
        self.assertGreaterEqual(features.min(), 0)
        self.assertGreater(features.max(), 0)
        np.testing.assert_allclose(
            logits,
            np.asarray(features) @ params["L7"]["kernel"] + params["L7"]["bias"],
            1e-4,
            1e-5,
        )

    def test_the_key_draws_the_weights(self):
        draw = jax.jit(lambda key: recognizer.init(key, 2, (16, 16, 1))["L2"]["kernel"])
        one, same, other = (draw(jax.random.key(seed)) for seed in (0, 0, 1))
        np.testing.assert_array_equal(one, same)
        self.assertGreater(np.abs(one - other).min(), 0)

    @parameterized.parameters((15, 128), (128, 15), (1, 1))
    def test_refuses_images_too_small_to_pool_four_times(self, height, width):
        with self.assertRaisesRegex(UserError, f"{height}x{width} .* give at least 16x16"):
            recognizer.init(jax.random.key(0), 2, (height, width, 1))


if __name__ == "__main__":
    absltest.main()
