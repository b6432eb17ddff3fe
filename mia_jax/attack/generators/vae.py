"""A generator trained here, on the auxiliary faces alone: a variational autoencoder.

The decoder is a small convolutional network, the encoder a perceptron on shrunken faces: it serves
training and the first points only. The decoder's noise is the one that fits best, which leaves no
weight to tune between the two terms of the loss. After training the latents of the faces are
whitened, so that a standard normal draw is where faces are.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.tree_util import Partial

from mia_jax.attack import seeds, spaces
from mia_jax.attack.spaces import Space
from mia_jax.recognizer.convolution import convolve
from mia_jax.recognizer.views import ViewRange, random_view
from mia_jax.runtime.errors import UserError

_SEEN = 32  # Side of the faces that the encoder sees.
_FIRST = 4  # Side of the decoder's first features.
_LARGEST = 64  # Of its last ones; larger images are enlarged from there.
_AUGMENTATION = ViewRange(rotation=5, scale=0.05, shift=0.03, flip=0.5, brightness=0.05)
_TOGETHER = 50  # Steps of training that are one call.
_SHOWN = 512  # Faces that are encoded in one call, when all are.


class VAE(NamedTuple):
    """A trained generator.

    Attributes:
      encoder: Weights, from a face to the mean and log variance of its latent.
      decoder: Weights, from a latent to a face.
      average: `[height, width, channels]`, the mean face, which the decoder's output is added to.
      mean: `[latents]`, of the faces' latents.
      spread: `[latents, latents]`: a latent is `mean + coordinates @ spread`, of standard normal
        coordinates.
    """

    encoder: Any
    decoder: Any
    average: jax.Array
    mean: jax.Array
    spread: jax.Array


class Encoder(nn.Module):
    """Sees shrunken faces `[n, ...]`, and returns means and log variances `[n, latents]`."""

    latents: int

    @nn.compact
    def __call__(self, faces: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Encodes."""
        x = faces.reshape(len(faces), -1)
        for features in (512, 256):
            x = nn.silu(nn.Dense(features)(x))
        mean, log_variance = jnp.split(nn.Dense(2 * self.latents)(x), 2, axis=-1)
        return mean, log_variance


class Decoder(nn.Module):
    """Turns latents `[n, latents]` into images `[n, side, side, channels]`, doubling the side."""

    side: int
    channels: int

    @nn.compact
    def __call__(self, latents: jax.Array) -> jax.Array:
        """Decodes."""
        x = nn.silu(nn.Dense(512)(latents))
        x = nn.silu(nn.Dense(_FIRST * _FIRST * 64)(x)).reshape(-1, _FIRST, _FIRST, 64)
        side = _FIRST
        while side < self.side:
            side *= 2
            x = x.repeat(2, axis=1).repeat(2, axis=2)
            x = nn.silu(self._convolve(x, 64 if side < _SEEN else 32, f"to_{side}"))
        return self._convolve(x, self.channels, "to_image")

    def _convolve(self, x: jax.Array, features: int, name: str) -> jax.Array:
        """Convolves three by three; as `nn.Conv`, but fast on CPU."""
        shape = (3, 3, x.shape[-1], features)
        kernel = self.param(f"{name}_kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param(f"{name}_bias", nn.initializers.zeros, (features,))
        return convolve(x, kernel) + bias


def space(
    vae: VAE,
    auxiliary: np.ndarray,
    *,
    seed: seeds.SeedFn = seeds.mean_of_subset,
    spread: float = 0.0,
    prior: float = 1.0,
) -> Space:
    """Searches the latents of a generator that was trained on the auxiliary faces.

    Args:
      vae: From `fit`.
      auxiliary: `[n, height, width, channels]` in [0, 1], the faces it was trained on.
      seed: The image whose latent a restart starts from; from `seeds`.
      spread: Standard deviation of Gaussian noise on the first coordinates.
      prior: Weight of half the squared coordinates: 1 weighs them as the logarithm of a standard
        normal density.

    Returns:
      A space whose points are `[latents]` coordinates, without bounds.
    """
    return spaces.gaussian(
        Partial(encode, vae), Partial(decode, vae), auxiliary, seed=seed, spread=spread, prior=prior
    )


def decode(vae: VAE, point: jax.Array) -> jax.Array:
    """Makes the face of one point of the search space.

    Args:
      vae: From `fit`.
      point: `[latents]`; a standard normal draw gives a plausible face.

    Returns:
      `[height, width, channels]`; may leave [0, 1] a little.
    """
    return _images(vae.decoder, vae.average, (vae.mean + point @ vae.spread)[None])[0]


def encode(vae: VAE, image: jax.Array) -> jax.Array:
    """Finds the point whose face is most like an image, as the encoder sees it.

    Args:
      vae: From `fit`.
      image: `[height, width, channels]`.

    Returns:
      `[latents]`.
    """
    latent = _codes(vae.encoder, vae.average, image[None], len(vae.mean))[0][0]
    return jnp.linalg.solve(vae.spread.T, latent - vae.mean)


def fit(
    key: jax.Array,
    auxiliary: np.ndarray,
    *,
    latents: int = 64,
    steps: int = 1500,
    batch_size: int = 32,
    rate: float = 1e-3,
) -> VAE:
    """Trains a generator on faces, their mirror images and small changes of both.

    Minutes on a CPU for faces of 128 pixels; the same key gives the same generator on the same
    device.

    Args:
      key: A typed `jax.random.key`, consumed.
      auxiliary: `[n, height, width, channels]` in [0, 1].
      latents: Numbers that make a face.
      steps: Of Adam, at a rate that falls to zero.
      batch_size: Faces in a step.
      rate: Adam's first rate.

    Returns:
      The generator.

    Raises:
      UserError: If there are fewer than two faces, or an argument is below 1.

    Source: Kingma and Welling 2014, "Auto-encoding variational Bayes"; the noise is that of Rybkin
      et al. 2021, "Simple and effective VAE training with calibrated decoders".
    """
    faces = jnp.asarray(auxiliary, jnp.float32)
    if len(faces) < 2 or min(latents, steps, batch_size) < 1:
        raise UserError(
            f"{len(faces)} faces, latents={latents}, steps={steps} and batch_size={batch_size} "
            "train no generator: give two faces or more, and at least 1 of each"
        )
    average = (faces.mean(0) + faces.mean(0)[:, ::-1]) / 2
    own, training = jax.random.split(key)
    params = _initialize(own, average, latents)
    state = optax.scale_by_adam().init(params)
    keys, rates = jax.random.split(training, steps), rate * (1 - jnp.arange(steps) / steps)
    for first in range(0, steps, _TOGETHER):
        few = slice(first, first + _TOGETHER)
        params, state = _advance(
            params, state, average, faces, keys[few], rates[few], latents, batch_size
        )
    encoder, decoder = params
    parts = [faces[first : first + _SHOWN] for first in range(0, len(faces), _SHOWN)]
    codes = [
        _codes(encoder, average, each, latents)
        for part in parts
        for each in (part, part[:, :, ::-1])
    ]
    means, log_variances = (jnp.concatenate(each) for each in zip(*codes, strict=True))
    # The latents of all faces together: where their means are, and how sharply each is known.
    covariance = jnp.cov(means.T, ddof=0).reshape(latents, latents)
    covariance += jnp.diag(jnp.exp(log_variances).mean(0))
    return VAE(encoder, decoder, average, means.mean(0), jnp.linalg.cholesky(covariance).T)


@functools.partial(jax.jit, static_argnums=(6, 7))
def _advance(
    params: tuple[Any, Any],
    state: optax.OptState,
    average: jax.Array,
    faces: jax.Array,
    keys: jax.Array,
    rates: jax.Array,
    latents: int,
    batch_size: int,
) -> tuple[tuple[Any, Any], optax.OptState]:
    """Takes a step of Adam for each key."""

    def step(carry: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        params, state = carry
        key, rate = now
        gradient = jax.grad(_loss)(params, average, faces, key, latents, batch_size)
        updates, state = optax.scale_by_adam().update(gradient, state)
        return (jax.tree.map(lambda p, u: p - rate * u, params, updates), state), None

    (params, state), _ = jax.lax.scan(step, (params, state), (keys, rates))
    return params, state


def _loss(
    params: tuple[Any, Any],
    average: jax.Array,
    faces: jax.Array,
    key: jax.Array,
    latents: int,
    batch_size: int,
) -> jax.Array:
    """Returns the negative evidence bound of a random batch, per face."""
    encoder, decoder = params
    choice, views, noise = jax.random.split(key, 3)
    chosen = faces[jax.random.randint(choice, (batch_size,), 0, len(faces))]
    batch = jax.vmap(lambda key, face: random_view(key, face, _AUGMENTATION))(
        jax.random.split(views, batch_size), chosen
    )
    means, log_variances = _codes(encoder, average, batch, latents)
    draws = means + jnp.exp(log_variances / 2) * jax.random.normal(noise, means.shape)
    error = jnp.mean((_images(decoder, average, draws) - batch) ** 2)
    # The likeliest Gaussian noise has the errors' own variance; its log likelihood is this.
    likelihood = -faces[0].size / 2 * jnp.log(error + 1e-6)
    divergence = (means**2 + jnp.exp(log_variances) - log_variances - 1).sum(-1) / 2
    return divergence.mean() - likelihood


def _initialize(key: jax.Array, average: jax.Array, latents: int) -> tuple[Any, Any]:
    """Draws the weights of encoder and decoder."""
    one, other = jax.random.split(key)
    seen = jnp.zeros((1, _SEEN, _SEEN, average.shape[-1]))
    encoder = jax.jit(Encoder(latents).init)(one, seen)
    return encoder, jax.jit(_decoder(average).init)(other, jnp.zeros((1, latents)))


def _decoder(average: jax.Array) -> Decoder:
    """Returns the decoder for such faces: of the next power of two, or of 64 pixels."""
    height, width, channels = average.shape
    side = _FIRST
    while side < min(_LARGEST, max(height, width)):
        side *= 2
    return Decoder(side, channels)


@functools.partial(jax.jit, static_argnums=3)
def _codes(
    encoder: Any, average: jax.Array, faces: jax.Array, latents: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the means and log variances `[n, latents]` of faces' latents."""
    shape = (len(faces), _SEEN, _SEEN, faces.shape[-1])
    # Without antialiasing, as small changes of the faces blur them anyway.
    seen = jax.image.resize(faces - average, shape, "linear")
    found: tuple[jax.Array, jax.Array] = Encoder(latents).apply(encoder, 4 * seen)  # type: ignore
    return found


def _images(decoder: Any, average: jax.Array, latents: jax.Array) -> jax.Array:
    """Returns the images `[n, height, width, channels]` of latents."""
    images: Any = _decoder(average).apply(decoder, latents)
    return average + jax.image.resize(images, (len(latents), *average.shape), "linear")
