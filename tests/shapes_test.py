"""Faces of the tests are three spots of light, whose middles are the landmarks."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
from absl.testing import absltest, parameterized

from mia_jax.attack import seeds
from mia_jax.attack.generators import eigenfaces, shapes
from mia_jax.runtime.errors import UserError

SHAPE = (28, 24)
WHERE = np.array([[9.0, 7.0], [9.0, 16.0], [19.0, 11.5]])  # Symmetric about column 11.5.
SWAPPED = [1, 0, 2]  # Which point of the mirror image is which.


def spots(points, weights):
    places = np.stack(np.indices(SHAPE), -1)[..., None, :]
    distances = np.sum((places - points) ** 2, -1)
    return 0.3 + np.exp(-distances / 2 / 2.2**2) @ weights


def people(count=10, channels=1, seed=0):
    random = np.random.default_rng(seed)
    points = WHERE + random.normal(size=(count, 3, 2))
    weights = random.uniform(0.2, 0.6, (count, 3, channels))
    images = [spots(own, weight) for own, weight in zip(points, weights, strict=True)]
    return np.stack(images).astype(np.float32), points


def landmarks_of(images, points):
    """Knows the landmarks of those images and of their mirror images."""

    def find(asked):
        if np.array_equal(asked, images):
            return points
        np.testing.assert_array_equal(asked, images[:, :, ::-1])
        turned = points[:, SWAPPED].copy()
        turned[..., 1] = SHAPE[1] - 1 - turned[..., 1]
        return turned

    return find


def fit(channels=1, **options):
    images, points = people(channels=channels)
    settings = {"components": 6, "size": 0.6, "windows": 3, "window_components": 19} | options
    return images, points, *shapes.fit(images, landmarks_of(images, points), **settings)


class WarpTest(parameterized.TestCase):
    def test_a_displacement_takes_landmarks_to_their_places_and_keeps_the_border(self):
        points = np.array([[8, 6], [10, 15], [19, 12]])
        others = points + np.array([[1.5, -1], [0.5, 2], [-2, 0.25]])
        field = shapes.displacement(points, others, SHAPE)
        np.testing.assert_allclose(field[tuple(points.T)], others - points, atol=0.01)
        for corner in (field[0, 0], field[-1, 0], field[0, -1], field[-1, -1]):
            np.testing.assert_allclose(corner, 0, atol=0.01)

    def test_no_displacement_changes_nothing(self):
        image = people(1)[0][0]
        field = shapes.displacement(WHERE, WHERE, SHAPE)
        np.testing.assert_allclose(shapes.warp(image, field), image, atol=1e-6)

    def test_a_shift_looks_up_the_neighbor(self):
        image = people(1)[0][0]
        field = np.broadcast_to([1.0, 0.5], (*SHAPE, 2))
        found = shapes.warp(image, field)
        expected = (image[1:, :-1] + image[1:, 1:]) / 2
        np.testing.assert_allclose(found[:-1, :-1], expected, atol=1e-6)

    def test_there_and_back_is_the_identity(self):
        points, others = WHERE, WHERE + np.array([[1.5, -1], [0.5, 1], [-1, 0.5]])
        image = spots(others, np.full((3, 1), 0.5))
        moved = shapes.warp(image, shapes.displacement(points, others, SHAPE))
        found = shapes.warp(moved, shapes.displacement(others, points, SHAPE))
        self.assertGreater(np.abs(moved - image).max(), 0.1)
        np.testing.assert_allclose(found, image, atol=0.05)

    def test_a_large_image_s_displacement_is_that_of_the_same_spline(self):
        points = 5 * WHERE
        others = points + np.array([[4, -3], [2, 3], [-3, 1]])
        shape = (121, 111)
        found = shapes.displacement(points, others, shape)
        for row, column in [(0, 0), (40, 50), (71, 13), (120, 110)]:
            # At half the size a spline is the same but for its scale.
            half = shapes.displacement(points / 2, others / 2, (61, 56))
            np.testing.assert_allclose(
                found[2 * (row // 2), 2 * (column // 2)],
                2 * half[row // 2, column // 2],
                atol=0.15,
            )

    def test_landmarks_that_fall_together_are_harmless(self):
        points = np.concatenate([WHERE, WHERE[:1]])
        self.assertTrue(np.isfinite(shapes.displacement(points, points + 1, SHAPE)).all())


class ShapesTest(parameterized.TestCase):
    @parameterized.parameters(1, 3)
    def test_faces_are_warped_to_the_mean_shape(self, channels):
        images, _, fitted, textures = fit(channels)
        mean = np.asarray(fitted.points)
        np.testing.assert_allclose(mean[SWAPPED][:, 1], SHAPE[1] - 1 - mean[:, 1], atol=1e-4)
        self.assertEqual(textures.shape, images.shape)
        # Aligned spots differ in weight only: their brightest places do not move.
        own = np.asarray(textures).std(0).mean()
        self.assertLess(own, 0.8 * images.std(0).mean())
        for texture in np.asarray(textures):
            rows, columns = np.unravel_index(texture[:14, :12, 0].argmax(), (14, 12))
            self.assertLess(np.hypot(*(np.array([rows, columns]) - mean[0])), 1.2)

    @parameterized.parameters(1, 3)
    def test_decode_inverts_encode_for_the_auxiliary_faces(self, channels):
        images, points, fitted, _ = fit(channels)
        decode = jax.jit(functools.partial(shapes.decode, fitted))
        for image, own in zip(images[:4], points, strict=False):
            found = np.asarray(decode(shapes.encode(fitted, image, own)))
            self.assertLess(np.sqrt(np.mean((found - image) ** 2)), 0.015)

    def test_without_displacement_the_texture_is_the_face(self):
        _, _, fitted, textures = fit()
        still = fitted._replace(fields=jax.tree.map(jnp.zeros_like, fitted.fields))
        point = np.random.default_rng(1).normal(size=6 + 9 * 19).astype(np.float32)
        expected = eigenfaces.decode(fitted.texture.faces, point[6:])
        np.testing.assert_allclose(shapes.decode(still, point), expected, atol=1e-5)
        self.assertEqual(expected.shape, textures.shape[1:])

    def test_coordinates_of_the_shape_are_white(self):
        images, points, fitted, _ = fit(components=4)
        find = landmarks_of(images, points)
        both = np.concatenate([points, find(images[:, :, ::-1])])
        coordinates = np.stack(
            [
                eigenfaces.encode(
                    fitted.fields,
                    shapes.displacement(own, np.asarray(fitted.points), SHAPE).astype(np.float32),
                )
                for own in both
            ]
        )
        np.testing.assert_allclose(coordinates.mean(0), 0, atol=1e-3)
        np.testing.assert_allclose(np.cov(coordinates.T, ddof=0), np.eye(4), atol=1e-2)

    def test_gradient_is_that_of_finite_differences(self):
        _, _, fitted, _ = fit()
        weights = np.random.default_rng(2).normal(size=(*SHAPE, 1))

        @jax.jit
        def total(point):
            return jnp.sum(weights * shapes.decode(fitted, point)) / 10

        point = 0.3 * np.random.default_rng(3).normal(size=6 + 9 * 19).astype(np.float32)
        jax.test_util.check_grads(total, (point,), 1, ["rev"], 0.03, 0.03, 1e-2)

    def test_faces_without_landmarks_are_left_out(self):
        images, points = people()
        find = landmarks_of(images, points)

        def some(asked):
            found = find(asked).copy()
            found[3] = np.nan
            return found

        _, textures = shapes.fit(images, some, 4, 0.6, 3, 5)
        self.assertLen(textures, 9)

    @parameterized.parameters((0, 10), (20, 10), (4, 2))
    def test_refuses_more_components_than_faces_with_landmarks(self, components, known):
        images, points = people()

        def few(asked):
            found = np.full((10, 3, 2), np.nan)
            found[:known] = landmarks_of(images, points)(asked)[:known]
            return found

        with self.assertRaisesRegex(
            UserError, f"components={components} .* {known} of 10 faces .* 1 to {2 * known - 1}"
        ):
            shapes.fit(images, few, components, 0.6, 3, 2)


class SpaceTest(parameterized.TestCase):
    def test_starts_in_the_mean_shape_from_the_seed_texture(self):
        images, points = people()
        mean = functools.partial(seeds.noisy_mean, deviation=0.0)
        options = {"components": 5, "size": 0.6, "windows": 3, "window_components": 19}
        space = shapes.space(images, landmarks_of(images, points), seed=mean, prior=2.0, **options)
        point = space.start(jax.random.key(0))
        np.testing.assert_array_equal(point[:5], 0)
        _, textures = shapes.fit(images, landmarks_of(images, points), 5, 0.6, 3, 19)
        image = space.decode(point)
        np.testing.assert_allclose(image, np.mean(textures, 0), atol=0.05)
        np.testing.assert_allclose(space.penalty(point, None), np.sum(point**2), rtol=1e-5)
        far = np.asarray(space.decode(point + 40))
        self.assertBetween(far.min(), 0, 1)
        self.assertBetween(far.max(), 0, 1)
        np.testing.assert_array_equal(space.project(point), point)


if __name__ == "__main__":
    absltest.main()
