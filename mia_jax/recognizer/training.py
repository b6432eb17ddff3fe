"""Training of a recognizer: cross-entropy on random views, for as long as that helps.

The second step of the recognizer's part of the story: from the photographs that `faces.protocol`
gives a recognizer to the weights that are attacked, or that judge. The learning rate is constant
until the validation photographs show no progress, and then falls to zero.
"""

import dataclasses
import functools
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, SupportsFloat, SupportsInt

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.recognizer import network
from mia_jax.recognizer.photographs import Batches, Photographs
from mia_jax.recognizer.views import ViewRange, random_view
from mia_jax.runtime import sharding

AUGMENTATION = ViewRange(
    rotation=15,
    scale=0.15,
    shift=0.1,
    flip=0.5,
    shear=0.1,
    brightness=0.1,
    contrast=0.4,
    light=0.3,
)
_ADAM = optax.scale_by_adam()
_PROGRESS = 0.01  # How far a record of the loss must be below the one before.


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train; an epoch shows each photograph once.

    Attributes:
      learning_rate: Adam's, before the cool-down.
      batch_size: Photographs in one step.
      dropout: Probability with which training leaves out a unit of L5 or L6, in [0, 1).
      max_epochs: Most epochs, those of the cool-down included.
      evaluate_every: Epochs from one look at the validation photographs to the next.
      patience: Epochs without progress on them after which the cool-down begins.
      cooldown: Epochs in which the learning rate falls, look by look, on the way to zero.
      augmentation: Limits of the random views that training shows.
    """

    learning_rate: float = 1e-3
    batch_size: int = 32
    dropout: float = 0.3
    max_epochs: int = 300
    evaluate_every: int = 10
    patience: int = 50
    cooldown: int = 40
    augmentation: ViewRange = AUGMENTATION

    @property
    def cooldown_rounds(self) -> int:
        """How many rounds, from look to look, the cool-down takes."""
        return self.cooldown // self.evaluate_every


class State(NamedTuple):
    """Training on its way; all that a resumed run needs.

    Attributes:
      step: Steps taken.
      params: The weights.
      optimizer: Adam's moments.
      best_accuracy: Highest validation accuracy; -1 before the first look.
      best_loss: Least validation cross-entropy.
      progress_step: Steps taken when either of them was last beaten.
      cooling: 0 before the cool-down, then the number of its round, from 1.
    """

    step: SupportsInt
    params: Any
    optimizer: optax.OptState
    best_accuracy: SupportsFloat
    best_loss: SupportsFloat
    progress_step: SupportsInt
    cooling: SupportsInt


class Metrics(NamedTuple):
    """What one look at the validation photographs showed.

    Attributes:
      step: Steps taken.
      training_loss: Mean cross-entropy over the steps since the last look, on random views and with
        dropout.
      validation_loss: Mean cross-entropy over the validation photographs.
      validation_accuracy: Fraction of them recognized, in [0, 1].
    """

    step: int
    training_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclasses.dataclass(frozen=True)
class RecognizerFacts:
    """What a trained recognizer is.

    Attributes:
      role: "target", or the name of an evaluator.
      classes: How many people it tells apart.
      image_shape: Height, width and channels of its images.
      epochs: How long it trained.
      training_photographs: How many photographs trained it.
      validation_photographs: How many chose when to stop.
      test_photographs: How many did neither, and were measured once, at the end.
      validation_accuracy: Fraction recognized, in [0, 1].
      test_accuracy: The same of the test photographs.
      test_accuracy_interval: Its 95% interval.
      settings: How it was trained.
      digest: Of its weights, `checkpoints.digest`.
    """

    role: str
    classes: int
    image_shape: tuple[int, ...]
    epochs: int
    training_photographs: int
    validation_photographs: int
    test_photographs: int
    validation_accuracy: float
    test_accuracy: float
    test_accuracy_interval: tuple[float, float]
    settings: Settings
    digest: str


def keys(seed: int, role: str) -> tuple[jax.Array, jax.Array]:
    """Derives a recognizer's randomness from its name, whatever other recognizers there are.

    Args:
      seed: The experiment's.
      role: "target", or the name of an evaluator.

    Returns:
      Typed keys: of its first weights, for `start`, and of what training draws, for `rounds`.
    """
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(role.encode()))
    first, drawn = jax.random.split(key)
    return first, drawn


def start(key: jax.Array, classes: int, image_shape: Sequence[int]) -> State:
    """Begins a training.

    Args:
      key: A typed `jax.random.key`, consumed: the initial weights.
      classes: Number of registered identities.
      image_shape: Height, width and channels of the photographs.

    Returns:
      The state before the first step.
    """
    params = network.init(key, classes, image_shape)
    return State(
        step=np.int32(0),
        params=params,
        optimizer=_ADAM.init(params),
        best_accuracy=np.float32(-1),
        best_loss=np.float32(np.inf),
        progress_step=np.int32(0),
        cooling=np.int32(0),
    )


def learning_rate(state: State, settings: Settings) -> float:
    """Returns the learning rate of the next round: constant, then falling evenly to zero."""
    return settings.learning_rate * (1 - int(state.cooling) / (settings.cooldown_rounds + 1))


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
      state: Where training is, on the mesh by `placement.split_units`; the buffers of its weights
        and moments are used up.
      images: `[batch, height, width, channels]` in [0, 1].
      labels: `[batch]` integers.
      key: A typed `jax.random.key`; the step folds in its own number.
      settings: How to train.
      mesh: The devices.

    Returns:
      The next state, and the mean cross-entropy before the step.
    """
    step = np.int32(int(state.step))
    views = _draw_views(key, step, images, settings.augmentation, mesh)
    loss, gradient = _differentiate(state.params, views, labels, key, step, settings.dropout, mesh)
    rate = np.float32(learning_rate(state, settings))
    params, optimizer = _update(state.params, state.optimizer, gradient, rate)
    return state._replace(step=np.int32(step + 1), params=params, optimizer=optimizer), loss


@functools.partial(jax.jit, static_argnames=("limits", "mesh"))
def _draw_views(
    key: jax.Array,
    step: np.int32,
    images: jax.Array,
    limits: ViewRange,
    mesh: jax.sharding.Mesh,
) -> jax.Array:
    """Returns a random view of each image, where the image is."""
    view_key, _ = jax.random.split(jax.random.fold_in(key, step))
    view = functools.partial(random_view, limits=limits)
    draw = lambda _, *batch: jax.vmap(view)(*batch)  # noqa: E731
    keys = jax.random.split(view_key, images.shape[0])
    return sharding.divide_batch(mesh, draw)((), keys, images)


@functools.partial(jax.jit, static_argnames=("dropout", "mesh"))
def _differentiate(
    params: Any,
    views: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    step: np.int32,
    dropout: float,
    mesh: jax.sharding.Mesh,
) -> tuple[jax.Array, Any]:
    """Returns the mean cross-entropy and its gradient with respect to the weights."""
    factors = None
    if dropout:
        _, dropout_key = jax.random.split(jax.random.fold_in(key, step))
        kept = jax.random.bernoulli(dropout_key, 1 - dropout, (2, len(views), network.UNITS))
        factors = kept / (1 - dropout)

    def loss(params: Any) -> jax.Array:
        kernels = {layer: params[layer] for layer in network.CONVOLUTIONS}
        divided = sharding.divide_batch(mesh, network.convolve)(kernels, views)
        logits, _ = network.classify(params, sharding.replicate(mesh, divided), factors)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return jax.value_and_grad(loss)(params)


@functools.partial(jax.jit, donate_argnames=("params", "optimizer"))
def _update(
    params: Any, optimizer: optax.OptState, gradient: Any, rate: np.float32
) -> tuple[Any, optax.OptState]:
    """Takes one step of Adam, in the buffers of the weights and moments."""
    direction, optimizer = _ADAM.update(gradient, optimizer)
    params = jax.tree.map(lambda weight, change: weight - rate * change, params, direction)
    return params, optimizer


@jax.jit
def _measure(params: Any, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the losses `[n]` and whether each photograph is recognized `[n]`."""
    logits = network.logits(params, images)
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
    """Tells whether the cool-down is over.

    Args:
      state: Where training is.
      settings: How to train.

    Returns:
      True at the end.
    """
    return int(state.cooling) > settings.cooldown_rounds


def _look(state: State, loss: float, accuracy: float, epoch: int, settings: Settings) -> State:
    """Learns from the validation photographs whether training still helps.

    A new record of either the loss or the accuracy is progress. The accuracy alone says
    little with as few as one photograph a person, and the loss alone rises while recognizers become
    more certain of what they get right and wrong. And nothing but the time to stop depends on them:
    the weights after the cool-down recognized as many test photographs as, or more than, those of
    the best look, which so few photographs pick too early.
    """
    # The state keeps float32: unrounded, an equal value could look like progress.
    loss, accuracy = float(np.float32(loss)), float(np.float32(accuracy))
    least, most = float(state.best_loss), float(state.best_accuracy)
    if loss < least - _PROGRESS or accuracy > most:
        state = state._replace(
            best_loss=np.float32(loss if loss < least else least),
            best_accuracy=np.float32(max(accuracy, most)),
            progress_step=state.step,
        )
    stale = int(state.step) - int(state.progress_step) >= settings.patience * epoch
    late = int(state.step) >= (settings.max_epochs - settings.cooldown) * epoch
    if int(state.cooling) or stale or late:
        state = state._replace(cooling=np.int32(int(state.cooling) + 1))
    return state


def rounds(
    state: State,
    batches: Batches,
    validation: Photographs,
    key: jax.Array,
    settings: Settings,
    mesh: jax.sharding.Mesh,
) -> Iterator[tuple[State, Metrics]]:
    """Trains until `finished`, a round at a time.

    Args:
      state: Where to begin: from `start`, or as an earlier run left it after a round; on the mesh
        by `placement.split_units`.
      batches: From `batches`.
      validation: The photographs that tell when to stop.
      key: A typed `jax.random.key`: of the random views and of dropout.
      settings: How to train.
      mesh: The devices.

    Yields:
      After each round, the state and what the validation photographs showed.
    """
    while not finished(state, settings):
        first = int(state.step)
        last = first + settings.evaluate_every * batches.epoch
        losses: list[jax.Array] = []
        state = jax.tree.map(jnp.copy, state)  # The caller's buffers are not used up.
        for step in range(first, last):
            state, loss = train_step(state, *batches.read(step), key, settings, mesh)
            # With many steps under way, XLA's collectives on a busy CPU wait for each other for
            # ever: 4 of 8 trainings of 2,000 steps ended so. Waiting takes no measurable time.
            losses.append(jax.block_until_ready(loss))
        shown = measure(sharding.gather(mesh, state.params), validation)
        state = _look(state, *shown, batches.epoch, settings)
        yield state, Metrics(last, float(jnp.stack(losses).mean()), *shown)
