import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from mia_jax.attack.generators import framing


def face(side=96):
    """A picture with no symmetry but structure at several scales."""
    down, across = np.mgrid[:side, :side] / side
    spots = [(0.4, 0.35, 0.1, 1.0), (0.38, 0.62, 0.08, -0.8), (0.7, 0.5, 0.15, 0.7)]
    return sum(
        weight * np.exp(-((down - i) ** 2 + (across - j) ** 2) / 2 / width**2)
        for i, j, width, weight in spots
    )[..., None]


class FramingTest(parameterized.TestCase):
    @parameterized.parameters((20, 5.0, 10.0, 7), (20, 0.0, 20.0, 20), (16, 3.5, 8.0, 24))
    def test_resampling_keeps_a_ramp_and_constants(self, length, start, size, count):
        matrix = framing.resampling(length, start, size, count)
        np.testing.assert_allclose(matrix.sum(1), 1)
        ramp = matrix @ (np.arange(length) + 0.5)
        expected = start + (np.arange(count) + 0.5) * size / count
        inside = (expected > 1.5 * size / count) & (expected < length - 1.5 * size / count)
        # Pixels at which a filter of three or more is sampled sum a ramp nearly exactly.
        np.testing.assert_allclose(ramp[inside], expected[inside], atol=0.12)

    def test_resampling_is_pillow_s_bilinear(self):
        picture = np.random.default_rng(0).uniform(size=(30, 30)).astype(np.float32)
        rows, columns = framing.resampling(30, 4, 24, 8), framing.resampling(30, 6, 12, 8)
        expected = Image.fromarray(picture).resize(
            (8, 8), Image.Resampling.BILINEAR, box=(6, 4, 18, 28)
        )
        found = rows @ picture @ columns.T
        # Pillow leaves out what the filter reaches beyond the box.
        np.testing.assert_allclose(found[1:-1, 1:-1], np.asarray(expected)[1:-1, 1:-1], atol=1e-5)

    @parameterized.parameters(
        ((24, 24), 0.6, 12, 20), ((24, 18), 0.7, 8, 16), ((16, 32), 0.8, 4, 8)
    )
    def test_finds_the_crop_that_was_cut(self, shape, size, top, left):
        side = 96
        spans = size * side * np.array(shape) / max(shape)
        rows, columns = (
            framing.resampling(side, start, span, count)
            for start, span, count in zip((top, left), spans, shape, strict=True)
        )
        wanted = 0.3 + 0.2 * (rows @ face()[..., 0] @ columns.T)[..., None]
        found = framing.search(face(), wanted)
        for (start, span), expected, own in zip(found, (top, left), spans, strict=True):
            self.assertAlmostEqual(span, own, delta=2.5)
            self.assertAlmostEqual(start, expected, delta=2.5)

    @parameterized.parameters(1, 3)
    def test_gives_the_auxiliary_faces_levels(self, channels):
        random = np.random.default_rng(1)
        pictures = face() + 0.1 * random.normal(size=(30, 96, 96, channels))
        contrasts, levels = random.uniform(0.1, 0.3, 40), random.uniform(0.4, 0.6, 40)
        shown = face(24)[None] + 0.1 * random.normal(size=(40, 24, 24, channels))
        auxiliary = levels[:, None, None, None] + contrasts[:, None, None, None] * (
            shown - shown.mean((1, 2, 3), keepdims=True)
        ) / shown.std((1, 2, 3), keepdims=True)
        fitted = framing.fit(pictures, auxiliary)

        def found(contrast, brightness):
            return np.stack(
                [framing.apply(fitted, picture, contrast, brightness) for picture in pictures]
            )

        ordinary = found(0.0, 0.0)
        self.assertEqual(ordinary.shape, (30, 24, 24, channels))
        self.assertAlmostEqual(ordinary.mean(), auxiliary.mean(), places=3)
        logs = np.log(ordinary.std((1, 2, 3))).mean()
        self.assertAlmostEqual(logs, np.log(contrasts).mean(), places=2)
        unusual = found(1.5, -2.0)
        self.assertAlmostEqual(unusual.mean(), levels.mean() - 2 * levels.std(), places=3)
        logs = np.log(unusual.std((1, 2, 3))).mean()
        self.assertAlmostEqual(logs, np.log(contrasts).mean() + 1.5 * np.log(contrasts).std(), 2)

    def test_flat_faces_are_harmless(self):
        fitted = framing.fit(np.full((3, 16, 16, 1), 0.5), np.full((4, 8, 8, 1), 0.25))
        found = framing.apply(fitted, np.full((16, 16, 1), 0.5, np.float32), 1.0, 1.0)
        np.testing.assert_allclose(found, 0.25, atol=1e-6)


if __name__ == "__main__":
    absltest.main()
