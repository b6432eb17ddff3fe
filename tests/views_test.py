import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from absl.testing import absltest, parameterized
from jax.test_util import check_grads

from mia_jax.recognizer.views import STILL, ViewRange, affine, random_view

HEIGHT, WIDTH = 8, 6
EVERYTHING = ViewRange(
    rotation=15,
    scale=0.2,
    shift=0.1,
    flip=0.5,
    shear=0.1,
    brightness=0.2,
    contrast=0.3,
    light=0.2,
)
# Most of the time here is compilation; this is LLVM's part, XLA's own passes still run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
affine = jit(affine)


def face(height=HEIGHT, width=WIDTH, channels=2):
    return np.random.default_rng(0).uniform(size=(height, width, channels)).astype(np.float32)


@functools.partial(jit, static_argnames=("limits", "count"))
def views(image, limits, count=32):
    keys = jax.random.split(jax.random.key(0), count)
    return jax.vmap(lambda key: random_view(key, image, limits))(keys)


def ramp(height=HEIGHT, width=WIDTH):
    """An image whose two channels are each pixel's row and column, from the center."""
    rows, columns = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).astype(np.float32)


def maps(limits):
    """Returns the affine map `[views, 2, 3]` of many views, read off from a ramp's middle."""
    side = 15
    middle = ramp(side, side)[5:10, 5:10].reshape(-1, 2)
    design = np.column_stack([middle, np.ones(len(middle))])
    read = np.asarray(views(ramp(side, side), limits))[:, 5:10, 5:10].reshape(-1, 25, 2)
    solved = [np.linalg.lstsq(design, one, rcond=None) for one in read]
    assert max(residual.max() for _, residual, *_ in solved) < 1e-6
    return np.stack([solution.T for solution, *_ in solved])


class AffineTest(parameterized.TestCase):
    def test_identity(self):
        identity = jnp.eye(2, 3)
        np.testing.assert_array_equal(affine(face(), identity), face())

    @parameterized.parameters((1, 0), (0, 2), (-3, 1))
    def test_a_shift_by_whole_pixels_repeats_the_edge(self, down, across):
        matrix = np.array([[1, 0, down], [0, 1, across]], np.float32)
        rows = np.clip(np.arange(HEIGHT) + down, 0, HEIGHT - 1)
        columns = np.clip(np.arange(WIDTH) + across, 0, WIDTH - 1)
        np.testing.assert_allclose(affine(face(), matrix), face()[rows][:, columns], atol=1e-6)

    def test_a_shift_by_half_a_pixel_averages_neighbors(self):
        matrix = np.array([[1, 0, 0], [0, 1, 0.5]], np.float32)
        found = affine(face(), matrix)
        expected = (face()[:, :-1] + face()[:, 1:]) / 2
        np.testing.assert_allclose(found[:, :-1], expected, atol=1e-6)

    @parameterized.parameters(
        ([[1, 0], [0, -1]], lambda image: image[:, ::-1]),
        ([[-1, 0], [0, 1]], lambda image: image[::-1]),
        ([[-1, 0], [0, -1]], lambda image: np.rot90(image, 2)),
        ([[0, -1], [1, 0]], lambda image: np.rot90(image, -1)),
        ([[0, 1], [-1, 0]], lambda image: np.rot90(image)),
        ([[0, 1], [1, 0]], lambda image: image.swapaxes(0, 1)),
    )
    def test_mirrors_and_quarter_turns_move_whole_pixels(self, matrix, expected):
        image = face(7, 7)
        found = affine(image, np.column_stack([matrix, [0, 0]]).astype(np.float32))
        np.testing.assert_allclose(found, expected(image), atol=1e-6)

    @parameterized.parameters(range(3))
    def test_agrees_with_scipy(self, seed):
        matrix = np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)
        center = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
        offset = center + matrix[:, 2] - matrix[:, :2] @ center
        expected = [
            scipy.ndimage.affine_transform(channel, matrix[:, :2], offset, order=1, mode="nearest")
            for channel in np.moveaxis(face(), -1, 0)
        ]
        np.testing.assert_allclose(affine(face(), matrix), np.moveaxis(expected, 0, -1), atol=1e-5)


class RandomViewTest(parameterized.TestCase):
    def test_no_limits_is_the_image_itself(self):
        for limits in (ViewRange(), STILL):
            np.testing.assert_array_equal(
                views(face(), limits, 3), np.broadcast_to(face(), (3, HEIGHT, WIDTH, 2))
            )

    def test_certain_flip_mirrors_left_and_right(self):
        found = views(face(), ViewRange(flip=1.0), 3)
        np.testing.assert_allclose(found, np.stack([face()[:, ::-1]] * 3), atol=1e-6)

    def test_possible_flip_mirrors_about_that_often(self):
        found = np.asarray(views(face(), ViewRange(flip=0.25), 400))
        mirrored = np.isclose(found, face()[:, ::-1], atol=1e-6).all((1, 2, 3))
        kept = np.isclose(found, face(), atol=1e-6).all((1, 2, 3))
        self.assertTrue((mirrored ^ kept).all())
        self.assertBetween(mirrored.mean(), 0.25 - 4 * 0.022, 0.25 + 4 * 0.022)

    def test_brightness_adds_one_number_within_the_limit(self):
        added = np.asarray(views(face(), ViewRange(brightness=0.2))) - face()
        np.testing.assert_allclose(added, added[:, :1, :1, :1] + 0 * added, atol=1e-6)
        self.assertBetween(added.min(), -0.2 - 1e-6, -0.15)
        self.assertBetween(added.max(), 0.15, 0.2 + 1e-6)

    def test_noise_is_of_another_strength_in_each_view_up_to_the_limit(self):
        gray = np.full((20, 20, 2), 0.5, np.float32)
        noise = np.asarray(views(gray, ViewRange(noise=0.1))) - gray
        strengths = noise.std((1, 2, 3))
        self.assertBetween(strengths.min(), 0, 0.02)
        self.assertBetween(strengths.max(), 0.08, 0.108)
        self.assertLess(np.abs(noise.mean((1, 2, 3))).max(), 0.015)

    def test_shift_stays_within_a_fraction_of_each_side(self):
        found = maps(ViewRange(shift=0.1))
        np.testing.assert_allclose(
            found[:, :, :2], np.broadcast_to(np.eye(2), (len(found), 2, 2)), atol=1e-5
        )
        for axis in range(2):
            self.assertBetween(found[:, axis, 2].min(), -1.5 - 1e-4, -1.1)
            self.assertBetween(found[:, axis, 2].max(), 1.1, 1.5 + 1e-4)

    def test_shift_is_relative_to_the_side_it_goes_along(self):
        found = np.asarray(views(ramp(40, 10), ViewRange(shift=0.1)))[:, 20, 5] - (0.5, 0.5)
        self.assertBetween(np.abs(found[:, 0]).max(), 3, 4 + 1e-4)
        self.assertBetween(np.abs(found[:, 1]).max(), 0.75, 1 + 1e-4)

    def test_rotation_turns_about_the_center_within_the_limit(self):
        found = maps(ViewRange(rotation=15))
        np.testing.assert_allclose(found[:, :, 2], 0, atol=1e-5)
        np.testing.assert_allclose(
            found[:, :, :2] @ found[:, :, :2].swapaxes(1, 2),
            np.broadcast_to(np.eye(2), (len(found), 2, 2)),
            atol=1e-5,
        )
        degrees = np.rad2deg(np.arctan2(found[:, 1, 0], found[:, 0, 0]))
        self.assertBetween(degrees.min(), -15 - 1e-3, -12)
        self.assertBetween(degrees.max(), 12, 15 + 1e-3)

    def test_scale_enlarges_and_reduces_within_the_limit(self):
        found = maps(ViewRange(scale=0.2))
        zoom = 1 / found[:, 0, 0]
        np.testing.assert_allclose(found[:, :, :2], np.eye(2) / zoom[:, None, None], atol=1e-5)
        self.assertBetween(zoom.min(), 0.8 - 1e-4, 0.85)
        self.assertBetween(zoom.max(), 1.15, 1.2 + 1e-4)

    def test_flip_mirrors_what_is_read_also_with_the_rest(self):
        found = maps(ViewRange(rotation=15, scale=0.2, shift=0.05, flip=0.5))
        determinants = np.linalg.det(found[:, :, :2])
        self.assertContainsSubset({-1, 1}, set(np.sign(determinants)))
        np.testing.assert_allclose(  # Nothing is sheared.
            found[:, :, :2] @ found[:, :, :2].swapaxes(1, 2),
            np.abs(determinants)[:, None, None] * np.eye(2),
            atol=1e-4,
        )
        self.assertBetween(np.abs(determinants).min(), 1.2**-2 - 1e-4, 1)
        self.assertBetween(np.abs(determinants).max(), 1, 0.8**-2 + 1e-4)

    def test_shear_slants_and_stretches_within_the_limit(self):
        found = maps(ViewRange(shear=0.1))
        np.testing.assert_allclose(found[:, :, 2], 0, atol=1e-5)
        slant = found[:, [0, 1], [1, 0]]
        stretch = found[:, [0, 1], [0, 1]] - 1
        for values in (slant[:, 0], slant[:, 1], stretch[:, 0]):
            self.assertBetween(values.min(), -0.1 - 1e-4, -0.08)
            self.assertBetween(values.max(), 0.08, 0.1 + 1e-4)
        np.testing.assert_allclose(stretch[:, 0], -stretch[:, 1], atol=1e-5)
        self.assertLess(np.abs(np.corrcoef(slant.T)[0, 1]), 0.6)

    def test_contrast_changes_the_deviations_from_the_mean_gray_level(self):
        found = np.asarray(views(face(), ViewRange(contrast=0.3)))
        np.testing.assert_allclose(found.mean((1, 2, 3)), face().mean(), atol=1e-5)
        factors = np.log(found.std((1, 2, 3)) / face().std())
        self.assertBetween(factors.min(), -0.3 - 1e-4, -0.22)
        self.assertBetween(factors.max(), 0.22, 0.3 + 1e-4)
        expected = (face() - face().mean()) * np.exp(factors)[:, None, None, None]
        np.testing.assert_allclose(found - face().mean(), expected, atol=1e-5)

    def test_light_is_a_plane_that_is_one_in_the_middle(self):
        gray = np.full((7, 5, 2), 0.5, np.float32)
        gain = np.asarray(views(gray, ViewRange(light=0.2))) / gray
        np.testing.assert_allclose(gain[:, 3, 2], 1, atol=1e-6)
        np.testing.assert_allclose(gain[..., 0], gain[..., 1])
        np.testing.assert_allclose(np.diff(gain, 2, axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(np.diff(gain, 2, axis=2), 0, atol=1e-5)
        for edge in (gain[:, -1, 2, 0], gain[:, 3, -1, 0]):
            self.assertBetween(edge.min(), 0.8 - 1e-5, 0.84)
            self.assertBetween(edge.max(), 1.16, 1.2 + 1e-5)

    def test_further_kinds_of_views_leave_the_draws_of_the_others(self):
        limits = ViewRange(rotation=15, scale=0.2, shift=0.1, flip=0.5, brightness=0.2)
        tiny = dataclasses.replace(limits, shear=1e-7, contrast=1e-7, light=1e-7)
        np.testing.assert_allclose(views(face(), limits), views(face(), tiny), atol=1e-5)

    def test_values_stay_in_the_hull(self):
        bright = ViewRange(rotation=15, scale=0.2, shift=0.1, flip=0.5, brightness=0.2)
        found = np.asarray(views(face(), bright))
        self.assertGreaterEqual(found.min(), face().min() - 0.2 - 1e-6)
        self.assertLessEqual(found.max(), face().max() + 0.2 + 1e-6)
        still_bright = ViewRange(rotation=15, scale=0.2, shift=0.1, flip=0.5)
        found = np.asarray(views(face(), still_bright))
        self.assertGreaterEqual(found.min(), face().min() - 1e-6)
        self.assertLessEqual(found.max(), face().max() + 1e-6)

    def test_the_key_alone_decides(self):
        once, again = views(face(), EVERYTHING), views(face(), EVERYTHING)
        np.testing.assert_array_equal(once, again)
        once = np.asarray(once)
        distances = np.abs(once[:, None] - once[None]).max((2, 3, 4)) + np.eye(len(once))
        self.assertGreater(distances.min(), 0.01)

    def test_gradient(self):
        view = jax.jit(lambda image: random_view(jax.random.key(3), image, EVERYTHING))
        check_grads(view, (face(),), order=1, modes=["rev"], eps=0.1)


if __name__ == "__main__":
    absltest.main()
