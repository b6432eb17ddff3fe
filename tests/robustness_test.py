"""Tests of the disturbances: the same person, in the same place and range."""

import numpy as np
import pytest
import skimage.data
import skimage.transform

from mia_jax.evidence import robustness


def picture(side=64, channels=1):
    gray = skimage.transform.resize(skimage.data.camera() / 255, (side, side))
    return np.repeat(gray[..., None], channels, axis=-1).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", robustness.DISTURBANCES)
def test_a_disturbed_image_is_much_like_it_was(kind, channels):
    image = picture(channels=channels)
    (changed,) = robustness.disturb(image[None], kind)
    assert changed.shape == image.shape and changed.dtype == np.float32
    assert changed.min() >= 0 and changed.max() <= 1
    assert np.corrcoef(changed.ravel(), image.ravel())[0, 1] > 0.8
    assert (changed == image).all() == (kind == "none")


@pytest.mark.parametrize("side", [16, 32, 128])
def test_a_shift_moves_by_a_fraction_of_the_side(side):
    image = picture(side)
    steps = max(side // 32, 1)
    np.testing.assert_array_equal(robustness.shift(image)[steps:, steps:], image[:-steps, :-steps])


@pytest.mark.parametrize("kind", ["blur", "JPEG", "half size"])
def test_faint_speckle_is_what_is_lost(kind):
    speckle = 0.5 + 0.02 * np.random.default_rng(0).normal(size=(1, 64, 64, 1)).astype(np.float32)
    assert robustness.disturb(speckle, kind).std() < 0.7 * speckle.std()
