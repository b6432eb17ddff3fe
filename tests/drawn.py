"""Recognizers made up for the tests of several modules, without compiling their `init`."""

import jax
import numpy as np


def weights(model, classes, *image_shape, seed=0, spread=0.3):
    """Draws random weights: scales of a normalization about 1, and biases that are not zero."""
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), classes, image_shape))

    def draw(path, leaf):
        if len(leaf.shape) == 1:
            about = 1 if jax.tree_util.keystr(path[-1:], simple=True) == "scale" else 0
            return (about + spread * random.standard_normal(leaf.shape)).astype(np.float32)
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return (scale * random.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)
