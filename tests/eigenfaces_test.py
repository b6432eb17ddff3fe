import functools
import tracemalloc
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.linalg
from absl.testing import absltest, parameterized

from mia_jax.attack import seeds
from mia_jax.attack.generators import eigenfaces
from mia_jax.runtime.errors import UserError

FACES, SHAPE = 6, (5, 4, 2)
decode = jax.jit(jax.vmap(eigenfaces.decode, (None, 0)))
encode = jax.jit(jax.vmap(eigenfaces.encode, (None, 0)))


def auxiliary(count=FACES):
    return np.random.default_rng(0).uniform(size=(count, *SHAPE)).astype(np.float32)


def with_mirrors(faces):
    return np.concatenate([faces, faces[:, :, ::-1]])


class EigenfacesTest(parameterized.TestCase):
    @parameterized.parameters(1, 4, 2 * FACES - 1)
    def test_agrees_with_the_singular_values_of_faces_and_mirrors(self, components):
        fitted = eigenfaces.fit(auxiliary(), components)
        everyone = with_mirrors(auxiliary()).astype(np.float64).reshape(2 * FACES, -1)
        np.testing.assert_allclose(fitted.mean.ravel(), everyone.mean(0), rtol=1e-6)
        _, singular, rows = np.linalg.svd(everyone - everyone.mean(0), full_matrices=False)
        expected = (singular[:components, None] / np.sqrt(2 * FACES)) * rows[:components]
        found = np.asarray(fitted.components).reshape(components, -1)
        signs = np.sign(np.sum(found * expected, 1, keepdims=True))
        np.testing.assert_allclose(found, signs * expected, atol=1e-5)

    def test_components_are_orthogonal_and_fall_in_variance(self):
        components = np.asarray(eigenfaces.fit(auxiliary(), 8).components).reshape(8, -1)
        gram = components @ components.T
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-6)
        self.assertTrue((np.diff(np.diag(gram)) <= 0).all())

    def test_coefficients_of_the_faces_are_white(self):
        fitted = eigenfaces.fit(auxiliary(), 8)
        coefficients = np.asarray(encode(fitted, with_mirrors(auxiliary())), np.float64)
        np.testing.assert_allclose(coefficients.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(
            coefficients.T @ coefficients / (2 * FACES), np.eye(8), atol=1e-4
        )

    @parameterized.parameters(1, 8)
    def test_encode_inverts_decode(self, components):
        fitted = eigenfaces.fit(auxiliary(), components)
        points = np.random.default_rng(1).normal(size=(5, components)).astype(np.float32)
        images = decode(fitted, points)
        self.assertEqual(images.shape, (5, *SHAPE))
        np.testing.assert_allclose(encode(fitted, images), points, atol=1e-4)
        np.testing.assert_allclose(
            decode(fitted, 0 * points), np.stack([fitted.mean] * 5), rtol=1e-6
        )

    def test_all_components_rebuild_every_face(self):
        fitted = eigenfaces.fit(auxiliary(), 2 * FACES - 1)
        everyone = with_mirrors(auxiliary())
        np.testing.assert_allclose(decode(fitted, encode(fitted, everyone)), everyone, atol=1e-5)

    def test_fewer_components_give_the_nearest_face_of_their_span(self):
        fitted = eigenfaces.fit(auxiliary(), 4)
        stranger = np.random.default_rng(2).uniform(size=(1, *SHAPE)).astype(np.float32)
        found = decode(fitted, encode(fitted, stranger))[0]
        design = np.asarray(fitted.components).reshape(4, -1).T
        wanted = (stranger[0] - fitted.mean).ravel()
        best = design @ np.linalg.lstsq(design, wanted, rcond=None)[0]
        np.testing.assert_allclose(found.ravel(), fitted.mean.ravel() + best, atol=1e-5)

    def test_components_without_variance_are_harmless(self):
        gray = np.full((3, *SHAPE), 0.5, np.float32)
        fitted = eigenfaces.fit(gray, 2)
        np.testing.assert_array_equal(decode(fitted, np.ones((1, 2), np.float32)), gray[:1])
        np.testing.assert_array_equal(encode(fitted, auxiliary(1)), [[0, 0]])

    def test_waves_are_smooth_and_of_the_deviation_that_is_asked(self):
        fitted = eigenfaces.fit(np.random.default_rng(0).uniform(size=(4, 24, 16, 2)), 3)
        complete = eigenfaces.with_waves(fitted, 5, 0.2)
        np.testing.assert_array_equal(complete.components[:3], fitted.components)
        waves = np.asarray(complete.components[3:])
        self.assertEqual(waves.shape, (24, 24, 16, 2))
        np.testing.assert_array_equal(waves[..., 0], waves[..., 1])
        # The variance of a pixel over draws is the sum of squares, on average over the pixels.
        self.assertAlmostEqual(np.sum(waves**2, 0).mean() ** 0.5, 0.2, places=5)
        flat = waves[..., 0].reshape(24, -1)
        gram = flat @ flat.T
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-4)
        spectrum = np.abs(np.fft.fft2(waves[..., 0]))
        self.assertLess(spectrum[:, 12, 8].max(), 0.02 * spectrum.max())

    @parameterized.parameters(0, 1, 5, 100)
    def test_refuses_a_number_of_frequencies_it_cannot_give(self, frequencies):
        fitted = eigenfaces.fit(auxiliary(), 4)
        with self.assertRaisesRegex(ValueError, f"frequencies={frequencies} .* 2 to 4"):
            eigenfaces.with_waves(fitted, frequencies, 0.1)

    @parameterized.parameters(-1, 0, 2 * FACES, 500)
    def test_refuses_a_number_of_components_it_cannot_give(self, components):
        with self.assertRaisesRegex(
            ValueError, f"components={components} .* {FACES} faces .* 1 to {2 * FACES - 1}"
        ):
            eigenfaces.fit(auxiliary(), components)

    def test_a_component_s_largest_entry_is_positive(self):
        for shape in (SHAPE, (5, 7, 1)):  # The middle column is its own mirror image.
            faces = np.random.default_rng(0).uniform(size=(FACES, *shape)).astype(np.float32)
            found = np.asarray(eigenfaces.fit(faces, 2 * FACES - 1).components)
            for each in found.reshape(len(found), -1):
                self.assertGreaterEqual(
                    each[np.argmax(np.abs(each) > 0.999 * np.abs(each).max())], 0
                )
            # Each is its own mirror image, or the negative of it.
            for each in found:
                self.assertLess(min(np.abs(each - s * each[:, ::-1]).max() for s in (1, -1)), 1e-6)


def smooth(count, side=24):
    """Faces of sorts: random waves, of which the higher are weaker, as in photographs."""
    random, across = np.random.default_rng(0), np.arange(16)
    weights = 1 / (1 + across[:, None] ** 2 + across**2)
    spectra = np.zeros((count, side, side))
    spectra[:, :16, :16] = weights * random.standard_normal((count, 16, 16))
    return (0.5 + scipy.fft.idctn(spectra, axes=(1, 2), norm="ortho")).astype(np.float32)[..., None]


class TruncatedTest(parameterized.TestCase):
    """Few components of many faces, beside all of them in float64."""

    COUNT = 400

    def exact(self, faces, components):
        everyone = with_mirrors(faces).astype(np.float64).reshape(2 * len(faces), -1)
        covariance = np.cov(everyone.T, ddof=0)
        variances, vectors = np.linalg.eigh(covariance)
        return variances[::-1][:components], vectors[:, ::-1][:, :components]

    @parameterized.parameters(20, 40)
    def test_agrees_with_all_of_them_in_float64(self, components):
        faces = smooth(self.COUNT)
        with mock.patch.object(np.linalg, "eigh", wraps=np.linalg.eigh) as whole:
            found = np.asarray(eigenfaces.fit(faces, components).components, np.float64)
            sides = [len(call.args[0]) for call in whole.call_args_list]
        self.assertLess(max(sides), self.COUNT / 2)  # So it was the truncated method.
        found = found.reshape(components, -1)
        variances, vectors = self.exact(faces, components)
        np.testing.assert_allclose(np.sum(found**2, 1), variances, rtol=1e-3)
        directions = (found / np.linalg.norm(found, axis=1, keepdims=True)).T
        np.testing.assert_allclose(directions.T @ directions, np.eye(components), atol=1e-5)
        self.assertLess(scipy.linalg.subspace_angles(directions, vectors).max(), 0.05)
        leading = vectors[:, : components // 2]
        outside = leading - directions @ (directions.T @ leading)
        self.assertLess(np.linalg.norm(outside, axis=0).max(), 1e-3)

    def test_is_the_same_every_time(self):
        one, other = (eigenfaces.fit(smooth(self.COUNT), 20).components for _ in range(2))
        np.testing.assert_array_equal(one, other)

    def test_takes_no_copy_of_all_faces_and_none_in_double_precision(self):
        faces = smooth(2000, side=32)
        eigenfaces.fit(smooth(self.COUNT), 20)  # What is imported and compiled first.
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        eigenfaces.fit(faces, 20)
        _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak, 1.1 * faces.nbytes)

    def test_takes_the_smaller_side_of_either_shape(self):
        values = smooth(300).reshape(300, -1)
        for each in (values, values.T):
            centered = each - each.mean(0)
            found = eigenfaces.principal_components(centered, 10)
            _, singular, rows = np.linalg.svd(
                centered / np.sqrt(len(centered)), full_matrices=False
            )
            np.testing.assert_allclose(np.linalg.norm(found, axis=1), singular[:10], rtol=1e-3)
            self.assertLess(scipy.linalg.subspace_angles(found.T, rows[:10].T).max(), 0.05)


class WithWavesTest(parameterized.TestCase):
    def with_waves(self, frequencies, deviation=0.1, shape=(8, 6, 2)):
        faces = np.random.default_rng(0).uniform(size=(3, *shape)).astype(np.float32)
        fitted = eigenfaces.fit(faces, 4)
        return fitted, eigenfaces.with_waves(fitted, frequencies, deviation)

    @parameterized.parameters(2, 4, 6)
    def test_come_after_the_eigenfaces(self, frequencies):
        fitted, found = self.with_waves(frequencies)
        np.testing.assert_array_equal(found.mean, fitted.mean)
        np.testing.assert_array_equal(found.components[:4], fitted.components)
        self.assertLen(found.components, 4 + frequencies**2 - 1)

    def test_are_cosines_weaker_with_frequency(self):
        _, found = self.with_waves(3)
        waves = np.asarray(found.components[4:])
        rows, columns = (np.arange(8) + 0.5) / 8, (np.arange(6) + 0.5) / 6
        frequencies = [(i, j) for i in range(3) for j in range(3)][1:]
        strengths = []
        for wave, (down, across) in zip(waves, frequencies, strict=True):
            cosine = np.outer(np.cos(np.pi * down * rows), np.cos(np.pi * across * columns))
            strength = wave[0, 0, 0] / cosine[0, 0]
            np.testing.assert_allclose(wave, strength * cosine[..., None] + 0 * wave, atol=1e-6)
            strengths.append(np.mean(wave**2) * np.hypot(down, across))
        np.testing.assert_allclose(strengths, strengths[0], rtol=1e-4)
        self.assertGreater(strengths[0], 0)

    def test_vary_a_pixel_by_the_deviation_on_average(self):
        _, found = self.with_waves(5, deviation=0.07)
        variances = np.sum(np.square(found.components[4:]), 0)
        self.assertAlmostEqual(np.sqrt(variances.mean()), 0.07, places=5)

    def test_are_part_of_what_decode_makes(self):
        fitted, found = self.with_waves(2)
        point = np.random.default_rng(1).normal(size=(1, 7)).astype(np.float32)
        expected = decode(fitted, point[:, :4]) + np.tensordot(
            point[:, 4:], found.components[4:], 1
        )
        np.testing.assert_allclose(decode(found, point), expected, atol=1e-5)

    @parameterized.parameters(-1, 0, 1, 7)
    def test_refuses_a_number_of_frequencies_it_cannot_give(self, frequencies):
        with self.assertRaisesRegex(ValueError, f"={frequencies} .* 8x6 pixels: give 2 to 6"):
            self.with_waves(frequencies)


class SpaceTest(parameterized.TestCase):
    MEAN = functools.partial(seeds.noisy_mean, deviation=0.0)

    def test_starts_from_the_projection_of_the_seed_image(self):
        """The mean face has no coefficients but for its difference from the mirrored mean."""
        space = eigenfaces.space(auxiliary(), 8, seed=self.MEAN)
        fitted = eigenfaces.fit(auxiliary(), 8)
        found = space.start(jax.random.key(0))
        expected = encode(fitted, auxiliary().mean(0, keepdims=True))[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_spread_and_waves(self):
        faces = np.random.default_rng(0).uniform(size=(4, 12, 12, 1)).astype(np.float32)
        space = eigenfaces.space(faces, 3, waves=9, seed=self.MEAN, spread=2.0)
        points = jax.vmap(space.start)(jax.random.split(jax.random.key(0), 50))
        self.assertEqual(points.shape, (50, 3 + 80))
        self.assertBetween(np.std(points[:, 3:]), 1.9, 2.1)

    def test_decodes_within_the_gray_levels_and_leaves_latents_alone(self):
        space = eigenfaces.space(auxiliary(), 8)
        point = 50 * np.random.default_rng(1).normal(size=8).astype(np.float32)
        image = np.asarray(space.decode(point))
        self.assertEqual((image.min(), image.max()), (0, 1))
        np.testing.assert_array_equal(space.project(point), point)

    @parameterized.parameters(0.0, 0.3, 2.0)
    def test_the_prior_is_that_of_a_normal_density(self, prior):
        space = eigenfaces.space(auxiliary(), 8, prior=prior)
        one, other = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
        log_density = jax.scipy.stats.norm.logpdf
        expected = prior * (jnp.sum(log_density(other)) - jnp.sum(log_density(one)))
        found = space.penalty(one, None) - space.penalty(other, None)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)

    def test_too_few_faces_for_the_recipe_s_components(self):
        with self.assertRaisesRegex(UserError, "components=60 .* 6 faces"):
            eigenfaces.space(auxiliary(), 60)


if __name__ == "__main__":
    absltest.main()
