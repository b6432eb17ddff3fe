"""Distributions of features: how much one set of images is like another, image by image aside.

Pure functions on a judge's features `[n, k]`, in which the Euclidean distance is small between
images that the judge finds alike. In the story this stands under `sets`, which compares a person's
clones with the person's photographs.
"""

import numpy as np
import scipy.spatial.distance

NEIGHBORS = 5


def neighbors(count: int) -> int:
    """Returns which nearest neighbor bounds the surroundings of an image, k.

    Args:
      count: Of how many images the set is, 2 or more.

    Returns:
      `NEIGHBORS`, or the last one where there are fewer others.

    Raises:
      ValueError: If an image would have no neighbor.
    """
    if count < 2:
        raise ValueError(f"count is {count}, and an image alone has no neighbor: give 2 or more.")
    return min(NEIGHBORS, count - 1)


def precision(real: np.ndarray, fake: np.ndarray) -> float:
    """Measures how much of one set lies where the other is.

    Args:
      real: `[n, k]`, n of 2 or more.
      fake: `[m, k]`.

    Returns:
      The fraction of the fake images that are nearer to a real one than its k-th nearest neighbor
      among the real ones is, in [0, 1].

    Raises:
      ValueError: If there are fewer than two real images.

    Source: T. Kynkäänniemi et al., "Improved precision and recall metric for assessing generative
      models", 2019, equation 2, where the k-th neighbor itself counts as near; here and below it
      does not, as in Naeem et al.
    """
    return float(_near(real, fake).any(axis=0).mean())


def recall(real: np.ndarray, fake: np.ndarray) -> float:
    """Measures how much of the real set lies where the fake one is: precision the other way.

    Args:
      real: `[n, k]`.
      fake: `[m, k]`, m of 2 or more.

    Returns:
      A fraction of the real images, in [0, 1].

    Raises:
      ValueError: If there are fewer than two fake images.

    Source: Kynkäänniemi et al., 2019.
    """
    return precision(fake, real)


def density(real: np.ndarray, fake: np.ndarray) -> float:
    """Counts in how many surroundings of real images a fake one lies.

    Args:
      real: `[n, k]`, n of 2 or more.
      fake: `[m, k]`.

    Returns:
      The mean count over the number of neighbors: 1 where the fake images are the real ones, and
      more where they crowd among them.

    Raises:
      ValueError: If there are fewer than two real images.

    Source: M. F. Naeem et al., "Reliable fidelity and diversity metrics for generative models",
      2020, section 3.1.
    """
    return float(_near(real, fake).sum(axis=0).mean() / neighbors(len(real)))


def coverage(real: np.ndarray, fake: np.ndarray) -> float:
    """Counts the real images with a fake one in their surroundings.

    Args:
      real: `[n, k]`, n of 2 or more.
      fake: `[m, k]`; the more there are, the more they can cover.

    Returns:
      A fraction of the real images, in [0, 1].

    Raises:
      ValueError: If there are fewer than two real images.

    Source: Naeem et al., 2020, section 3.2.
    """
    return float(_near(real, fake).any(axis=1).mean())


def diversity(vectors: np.ndarray) -> float:
    """Measures how much the images of a set differ.

    Args:
      vectors: `[n, k]`, n of 2 or more.

    Returns:
      The mean distance of two different ones; 0 where all are alike.

    Raises:
      ValueError: If there are fewer than two.
    """
    neighbors(len(vectors))
    return float(scipy.spatial.distance.pdist(vectors).mean())


def nearest(vectors: np.ndarray, photographs: np.ndarray) -> np.ndarray:
    """Measures how far the nearest of some photographs is.

    Args:
      vectors: `[n, k]`.
      photographs: `[m, k]`, m of 1 or more.

    Returns:
      For each image the distance to the photograph nearest to it, `[n]`.
    """
    # Photographs may be many: a product of matrices finds the nearest, and then it is measured.
    half_squares = np.sum(np.square(photographs, dtype=np.float64), axis=1) / 2
    places = np.argmin(half_squares - vectors @ photographs.T, axis=1)
    return np.linalg.norm(vectors - photographs[places].astype(np.float64), axis=1)


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Measures how far two normal distributions are, with the means and covariances of two sets.

    With S = A'A for the centered features A over the square root of n - 1, the trace of the root of
    S1 S2 is the sum of the singular values of A1 A2', which needs no root of a matrix. With fewer
    images than features a covariance lacks rank and is far from that of all images there could be:
    the distance then comes out too large, the more so the fewer the images. Compare only distances
    between sets of the same sizes.

    Args:
      first: `[n, k]`, n of 2 or more.
      second: `[m, k]`, m of 2 or more.

    Returns:
      The square of the distance, as is usual, 0 or more.

    Raises:
      ValueError: If one set has fewer than two images.

    Source: M. Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
      equilibrium", 2017, equation 6.
    """
    spread, means = [], []
    for vectors in (np.asarray(first, np.float64), np.asarray(second, np.float64)):
        neighbors(len(vectors))
        means.append(vectors.mean(axis=0))
        centered = (vectors - means[-1]) / np.sqrt(len(vectors) - 1)
        spread.append(np.linalg.qr(centered).R)  # As good as A, with k rows at most.
    shared = np.linalg.norm(spread[0] @ spread[1].T, "nuc")
    total = sum(np.sum(each**2) for each in spread)
    return float(max(np.sum((means[0] - means[1]) ** 2) + total - 2 * shared, 0.0))


def _near(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Tells which fake images are in the surroundings of which real ones, `[real, fake]`."""
    k = neighbors(len(real))
    among = np.partition(scipy.spatial.distance.cdist(real, real), k, axis=1)
    return scipy.spatial.distance.cdist(real, fake) < among[:, [k]]  # Itself is at 0, the first.
