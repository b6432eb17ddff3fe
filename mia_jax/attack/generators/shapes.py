"""Shape and texture apart: where a face's features are, and what they look like.

Averages of faces whose eyes and mouths lie elsewhere are blurred; eigenfaces inherit it. Here each
auxiliary face is warped to the mean shape first. The textures there have local components, the
displacements that take a face to the mean shape have principal components of their own, and a face
is decoded by looking up the texture at the displaced places: linear but for that last step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.interpolate
import scipy.ndimage
from jax.tree_util import Partial

from mia_jax.attack import seeds, spaces
from mia_jax.attack.generators import components as local
from mia_jax.attack.generators import eigenfaces
from mia_jax.attack.generators.landmarks import LandmarkFn
from mia_jax.attack.spaces import Space
from mia_jax.runtime.errors import UserError

_ANCHORS = 5  # Points along each border that stay where they are.
_GRID = 33  # Places along each axis where the spline, which is smooth, is computed.


class Shapes(NamedTuple):
    """A face is its texture, looked up at displaced places.

    Attributes:
      points: `[points, 2]`, the landmarks of the mean shape.
      fields: The mean displacement and its principal components, as eigenfaces of two channels:
        how many rows and columns from each pixel of a face its texture lies.
      texture: Local components of the faces, warped to the mean shape.
    """

    points: jax.Array
    fields: eigenfaces.Eigenfaces
    texture: local.Components


def space(
    auxiliary: np.ndarray,
    landmarks: LandmarkFn,
    *,
    components: int = 20,
    size: float = 0.375,
    windows: int = 6,
    window_components: int = 20,
    independence: float = 0.3,
    seed: seeds.SeedFn = seeds.mean_of_subset,
    spread: float = 0.0,
    prior: float = 1.0,
) -> Space:
    """Searches shapes and textures.

    Args:
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces.
      landmarks: Finds the same points in every face; from `landmarks`.
      components: How many of the shape.
      size: Of the texture, as in `components.fit`.
      windows: The same.
      window_components: The same.
      independence: The same.
      seed: From `seeds`, of the textures: a restart starts from its projection, in the mean shape.
      spread: Standard deviation of Gaussian noise on the first coordinates.
      prior: Weight of half the squared coordinates: 1 weighs them as the logarithm of a standard
        normal density.

    Returns:
      A space whose points are `[components + windows**2 * window_components]` coordinates, those of
      the shape first, without bounds.

    Raises:
      UserError: If an argument is out of range, or the landmarks find too few faces.
    """
    fitted, textures = fit(
        auxiliary, landmarks, components, size, windows, window_components, independence
    )
    return spaces.gaussian(
        Partial(_encode_texture, fitted),
        Partial(decode, fitted),
        textures,
        seed=seed,
        spread=spread,
        prior=prior,
    )


def _encode_texture(fitted: Shapes, texture: jax.Array) -> jax.Array:
    """Projects a texture, in the mean shape."""
    point = local.encode(fitted.texture, texture)
    return jnp.pad(point, (len(fitted.fields.components), 0))


def fit(
    auxiliary: np.ndarray,
    landmarks: LandmarkFn,
    components: int = 20,
    size: float = 0.375,
    windows: int = 6,
    window_components: int = 20,
    independence: float = 0.3,
) -> tuple[Shapes, jax.Array]:
    """Finds the components of shape and texture, of the faces and of their mirror images.

    Args:
      auxiliary: As in `space`.
      landmarks: As in `space`.
      components: As in `space`.
      size: As in `space`.
      windows: As in `space`.
      window_components: As in `space`.
      independence: As in `space`.

    Returns:
      The shapes, and the faces warped to the mean shape, `[faces, height, width, channels]`: those
      in which landmarks were found, in the order of the auxiliary faces.

    Raises:
      UserError: As `space`.

    Source: Cootes, Edwards and Taylor 2001, "Active appearance models"; the warp is Bookstein's
      thin-plate spline, 1989.
    """
    faces = np.asarray(auxiliary)
    points, mirrored = landmarks(faces), landmarks(faces[:, :, ::-1])
    found = np.isfinite(points).all((1, 2)) & np.isfinite(mirrored).all((1, 2))
    if not 0 < components < 2 * found.sum():
        raise UserError(
            f"components={components} of the shape cannot come from the {found.sum()} of "
            f"{len(faces)} faces in which landmarks were found: give 1 to "
            f"{max(1, 2 * found.sum() - 1)}, or larger and more frontal faces"
        )
    points, faces = points[found], faces[found]
    both = np.concatenate([points, mirrored[found]])
    mean = both.mean(0)
    shape = faces.shape[1:3]
    fields = np.stack([displacement(each, mean, shape) for each in both])
    textures = np.stack(
        [
            warp(face, displacement(mean, own, shape))
            for face, own in zip(faces, points, strict=True)
        ]
    )
    average = fields.mean(0)
    basis = eigenfaces.principal_components((fields - average).reshape(len(fields), -1), components)
    fitted = Shapes(
        jnp.asarray(mean, jnp.float32),
        eigenfaces.Eigenfaces(
            jnp.asarray(average, jnp.float32),
            jnp.asarray(basis.reshape(components, *average.shape), jnp.float32),
        ),
        local.fit(textures, size, windows, window_components, independence),
    )
    return fitted, jnp.asarray(textures, jnp.float32)


def decode(fitted: Shapes, point: jax.Array) -> jax.Array:
    """Makes the face of one point of the search space.

    Args:
      fitted: From `fit`.
      point: The shape's coordinates, then the texture's; a standard normal draw gives a plausible
        face.

    Returns:
      `[height, width, channels]`; may leave [0, 1] a little.
    """
    count = len(fitted.fields.components)
    field = eigenfaces.decode(fitted.fields, point[:count])
    texture = eigenfaces.decode(fitted.texture.faces, point[count:])
    places = jnp.moveaxis(field, -1, 0) + jnp.indices(field.shape[:2])

    def look_up(channel: jax.Array) -> jax.Array:
        return jax.scipy.ndimage.map_coordinates(channel, list(places), order=1, mode="nearest")

    return jax.vmap(look_up, -1, -1)(texture)


def encode(fitted: Shapes, image: np.ndarray, points: np.ndarray) -> jax.Array:
    """Projects a face on the components of shape and texture.

    Args:
      fitted: From `fit`.
      image: `[height, width, channels]`.
      points: `[points, 2]`, its landmarks.

    Returns:
      The coordinates, for `decode`.
    """
    mean, shape = np.asarray(fitted.points), image.shape[:2]
    field = displacement(points, mean, shape).astype(np.float32)
    texture = warp(image, displacement(mean, points, shape)).astype(np.float32)
    return jnp.concatenate(
        [
            eigenfaces.encode(fitted.fields, jnp.asarray(field)),
            local.encode(fitted.texture, jnp.asarray(texture)),
        ]
    )


def displacement(points: np.ndarray, others: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Interpolates by a thin plate how far points are from others; the image's border stays.

    Args:
      points: `[points, 2]`, rows and columns in pixels.
      others: `[points, 2]`, where they go.
      shape: Height and width.

    Returns:
      `[height, width, 2]`: what to add to a pixel's place.
    """
    borders = _borders(shape)
    known = np.concatenate([points, borders])
    moves = np.concatenate([others - points, np.zeros_like(borders)])
    # Landmarks that fall together would leave the spline undetermined, so it need not be exact.
    spline = scipy.interpolate.RBFInterpolator(
        known, moves, smoothing=1e-3, kernel="thin_plate_spline"
    )
    axes = [np.linspace(0, length - 1, min(length, _GRID)) for length in shape]
    coarse = spline(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2))
    rows, columns = (
        np.stack([np.interp(np.arange(length), axis, one) for one in np.eye(len(axis))], 1)
        for length, axis in zip(shape, axes, strict=True)
    )
    grid = coarse.reshape(len(axes[0]), len(axes[1]), 2)
    return np.einsum("hi,ijx,wj->hwx", rows, grid, columns, optimize=True)


def warp(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Looks an image `[height, width, channels]` up at displaced places `[height, width, 2]`."""
    places = np.moveaxis(field, -1, 0) + np.indices(field.shape[:2])
    channels = [
        scipy.ndimage.map_coordinates(channel, places, order=1, mode="nearest")
        for channel in np.moveaxis(image, -1, 0)
    ]
    return np.stack(channels, -1)


def _borders(shape: tuple[int, int]) -> np.ndarray:
    """Lists points along the four borders, the corners once each."""
    rows, columns = (np.linspace(0, length - 1, _ANCHORS) for length in shape)
    grid: np.ndarray = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    outer = np.pad(np.zeros((_ANCHORS - 2, _ANCHORS - 2), bool), 1, constant_values=True)
    return grid[outer]
