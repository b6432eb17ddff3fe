import functools

import jax
import numpy as np
from absl.testing import absltest, parameterized

from mia_jax.attack import seeds
from mia_jax.attack.generators import components, eigenfaces
from mia_jax.runtime.errors import UserError

FACES = 8
MEAN = functools.partial(seeds.noisy_mean, deviation=0.0)


def auxiliary(channels=1, height=12, width=10):
    random = np.random.default_rng(0)
    return random.uniform(0.2, 0.8, (FACES, height, width, channels)).astype(np.float32)


def with_mirrors(faces):
    return np.concatenate([faces, faces[:, :, ::-1]])


def fit(channels=1, **options):
    settings = {"size": 0.5, "windows": 3, "components": 4, "independence": 0.4} | options
    return components.fit(auxiliary(channels), **settings)


def rebuild(fitted, images):
    return jax.vmap(
        lambda image: eigenfaces.decode(fitted.faces, components.encode(fitted, image))
    )(images)


class ComponentsTest(parameterized.TestCase):
    @parameterized.parameters((1, 0.2), (3, 1.0))
    def test_all_components_rebuild_every_face_whatever_the_independence(self, channels, how_much):
        """The windows' weights sum to one, so that exact windows give an exact face."""
        fitted = fit(channels, components=2 * FACES - 1, independence=how_much)
        everyone = with_mirrors(auxiliary(channels))
        np.testing.assert_allclose(rebuild(fitted, everyone), everyone, atol=2e-5)

    def test_one_window_is_eigenfaces(self):
        faces = auxiliary(height=10)
        fitted = components.fit(faces, size=1.0, windows=1, components=5, independence=1.0)
        expected = eigenfaces.fit(faces, 5)
        # The bell of the one window's weights is divided by itself.
        gram = np.asarray(fitted.faces.components).reshape(5, -1)
        wanted = np.asarray(expected.components).reshape(5, -1)
        np.testing.assert_allclose(gram.T @ gram, wanted.T @ wanted, atol=1e-5)
        stranger = np.random.default_rng(2).uniform(size=faces.shape[1:]).astype(np.float32)
        np.testing.assert_allclose(
            rebuild(fitted, stranger[None])[0],
            eigenfaces.decode(expected, eigenfaces.encode(expected, stranger)),
            atol=1e-5,
        )

    @parameterized.parameters(0.1, 0.7)
    def test_coordinates_of_the_faces_are_white_up_to_the_shrinkage(self, independence):
        fitted = fit(independence=independence)
        coordinates = np.asarray(
            jax.vmap(functools.partial(components.encode, fitted))(with_mirrors(auxiliary())),
            np.float64,
        )
        covariance = coordinates.T @ coordinates / len(coordinates)
        # Of eigenvalue v of the windows' correlations, (1 - i) * v + i is taken out.
        self.assertLess(np.abs(covariance - np.diag(np.diag(covariance))).max(), 1e-4)
        values = np.linalg.inv(fitted.whiten @ np.asarray(fitted.whiten).T)
        shrunk = np.diag(values)
        own = (shrunk - independence) / (1 - independence)
        np.testing.assert_allclose(np.diag(covariance), own / shrunk, atol=1e-3)

    def test_independent_windows_change_only_their_own_pixels(self):
        fitted = fit(independence=1.0)
        images = np.asarray(fitted.faces.components)
        for image in images:
            rows, columns = np.nonzero(image[..., 0])
            self.assertLessEqual(np.ptp(rows), 4)
            self.assertLessEqual(np.ptp(columns), 4)

    def test_components_without_variance_are_harmless(self):
        gray = np.full((3, 6, 6, 1), 0.5, np.float32)
        fitted = components.fit(gray, size=0.5, windows=3, components=2)
        np.testing.assert_allclose(rebuild(fitted, gray), gray)

    @parameterized.parameters(
        ({"components": 16}, "components=16 .* 8 faces .* 1 to 15"),
        ({"components": 0}, "components=0"),
        ({"independence": 0.0}, "independence=0.0 must be above 0"),
        ({"independence": 1.5}, "independence=1.5"),
        ({"size": 1.2}, "size=1.2"),
        ({"windows": 0}, "windows=0"),
        ({"windows": 2, "size": 0.3}, "windows=2 of 3 pixels leave gaps in 12x10"),
    )
    def test_refuses_what_it_cannot_give(self, options, message):
        with self.assertRaisesRegex(UserError, message):
            fit(**options)


class SpaceTest(parameterized.TestCase):
    @parameterized.parameters(1, 3)
    def test_starts_from_the_projection_of_the_seed_image(self, channels):
        faces = auxiliary(channels)
        space = components.space(faces, size=0.5, windows=3, components=4, seed=MEAN)
        found = space.start(jax.random.key(0))
        fitted = fit(channels, independence=0.3)
        np.testing.assert_allclose(
            found, components.encode(fitted, faces.mean(0)), rtol=1e-3, atol=1e-4
        )
        self.assertEqual(space.decode(found).shape, (12, 10, channels))

    def test_spread_prior_and_gray_levels(self):
        space = components.space(
            auxiliary(), size=0.5, windows=3, components=8, seed=MEAN, spread=2.0, prior=0.5
        )
        points = jax.vmap(space.start)(jax.random.split(jax.random.key(0), 50))
        self.assertEqual(points.shape, (50, 72))
        self.assertBetween(np.std(points), 1.8, 2.2)
        self.assertAlmostEqual(float(space.penalty(points[0], None)), np.sum(points[0] ** 2) / 4, 3)
        image = np.asarray(space.decode(50 * points[0]))
        self.assertEqual((image.min(), image.max()), (0, 1))
        np.testing.assert_array_equal(space.project(points[0]), points[0])


if __name__ == "__main__":
    absltest.main()
