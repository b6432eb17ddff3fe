"""Every prior, as a space of synthetic faces: what is on them makes no difference to the time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from mia_jax.attack import Space, spaces
from mia_jax.attack.generators import (
    components,
    eigenfaces,
    mobile_stylegan_files,
    photorealistic,
    readout,
    shapes,
    vae,
)

FACES = 64
LANDMARKS = 68


def synthetic_faces(shape: tuple[int, int, int]) -> np.ndarray:
    """Draws smooth images around 0.5: what is on them makes no difference to the time."""
    height, width, _ = shape
    noise = np.random.default_rng(0).normal(size=(FACES, *shape))
    smooth = scipy.ndimage.gaussian_filter(noise, (0, height / 16, width / 16, 0), mode="wrap")
    return np.clip(0.5 + 0.2 * smooth / smooth.std(), 0, 1).astype(np.float32)


def synthetic_landmarks(images: np.ndarray) -> np.ndarray:
    """Makes up as many points `[n, points, 2]` as dlib finds, near the same places in each."""
    lengths = np.array(images.shape[1:3])
    random = np.random.default_rng(1)
    places = random.uniform(0.2, 0.8, (LANDMARKS, 2))
    return (places + random.normal(size=(len(images), LANDMARKS, 2)) / 100) * lengths


def photographs(faces: np.ndarray) -> Space:
    """Searches the packaged generator, cut on a CPU, with a readout of a few images: as fast."""
    network = mobile_stylegan_files.load()
    latents = photorealistic.fit_latents(jax.random.key(0), network)

    def draw(key: jax.Array) -> jax.Array:
        return photorealistic.style(latents, jax.random.normal(key, (len(latents.directions),)))

    on_cpu = jax.default_backend() == "cpu"
    cut = readout.fit(jax.random.key(1), network, draw, images=2) if on_cpu else None
    return photorealistic.space(network, latents, cut, faces)


PRIORS: dict[str, Callable[[np.ndarray], Space]] = {
    "pixels": lambda faces: spaces.pixels(jnp.asarray(faces)),
    "eigenfaces": lambda faces: eigenfaces.space(faces, 60, waves=24),
    "components": components.space,
    "shapes": lambda faces: shapes.space(faces, synthetic_landmarks),
    "vae": lambda faces: vae.space(vae.fit(jax.random.key(0), faces, steps=1), faces),
    "photorealistic": photographs,
}


def decode_flops(space: Space) -> float:
    """Returns what XLA counts for a point's image and gradient, before it optimizes anything."""
    point = space.start(jax.random.key(0))
    descend = jax.value_and_grad(lambda point: jnp.mean(space.decode(point) ** 2))
    cost = jax.jit(descend).lower(point).cost_analysis()
    assert cost
    return cost["flops"]
