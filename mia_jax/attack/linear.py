"""One linear map from features to pixels: what a template tells of a face, in closed form.

Ridge regression on the attacker's own faces. It needs their features, which the weights of a model
give, or the right to ask it; no gradient, and nothing of anybody who is attacked. A template put
through it is a blurred photograph. In the story this stands beside `objectives`: it says at once
where a descent would arrive slowly, and the space around its images (`around`) is where a descent
goes on.
"""

import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from mia_jax.attack.generators.eigenfaces import principal_components
from mia_jax.attack.objectives import clip_pixels
from mia_jax.attack.spaces import Space, identity
from mia_jax.runtime.errors import UserError

STRENGTHS = np.logspace(-6, 1, 29)  # Of ridge, in units of the features' total variance.
_HELD_OUT = 10  # Each tenth face says how much of the pixels' variance the map explains.
MOST = 2000  # Faces whose residuals are looked at.
_AT_ONCE = 256  # Faces, in double precision.


class LinearMap(NamedTuple):
    """From features to an image.

    Attributes:
      origin: `[features]`: their mean over faces.
      mean: `[height, width, channels]`: the mean face.
      weights: `[features, height, width, channels]`.
      strength: Of ridge, in units of the features' total variance.
      explained: How much of the pixels' variance the map explains on faces left out, at most 1.
    """

    origin: np.ndarray
    mean: np.ndarray
    weights: np.ndarray
    strength: float
    explained: float


class Around(NamedTuple):
    """A point near the image of a template.

    Attributes:
      center: `[height, width, channels]`: that image, which stays.
      offset: `[components]`: coordinates of what is added, standard normal over faces.
    """

    center: jax.Array
    offset: jax.Array


class _Moments(NamedTuple):
    """Sums over faces."""

    number: float
    features: np.ndarray
    pixels: np.ndarray
    squares: np.ndarray  # Of features: `[features, features]`.
    products: np.ndarray  # Of features and pixels: `[features, pixels]`.
    total: float  # Of the pixels' squares.


def fit(
    features: np.ndarray,
    faces: np.ndarray,
    mirrored: np.ndarray | None = None,
    strength: float | None = None,
) -> LinearMap:
    """Learns the map from faces and their features.

    Args:
      features: `[n, features]`, two faces or more; of an embedder, of length 1.
      faces: `[n, height, width, channels]` in [0, 1], the same ones.
      mirrored: `[n, features]`, of their mirror images, which make twice as many faces; None to do
        without.
      strength: Of ridge, in units of the features' total variance, above 0; None chooses the one of
        `STRENGTHS` of least generalized cross-validation.

    Returns:
      The map. Memory beyond the arguments' own is that of the map and of `_AT_ONCE` faces.

    Raises:
      UserError: If features and faces are not as many, or fewer than two; if a feature is not
        finite; or if the strength is not above 0.

    Source: G. Golub, M. Heath, G. Wahba, "Generalized cross-validation as a method for choosing a
      good ridge parameter", Technometrics 21(2), 1979.

    Example:
      map_ = fit(normalized(embed(params, faces)), faces)
      clones = np.clip(apply(map_, templates), 0, 1)
    """
    if features.ndim != 2 or len(features) != len(faces) or len(faces) < 2:
        raise UserError(
            "features must be [n, features] of n faces, two or more, but are "
            f"{list(features.shape)} of {len(faces)}"
        )
    if mirrored is not None and mirrored.shape != features.shape:
        raise UserError(
            f"mirrored must be {list(features.shape)} as features are, but is "
            f"{list(mirrored.shape)}"
        )
    if not all(np.isfinite(each).all() for each in (features, mirrored) if each is not None):
        raise UserError("features must be finite, but some are not")
    if strength is not None and not strength > 0:
        raise UserError(f"strength must be above 0, but is {strength}")
    places = np.arange(len(faces))
    held_out = places % _HELD_OUT == _HELD_OUT - 1
    kept, tested = (
        _moments(features, faces, mirrored, places[each]) for each in (~held_out, held_out)
    )
    everything = _added(kept, tested)
    explained = np.nan
    if tested.number > 1:
        explained = _explained(*_solve(kept, strength)[:3], tested)
    origin, mean, weights, chosen = _solve(everything, strength)
    shape = faces.shape[1:]
    return LinearMap(
        origin=origin,
        mean=mean.reshape(shape).astype(np.float32),
        weights=weights.reshape(-1, *shape).astype(np.float32),
        strength=chosen,
        explained=float(explained),
    )


def apply(linear: LinearMap, features: np.ndarray, gain: float = 1.0) -> np.ndarray:
    """Puts features through the map.

    Args:
      linear: From `fit`.
      features: `[n, features]`, such as templates.
      gain: How far from the mean face, in units of what the map says: ridge shrinks, and a larger
        gain makes a clearer face.

    Returns:
      `[n, height, width, channels]`, not kept in [0, 1].
    """
    apart = np.asarray(features, np.float64) - linear.origin
    found = linear.mean + gain * np.tensordot(apart, linear.weights, axes=1)
    return found.astype(np.float32)


def templates_of_rows(features: np.ndarray, rows: np.ndarray, lead: float) -> np.ndarray:
    """Makes templates of the last layer's rows: what features a classifier likes best.

    Among features with the mean and the covariance of faces the likeliest ones that a class scores
    so high lie along its row, seen through the covariance.

    Args:
      features: `[n, features]` of faces, of the last layer but one.
      rows: `[classes, features]`: that layer's weights, a row for each class.
      lead: How far a class's logit is above that of faces, in standard deviations.

    Returns:
      `[classes, features]`.
    """
    apart = rows - rows.mean(axis=0)
    covariance = np.atleast_2d(np.cov(features, rowvar=False))
    along = apart @ covariance
    spread = np.sqrt(np.maximum(np.sum(along * apart, axis=1, keepdims=True), 1e-30))
    found: np.ndarray = features.mean(axis=0) + lead * along / spread
    return found


def residuals(
    linear: LinearMap, features: np.ndarray, faces: np.ndarray, components: int
) -> np.ndarray:
    """Finds what the map cannot tell: how faces vary about their images.

    Args:
      linear: From `fit`.
      features: `[n, features]`.
      faces: `[n, height, width, channels]` in [0, 1]; all of the residuals are held in memory.
      components: How many directions, at most n.

    Returns:
      `[components, height, width, channels]`: orthogonal, each scaled by its standard deviation.
    """
    apart = faces - apply(linear, features)
    apart = (apart - apart.mean(axis=0)).reshape(len(faces), -1)
    return principal_components(apart, components).reshape(-1, *faces.shape[1:])


def around(
    linear: LinearMap,
    templates: np.ndarray,
    components: np.ndarray,
    *,
    gain: float,
    spread: float,
    prior: float,
) -> Space:
    """Searches near the images of templates.

    Args:
      linear: From `fit`.
      templates: `[classes, features]`.
      components: `[components, height, width, channels]`, from `residuals`.
      gain: As in `apply`.
      spread: Standard deviation of Gaussian noise on the first coordinates.
      prior: Weight of half the squared coordinates.

    Returns:
      A space whose restarts start near the image of their target's template, or, where nobody is
      aimed at, near the mean face.
    """
    centers = jnp.asarray(apply(linear, templates, gain))
    nobody = jnp.asarray(linear.mean)
    return Space(
        start=Partial(_start, nobody, len(components), spread),
        decode=Partial(_decode, jnp.asarray(components)),
        penalty=Partial(_penalty, prior),
        project=identity,
        aimed=Partial(_aimed, centers, len(components), spread),
    )


def _start(center: jax.Array, components: int, spread: float, key: jax.Array) -> Around:
    """Starts near an image."""
    return Around(center, spread * jax.random.normal(jax.random.split(key)[1], (components,)))


def _aimed(
    centers: jax.Array, components: int, spread: float, key: jax.Array, target: jax.Array
) -> Around:
    """Starts near the image of the target's template."""
    return _start(centers[target], components, spread, key)


def _decode(components: jax.Array, point: Around) -> jax.Array:
    """Adds to the center, which no update moves."""
    center = jax.lax.stop_gradient(point.center)
    return clip_pixels(center + jnp.tensordot(point.offset, components, axes=1))


def _penalty(prior: float, point: Around, image: jax.Array) -> jax.Array:
    """Weighs what is added by a Gaussian density."""
    del image
    return prior / 2 * jnp.sum(point.offset**2)


def _moments(
    features: np.ndarray, faces: np.ndarray, mirrored: np.ndarray | None, places: np.ndarray
) -> _Moments:
    """Sums over some of the faces, and over their mirror images."""
    size, values = features.shape[1], int(np.prod(faces.shape[1:]))
    sums = _Moments(
        number=0.0,
        features=np.zeros(size),
        pixels=np.zeros(values),
        squares=np.zeros((size, size)),
        products=np.zeros((size, values)),
        total=0.0,
    )
    for some in np.split(places, range(_AT_ONCE, len(places), _AT_ONCE)):
        images = np.asarray(faces[some], np.float64)
        sums = _added(sums, _of_block(features[some], images))
        if mirrored is not None:
            sums = _added(sums, _of_block(mirrored[some], images[:, :, ::-1]))
    return sums


def _of_block(features: np.ndarray, faces: np.ndarray) -> _Moments:
    """Sums over a few faces."""
    seen, pixels = np.asarray(features, np.float64), faces.reshape(len(faces), -1)
    return _Moments(
        number=float(len(seen)),
        features=seen.sum(axis=0),
        pixels=pixels.sum(axis=0),
        squares=seen.T @ seen,
        products=seen.T @ pixels,
        total=float(np.sum(pixels**2)),
    )


def _added(one: _Moments, other: _Moments) -> _Moments:
    """Puts sums together."""
    found: _Moments = jax.tree.map(operator.add, one, other)
    return found


def _centered(moments: _Moments, origin: np.ndarray, mean: np.ndarray) -> _Moments:
    """Returns the sums of differences from an origin and a mean."""
    count, features, pixels, squares, products, total = moments
    return _Moments(
        count,
        features - count * origin,
        pixels - count * mean,
        squares
        - np.outer(features, origin)
        - np.outer(origin, features)
        + count * np.outer(origin, origin),
        products
        - np.outer(features, mean)
        - np.outer(origin, pixels)
        + count * np.outer(origin, mean),
        total - 2 * float(pixels @ mean) + count * float(mean @ mean),
    )


def _solve(
    moments: _Moments, strength: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Returns the origin, the mean, the weights and the strength of the best ridge."""
    count = moments.number
    origin, mean = moments.features / count, moments.pixels / count
    centered = _centered(moments, origin, mean)
    variances, directions = np.linalg.eigh(centered.squares)
    variances = np.maximum(variances, 0)
    scale = max(float(variances.sum()), np.finfo(float).tiny)
    along = directions.T @ centered.products
    told = np.sum(along**2, axis=1)

    def error(strength: float) -> float:
        """Returns the generalized cross-validation of a strength."""
        inverse = 1 / (variances + strength * scale)
        shrunk = variances * inverse
        squares = centered.total - np.sum(told * inverse * (2 - shrunk))
        return float(squares / (1 - (1 + shrunk.sum()) / count) ** 2)

    possible = [each for each in STRENGTHS if _freedom(variances, each * scale) < count - 1]
    chosen = min(possible or STRENGTHS[-1:], key=error) if strength is None else strength
    weights = directions @ (along / (variances + chosen * scale)[:, None])
    return origin, mean, weights, float(chosen)


def _freedom(variances: np.ndarray, ridge: float) -> float:
    """Returns how many parameters a ridge has in effect, with the mean."""
    return 1 + float(np.sum(variances / (variances + ridge)))


def _explained(
    origin: np.ndarray, mean: np.ndarray, weights: np.ndarray, tested: _Moments
) -> float:
    """Returns the share of the variance of faces left out that is explained."""
    centered = _centered(tested, origin, mean)
    squares = centered.total - 2 * np.sum(weights * centered.products)
    squares += np.sum((centered.squares @ weights) * weights)
    return float(1 - squares / max(centered.total, np.finfo(float).tiny))
