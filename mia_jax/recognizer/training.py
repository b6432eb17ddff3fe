"""Training of a recognizer: cross-entropy on random views, early stop, best weights kept."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax import recognizer
from mia_jax.faces.sources import Images
from mia_jax.recognizer.views import ViewRange, random_view
from mia_jax.runtime import sharding

AUGMENTATION = ViewRange(rotation=10, scale=0.1, shift=0.08, flip=0.5, brightness=0.1, noise=0.6)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
      learning_rate: Adam's.
      batch_size: Photographs in one step.
      max_steps: Most steps to take.
      evaluate_every: Steps from one look at the held-out photographs to the next.
      patience: Steps without a better held-out accuracy after which training stops.
      augmentation: Limits of the random views that training shows.
    """

    learning_rate: float = 1e-3
    batch_size: int = 32
    max_steps: int = 500
    evaluate_every: int = 25
    patience: int = 200
    augmentation: ViewRange = AUGMENTATION


class State(NamedTuple):
    """Training on its way; all that a resumed run needs.

    Attributes:
      step: Steps taken.
      params: The weights.
      optimizer: Adam's moments.
      best_params: The weights of highest held-out accuracy, at equal accuracy of least loss.
      best_accuracy: Their held-out accuracy; -1 before the first look.
      best_loss: Their held-out cross-entropy.
      best_step: When they were found.
    """

    step: jax.Array
    params: Any
    optimizer: optax.OptState
    best_params: Any
    best_accuracy: jax.Array
    best_loss: jax.Array
    best_step: jax.Array


class Photographs(NamedTuple):
    """Some of the photographs and their classes.

    Attributes:
      images: All photographs, in memory or streamed.
      indices: `[n]`: which of them.
      labels: `[n]` int32: the class of each.
    """

    images: Images
    indices: np.ndarray
    labels: np.ndarray


class Metrics(NamedTuple):
    """What one look at the held-out photographs showed.

    Attributes:
      step: Steps taken.
      training_loss: Mean cross-entropy over the steps since the last look, on random views.
      held_out_loss: Mean cross-entropy over the held-out photographs.
      held_out_accuracy: Fraction of them recognized, in [0, 1].
    """

    step: int
    training_loss: float
    held_out_loss: float
    held_out_accuracy: float


def start(key: jax.Array, classes: int, image_shape: Sequence[int], rate: float) -> State:
    """Begins a training.

    Args:
      key: A typed `jax.random.key`, consumed: the initial weights.
      classes: Number of registered identities.
      image_shape: Height, width and channels of the photographs.
      rate: Learning rate.

    Returns:
      The state before the first step.
    """
    params = recognizer.init(key, classes, image_shape)
    return State(
        step=jnp.zeros((), jnp.int32),
        params=params,
        optimizer=optax.adam(rate).init(params),
        best_params=jax.tree.map(jnp.copy, params),  # `train_step` uses up each buffer once.
        best_accuracy=jnp.float32(-1),
        best_loss=jnp.float32(jnp.inf),
        best_step=jnp.zeros((), jnp.int32),
    )


def train_step(
    state: State,
    images: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    settings: Settings,
    mesh: jax.sharding.Mesh,
) -> tuple[State, jax.Array]:
    """Takes one step of Adam on a random view of each photograph.

    Three programs one after the other are faster on CPU than one: with the views inside, XLA makes
    them and what follows up to 1.5 times as slow, and it copies weights that it both reads and
    updates.

    Args:
      state: Where training is, on the mesh by `sharding.place_training`; its buffers are used up.
      images: `[batch, height, width, channels]` in [0, 1].
      labels: `[batch]` integers.
      key: A typed `jax.random.key`; the step folds in its own number.
      settings: How to train.
      mesh: The devices.

    Returns:
      The next state, and the mean cross-entropy before the step.
    """
    views = _draw_views(key, state.step, images, settings.augmentation, mesh)
    loss, gradient = _differentiate(state.params, views, labels, mesh)
    return _update(state, gradient, settings.learning_rate), loss


@functools.partial(jax.jit, static_argnames=("limits", "mesh"))
def _draw_views(
    key: jax.Array,
    step: jax.Array,
    images: jax.Array,
    limits: ViewRange,
    mesh: jax.sharding.Mesh,
) -> jax.Array:
    """Returns a random view of each image, where the image is."""
    keys = jax.random.split(jax.random.fold_in(key, step), images.shape[0])
    view = functools.partial(random_view, limits=limits)
    draw = lambda _, *batch: jax.vmap(view)(*batch)  # noqa: E731
    return sharding.divide_batch(mesh, draw)((), keys, images)


@functools.partial(jax.jit, static_argnames="mesh")
def _differentiate(
    params: Any, views: jax.Array, labels: jax.Array, mesh: jax.sharding.Mesh
) -> tuple[jax.Array, Any]:
    """Returns the mean cross-entropy and its gradient with respect to the weights."""

    def loss(params: Any) -> jax.Array:
        kernels = {layer: params[layer] for layer in recognizer.CONVOLUTIONS}
        divided = sharding.divide_batch(mesh, recognizer.convolve)(kernels, views)
        logits, _ = recognizer.classify(params, sharding.replicate(mesh, divided))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return jax.value_and_grad(loss)(params)


@functools.partial(jax.jit, static_argnames="rate", donate_argnames="state")
def _update(state: State, gradient: Any, rate: float) -> State:
    """Takes one step of Adam, in the buffers of the state."""
    update, optimizer = optax.adam(rate).update(gradient, state.optimizer)
    params = optax.apply_updates(state.params, update)
    return state._replace(step=state.step + 1, params=params, optimizer=optimizer)


def batches(
    photographs: Photographs, batch_size: int, seed: int, mesh: jax.sharding.Mesh
) -> Callable[[int], tuple[jax.Array, jax.Array]]:
    """Arranges photographs in shuffled batches, another order in each epoch.

    The batch depends on the number of the step only, so a resumed training sees what an
    uninterrupted one would, and any number of devices sees the same. Photographs in memory are kept
    on the devices; others are read when their batch is, by each process those of its own devices.

    Args:
      photographs: The training photographs.
      batch_size: Photographs in a batch; where there are fewer, as many as divide over the devices.
      seed: Of the order.
      mesh: The devices.

    Returns:
      From the number of the step, from 0, to `(images, labels)`, sharded over the mesh.

    Raises:
      ValueError: If the batch does not divide over the devices.
    """
    images, indices = photographs.images, photographs.indices
    width = sharding.width(mesh)
    size = min(batch_size, len(indices) // width * width)
    if size < 1:
        raise ValueError(
            f"{len(indices)} photographs are too few to train on {width} devices: use fewer devices"
        )
    if size % width:
        raise ValueError(
            f"batch_size={batch_size} does not divide over {width} devices: give a multiple of that"
        )
    source = grain.MapDataset.source(np.arange(len(indices))).seed(seed).shuffle().repeat()
    order = source.batch(size)

    if isinstance(images, np.ndarray):
        on_devices = sharding.replicate(mesh, (images[indices], photographs.labels))

        def chosen_on_devices(step: int) -> tuple[jax.Array, jax.Array]:
            return _choose(*on_devices, sharding.spread(mesh, np.asarray(order[step])))

        return chosen_on_devices

    share = size // jax.process_count()
    own = order.map(lambda rows: rows[jax.process_index() * share :][:share])

    def chosen(step: int) -> tuple[jax.Array, jax.Array]:
        rows = np.asarray(own[step])
        read = (images[indices[rows]], photographs.labels[rows])
        return sharding.spread_parts(mesh, read)

    return chosen


@jax.jit
def _choose(images: jax.Array, labels: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Picks a batch from photographs on the devices."""
    return images[rows], labels[rows]


@jax.jit
def _measure(params: Any, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the losses `[n]` and whether each photograph is recognized `[n]`."""
    logits = recognizer.logits(params, images)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses, jnp.argmax(logits, -1) == labels


def measure(params: Any, photographs: Photographs, batch_size: int = 256) -> tuple[float, float]:
    """Measures a recognizer on photographs.

    Args:
      params: Its weights.
      photographs: Which photographs, and their classes.
      batch_size: How many to read at once.

    Returns:
      The mean cross-entropy, and the fraction recognized, in [0, 1].
    """
    losses, hits = [], []
    for first in range(0, len(photographs.indices), batch_size):
        part = slice(first, first + batch_size)
        images = jnp.asarray(photographs.images[photographs.indices[part]])
        loss, hit = _measure(params, images, jnp.asarray(photographs.labels[part]))
        losses.append(np.asarray(loss))
        hits.append(np.asarray(hit))
    return float(np.concatenate(losses).mean()), float(np.concatenate(hits).mean())


def finished(state: State, settings: Settings) -> bool:
    """Tells whether training has nothing left to do: patience or steps used up.

    Args:
      state: Where training is.
      settings: How to train.

    Returns:
      True at the end.
    """
    stale = int(state.step) - int(state.best_step) >= settings.patience
    return int(state.step) >= settings.max_steps or (float(state.best_accuracy) >= 0 and stale)


def _in_place_of(old: jax.Array, value: float) -> jax.Array:
    """Puts a number where another was, or `train_step` would be compiled anew."""
    return jax.device_put(np.asarray(value, old.dtype), old.sharding)


def rounds(
    state: State,
    batch: Callable[[int], tuple[jax.Array, jax.Array]],
    held_out: Photographs,
    key: jax.Array,
    settings: Settings,
    mesh: jax.sharding.Mesh,
) -> Iterator[tuple[State, Metrics]]:
    """Trains until `finished`, a round at a time.

    Args:
      state: Where to begin: from `start`, or as an earlier run left it after a round; on the mesh
        by `sharding.place_training`.
      batch: From `batches`.
      held_out: The photographs that measure.
      key: A typed `jax.random.key`: of the random views.
      settings: How to train.
      mesh: The devices.

    Yields:
      After each round, the state and what the held-out photographs showed.
    """
    while not finished(state, settings):
        last = min(int(state.step) + settings.evaluate_every, settings.max_steps)
        losses = []
        state = jax.tree.map(jnp.copy, state)  # The caller's buffers are not used up.
        for step in range(int(state.step), last):
            state, loss = train_step(state, *batch(step), key, settings, mesh)
            losses.append(loss)
        held_out_loss, accuracy = measure(sharding.gather(mesh, state.params), held_out)
        best = (float(state.best_accuracy), -float(state.best_loss))
        # The state keeps float32: unrounded, an equal accuracy could look higher or lower.
        if (float(np.float32(accuracy)), -held_out_loss) > best:
            state = state._replace(
                best_params=state.params,
                best_accuracy=_in_place_of(state.best_accuracy, accuracy),
                best_loss=_in_place_of(state.best_loss, held_out_loss),
                best_step=state.step,
            )
        yield state, Metrics(last, float(jnp.stack(losses).mean()), held_out_loss, accuracy)
