"""A judge of one's own, as a user would write it: tiny images, compared as they are."""

import numpy as np


def embed(images):
    """Removes light and contrast, and compares pixels."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
