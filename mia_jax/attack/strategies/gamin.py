"""A generator and a surrogate that learn from each other and from the model, without any face."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial

from mia_jax.attack.strategies.strategy import Candidates, Strategy, Told

_LEAST = 1e-6  # Confidences are kept so far from 0 and 1.


class Constants(NamedTuple):
    """Sizes and rates; ours, as the published ones were not at hand.

    Attributes:
      batch: Images of noise, and as many of the generator, in each round.
      noise: Numbers of which the generator makes an image.
      hidden: Units of either network's hidden layer.
      coarse: Side of what the generator makes and the surrogate sees, before it is resized.
      rate: Of Adam, for both.
      gamma: How far the generator's loss is to lie under the surrogate's on noise.
      balance: Lambda: how fast their balance follows.
    """

    batch: int = 32
    noise: int = 32
    hidden: int = 128
    coarse: int = 16
    rate: float = 1e-3
    gamma: float = 0.5
    balance: float = 1e-3


class _State(NamedTuple):
    """Both networks and their balance, k."""

    generator: Any
    surrogate: Any
    memories: tuple[Any, Any]
    k: jax.Array
    drawn: jax.Array


def gamin(image_shape: Sequence[int], constants: Constants = Constants()) -> Strategy:  # noqa: B008
    """Trains a generator against a surrogate of the model, which learns on noise.

    For a space of pixels and the loss `infomax`, whose exponential is the target's confidence: the
    surrogate predicts that alone, not all confidences. Without faces what is found are prototypes
    in which people see nobody.

    Args:
      image_shape: Height, width and channels: of the points.
      constants: Sizes and rates.

    Returns:
      The strategy; a round has `2 * batch` candidates.

    Source: GAMIN, Aivodji et al. 2019, "GAMIN: an adversarial approach to black-box model
    inversion", from a description: unverified. The surrogate descends its error on noise, less k
    times that on the generator's images; the generator descends the surrogate's cross-entropy; k
    grows by lambda (gamma times the first error - the generator's), as in BEGAN.
    """
    shape = tuple(image_shape)
    return Strategy(
        Partial(_init, shape, constants),
        Partial(_ask, shape, constants),
        Partial(_tell, shape, constants),
        Partial(_point, shape, constants),
    )


def _layers(key: jax.Array, sizes: Sequence[int]) -> list[tuple[jax.Array, jax.Array]]:
    """Draws the weights of a perceptron."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        (jax.random.normal(own, (into, out)) / jnp.sqrt(into), jnp.zeros(out))
        for own, into, out in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def _apply(layers: list[tuple[jax.Array, jax.Array]], values: jax.Array) -> jax.Array:
    """Runs a perceptron."""
    for weights, bias in layers[:-1]:
        values = jax.nn.leaky_relu(values @ weights + bias)
    weights, bias = layers[-1]
    return values @ weights + bias


def _generate(shape: tuple[int, ...], coarse: int, generator: Any, noise: jax.Array) -> jax.Array:
    """Makes images `[n, size]` in [0, 1] of noise `[n, noise]`."""
    small = jax.nn.sigmoid(_apply(generator, noise)).reshape(-1, coarse, coarse, shape[2])
    return jax.image.resize(small, (len(noise), *shape), "linear").reshape(len(noise), -1)


def _believe(shape: tuple[int, ...], coarse: int, surrogate: Any, images: jax.Array) -> jax.Array:
    """Predicts the target's log-odds, `[n]`, in images `[n, size]`."""
    whole = images.reshape(-1, *shape)
    small = jax.image.resize(whole, (len(whole), coarse, coarse, shape[2]), "linear")
    return _apply(surrogate, small.reshape(len(whole), -1) - 0.5)[:, 0]


def _init(shape: tuple[int, ...], constants: Constants, key: jax.Array, start: jax.Array) -> _State:
    """Draws both networks; the start is of no use."""
    del start
    generator_key, surrogate_key = jax.random.split(key)
    values = constants.coarse**2 * shape[2]
    generator = _layers(generator_key, (constants.noise, constants.hidden, values))
    surrogate = _layers(surrogate_key, (values, constants.hidden, 1))
    optimizer = optax.adam(constants.rate)
    return _State(
        generator,
        surrogate,
        (optimizer.init(generator), optimizer.init(surrogate)),
        jnp.zeros(()),
        jnp.zeros((constants.batch, constants.noise)),
    )


def _ask(
    shape: tuple[int, ...], constants: Constants, key: jax.Array, state: _State
) -> tuple[Candidates, _State]:
    """Shows noise, and what the generator makes."""
    noise_key, pixel_key = jax.random.split(key)
    drawn = jax.random.normal(noise_key, (constants.batch, constants.noise))
    made = _generate(shape, constants.coarse, state.generator, drawn)
    pixels = jax.random.uniform(pixel_key, made.shape)
    points = jnp.concatenate([pixels, made])
    return Candidates(points, jnp.ones(len(points), bool)), state._replace(drawn=drawn)


def _tell(shape: tuple[int, ...], constants: Constants, state: _State, told: Told) -> _State:
    """Takes a step of each network, and of their balance."""
    coarse, optimizer = constants.coarse, optax.adam(constants.rate)
    confidences = jnp.clip(jnp.exp(-told.loss), _LEAST, 1 - _LEAST)

    def surrogate_loss(surrogate: Any) -> tuple[jax.Array, jax.Array]:
        odds = _believe(shape, coarse, surrogate, told.points)
        on_noise, on_made = optax.sigmoid_binary_cross_entropy(odds, confidences).reshape(2, -1)
        return on_noise.mean() - state.k * on_made.mean(), on_noise.mean()

    def generator_loss(generator: Any) -> jax.Array:
        made = _generate(shape, coarse, generator, state.drawn)
        return -jax.nn.log_sigmoid(_believe(shape, coarse, state.surrogate, made)).mean()

    slope, noise_loss = jax.grad(surrogate_loss, has_aux=True)(state.surrogate)
    made_loss, generator_slope = jax.value_and_grad(generator_loss)(state.generator)
    update, memory = optimizer.update(generator_slope, state.memories[0])
    other, other_memory = optimizer.update(slope, state.memories[1])
    return state._replace(
        generator=optax.apply_updates(state.generator, update),
        surrogate=optax.apply_updates(state.surrogate, other),
        memories=(memory, other_memory),
        k=jnp.clip(
            state.k + constants.balance * (constants.gamma * noise_loss - made_loss), 0.0, 1.0
        ),
    )


def _point(shape: tuple[int, ...], constants: Constants, state: _State) -> jax.Array:
    """Returns what the generator makes of the mean of its noise."""
    nothing = jnp.zeros((1, constants.noise))
    return _generate(shape, constants.coarse, state.generator, nothing)[0]
