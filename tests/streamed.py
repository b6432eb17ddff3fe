"""Photographs that are not in memory, for the tests of several modules."""

import numpy as np


class Streamed:
    """Reads photographs only when they are asked for, and only by integer indices."""

    def __init__(self, images):
        self._images = images
        self.shape = images.shape

    def __len__(self):
        return len(self._images)

    def __getitem__(self, indices):
        assert isinstance(indices, np.ndarray), indices
        assert indices.dtype.kind == "i", indices
        return self._images[indices]
