import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from jax import lax

from mia_jax.recognizer import convolution

# Even, odd, mixed, smaller than the kernel, and down to a single window or none.
SHAPES = ((2, 8, 6, 1), (1, 7, 9, 3), (2, 5, 8, 2), (1, 8, 5, 5), (2, 2, 2, 1), (1, 1, 4, 2))
FEATURES = 3


def reference_convolve(images, kernel):
    return lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def reference_pool(images):
    return nn.max_pool(images, (2, 2), (2, 2))


def reference_convolve_and_pool(images, kernel):
    return reference_pool(reference_convolve(images, kernel))


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def integers(seed, *shape):
    """Small whole numbers: float32 adds them without rounding, and many are equal."""
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float32)


def value_and_gradients(functions, *arguments):
    """Returns each function's value, and its gradients under a fixed uneven cotangent."""

    # Most of the time here is compilation; this is LLVM's part, XLA's own passes still run.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run(*arguments):
        results = []
        for function in functions:
            value, pullback = jax.vjp(function, *arguments)
            weights = 1 + jnp.arange(value.size, dtype=value.dtype).reshape(value.shape) % 7
            results.append((value, *pullback(weights)))
        return results

    return jax.tree.map(np.asarray, run(*arguments))


class ConvolutionTest(parameterized.TestCase):
    def assert_same(self, function, reference, *arguments, exactly):
        found, expected = value_and_gradients((function, reference), *arguments)
        names = ("value", "gradient of the images", "gradient of the kernel")
        for name, one, other in zip(names, found, expected, strict=False):
            if exactly:
                np.testing.assert_array_equal(one, other, name)
            else:
                np.testing.assert_allclose(one, other, 1e-5, 1e-4, err_msg=name)

    @parameterized.parameters((SHAPES[0], 5), (SHAPES[1], 3), (SHAPES[2], 5))
    def test_convolve_agrees_with_lax(self, shape, size):
        kernel = normal(1, size, size, shape[-1], FEATURES)
        self.assert_same(
            convolution.convolve, reference_convolve, normal(0, *shape), kernel, exactly=False
        )

    @parameterized.parameters(
        *((shape, 3) for shape in (SHAPES[0], SHAPES[1], SHAPES[5])),
        *((shape, 5) for shape in (SHAPES[0], SHAPES[2], SHAPES[3], SHAPES[4])),
    )
    def test_convolve_and_pool_agrees_with_lax_and_flax(self, shape, size):
        kernel = normal(1, size, size, shape[-1], FEATURES)
        self.assert_same(
            convolution.convolve_and_pool,
            reference_convolve_and_pool,
            normal(0, *shape),
            kernel,
            exactly=False,
        )

    @parameterized.parameters(3, 5)
    def test_convolve_and_pool_breaks_ties_as_flax(self, size):
        shape = (3, 8, 6, 1)
        images, kernel = integers(0, *shape), integers(1, size, size, 1, FEATURES)
        images[0] = 0  # Every window of this image is a tie.
        self.assert_same(
            convolution.convolve_and_pool,
            reference_convolve_and_pool,
            images,
            kernel,
            exactly=True,
        )

    @parameterized.parameters(*SHAPES[:3], SHAPES[5])
    def test_max_pool_agrees_with_flax_also_on_ties(self, *shape):
        self.assert_same(convolution.max_pool, reference_pool, integers(0, *shape), exactly=True)

    def test_gradient_of_a_flat_window_goes_to_its_first_pixel(self):
        _, gradient = value_and_gradients([convolution.max_pool], np.ones((1, 2, 4, 1)))[0]
        np.testing.assert_array_equal(gradient[0, :, :, 0], [[1, 0, 2, 0], [0, 0, 0, 0]])

    @parameterized.parameters(((0, 1),), ((1, 3),), ((2, 3),))
    def test_maximum_of_four_agrees_with_numpy(self, axes):
        shape = [3, 5, 4, 3]
        for axis in axes:
            shape[axis] = 2
        windows = integers(0, *shape)
        ((value, gradient),) = value_and_gradients(
            [lambda windows: convolution.maximum_of_four(windows, axes)], windows
        )
        np.testing.assert_array_equal(value, windows.max(axes))
        flat = np.moveaxis(windows, axes, (2, 3)).reshape(*value.shape, 4)
        first = np.eye(4)[flat.argmax(-1)]  # numpy's argmax is the first.
        weights = 1 + np.arange(value.size).reshape(value.shape) % 7
        expected = (first * weights[..., None]).reshape(*value.shape, 2, 2)
        np.testing.assert_array_equal(gradient, np.moveaxis(expected, (2, 3), axes))

    def test_space_to_depth_puts_the_position_in_the_block_first(self):
        images = normal(0, 2, 4, 6, 3)
        found = np.asarray(convolution.space_to_depth(images))
        self.assertEqual(found.shape, (2, 2, 3, 12))
        for row, column, channel in itertools.product(range(2), range(2), range(3)):
            np.testing.assert_array_equal(
                found[..., (2 * row + column) * 3 + channel],
                images[:, row::2, column::2, channel],
            )

    @parameterized.parameters(((8, 6),), ((7, 9),))
    def test_under_jit_scan_and_vmap(self, size):
        """As the attack uses them: a descent on the images, several side by side."""
        images = normal(0, 3, 1, *size, 2)
        kernels = normal(1, 5, 5, 2, 4) / 5, normal(2, 3, 3, 4, 2) / 5

        def descend(pooled, convolve, pool):
            def loss(image):
                return jnp.sum(pool(convolve(pooled(image, kernels[0]), kernels[1])) ** 2)

            def update(image, _):
                return image - 0.01 * jax.grad(loss)(image), loss(image)

            return jax.vmap(lambda image: lax.scan(update, image, length=4))

        ours = descend(convolution.convolve_and_pool, convolution.convolve, convolution.max_pool)
        theirs = descend(reference_convolve_and_pool, reference_convolve, reference_pool)
        found, expected = jax.jit(lambda images: (ours(images), theirs(images)))(images)
        np.testing.assert_allclose(found[0], expected[0], 1e-5, 1e-5)
        np.testing.assert_allclose(found[1], expected[1], 1e-5)
        self.assertGreater(np.abs(found[0] - images).max(), 0.01)

    @parameterized.parameters("float16", "bfloat16", "float64")
    def test_keeps_the_type(self, dtype):
        with jax.enable_x64(dtype == "float64"):
            images, kernel = jnp.zeros((1, 4, 4, 2), dtype), jnp.zeros((3, 3, 2, 2), dtype)
            for function in (convolution.convolve, convolution.convolve_and_pool):
                value, *gradients = jax.eval_shape(
                    lambda images, kernel, f=function: (
                        f(images, kernel),
                        *jax.grad(lambda *both: f(*both).sum(), (0, 1))(images, kernel),
                    ),
                    images,
                    kernel,
                )
                self.assertEqual({value.dtype, *(one.dtype for one in gradients)}, {value.dtype})
                self.assertEqual(value.dtype, dtype)


if __name__ == "__main__":
    absltest.main()
