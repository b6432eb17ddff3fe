"""Training of a recognizer: cross-entropy on random views, for as long as that helps.

The second step of the recognizer's part of the story: from the photographs that `faces.protocol`
gives a recognizer to the weights that are attacked, or that judge. The learning rate is constant:
what is kept is a running mean of the weights, which needs no plan of how long training will take.
It recognized 3 to 4 of 100 test photographs more than the last weights in three trainings on LFW.
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

from mia_jax.recognizer import architectures, network
from mia_jax.recognizer.architectures import ARCHITECTURES, ApplyFn
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
_PROGRESS = 0.01  # How far a record of the loss must be below the one before.


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train; an epoch shows each photograph once.

    Attributes:
      learning_rate: Adam's.
      batch_size: Photographs in one step.
      dropout: Probability with which training leaves out a unit of L5 or L6, or a feature of a
        residual network, in [0, 1).
      averaging: Part of the running mean of the weights that each step leaves, in [0, 1).
      max_epochs: Most epochs.
      evaluate_every: Epochs from one look at the validation photographs to the next.
      patience: Epochs without progress on them after which training ends.
      augmentation: Limits of the random views that training shows.
      architecture: Which network, in `architectures.ARCHITECTURES`.
    """

    learning_rate: float = 1e-3
    batch_size: int = 32
    dropout: float = 0.3
    averaging: float = 0.99
    max_epochs: int = 360
    evaluate_every: int = 10
    patience: int = 100
    augmentation: ViewRange = AUGMENTATION
    architecture: architectures.Name = "cnn"


class State(NamedTuple):
    """Training on its way; all that a resumed run needs.

    Attributes:
      step: Steps taken.
      params: The weights.
      optimizer: Adam's moments.
      average: The running mean of the weights, which is measured, and kept at the end.
      best_accuracy: Highest validation accuracy; -1 before the first look.
      best_loss: Least validation cross-entropy.
      progress_step: Steps taken when either of them was last beaten.
    """

    step: SupportsInt
    params: Any
    optimizer: optax.OptState
    average: Any
    best_accuracy: SupportsFloat
    best_loss: SupportsFloat
    progress_step: SupportsInt


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
      settings: How it was trained; None for one that was trained elsewhere, whose epochs and
        training photographs are not known, and 0.
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
    settings: Settings | None
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


def start(
    key: jax.Array,
    classes: int,
    image_shape: Sequence[int],
    architecture: architectures.Name = "cnn",
) -> State:
    """Begins a training.

    Args:
      key: A typed `jax.random.key`, consumed: the initial weights.
      classes: Number of registered identities.
      image_shape: Height, width and channels of the photographs.
      architecture: Which network, in `architectures.ARCHITECTURES`.

    Returns:
      The state before the first step.
    """
    params = ARCHITECTURES[architecture].init(key, classes, image_shape)
    return State(
        step=np.int32(0),
        params=params,
        optimizer=optax.adam(0.0).init(params),  # Its state does not depend on the rate.
        average=jax.tree.map(jnp.copy, params),  # `train_step` uses up each buffer once.
        best_accuracy=np.float32(-1),
        best_loss=np.float32(np.inf),
        progress_step=np.int32(0),
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
      state: Where training is, on the mesh by `placement.split_units`; its buffers are used up.
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
    loss, gradient = _differentiate(
        *(state.params, views, labels, key, step, settings.dropout, settings.architecture, mesh)
    )
    params, optimizer, average = _update(
        (state.params, state.optimizer, state.average), gradient, settings
    )
    following = state._replace(params=params, optimizer=optimizer, average=average)
    return following._replace(step=np.int32(step + 1)), loss


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


@functools.partial(jax.jit, static_argnames=("dropout", "architecture", "mesh"))
def _differentiate(
    params: Any,
    views: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    step: np.int32,
    dropout: float,
    architecture: architectures.Name,
    mesh: jax.sharding.Mesh,
) -> tuple[jax.Array, Any]:
    """Returns the mean cross-entropy and its gradient with respect to the weights."""
    model, factors = ARCHITECTURES[architecture], None
    if dropout:
        _, dropout_key = jax.random.split(jax.random.fold_in(key, step))
        layers, units = model.dropped
        kept = jax.random.bernoulli(dropout_key, 1 - dropout, (layers, len(views), units))
        factors = kept / (1 - dropout)

    def loss(params: Any) -> jax.Array:
        kernels = {layer: params[layer] for layer in params if layer not in model.dense}
        divided = sharding.divide_batch(mesh, model.convolve)(kernels, views)
        logits, _ = model.classify(params, sharding.replicate(mesh, divided), factors)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return jax.value_and_grad(loss)(params)


@functools.partial(jax.jit, static_argnames="settings", donate_argnames="weights")
def _update(
    weights: tuple[Any, optax.OptState, Any], gradient: Any, settings: Settings
) -> tuple[Any, optax.OptState, Any]:
    """Takes one step of Adam, in the buffers of the weights, the moments and the mean."""
    params, optimizer, average = weights
    update, optimizer = optax.adam(settings.learning_rate).update(gradient, optimizer)
    params = optax.apply_updates(params, update)
    average = optax.incremental_update(params, average, 1 - settings.averaging)
    return params, optimizer, average


@functools.partial(jax.jit, static_argnames="apply_fn")
def _measure(
    apply_fn: ApplyFn, params: Any, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the losses `[n]` and whether each photograph is recognized `[n]`."""
    logits = apply_fn(params, images)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses, jnp.argmax(logits, -1) == labels


def measure(
    params: Any,
    photographs: Photographs,
    batch_size: int = 256,
    apply_fn: ApplyFn = network.logits,
) -> tuple[float, float]:
    """Measures a recognizer on photographs.

    Args:
      params: Its weights.
      photographs: Which photographs, and their classes.
      batch_size: How many to read at once.
      apply_fn: `(params, images [n, height, width, channels]) -> logits [n, classes]`.

    Returns:
      The mean cross-entropy, and the fraction recognized, in [0, 1].
    """
    losses, hits = [], []
    for first in range(0, len(photographs.indices), batch_size):
        part = slice(first, first + batch_size)
        images = jnp.asarray(photographs.images[photographs.indices[part]])
        loss, hit = _measure(apply_fn, params, images, jnp.asarray(photographs.labels[part]))
        losses.append(np.asarray(loss))
        hits.append(np.asarray(hit))
    return float(np.concatenate(losses).mean()), float(np.concatenate(hits).mean())


def finished(state: State, epoch: int, settings: Settings) -> bool:
    """Tells whether training no longer helps, or has used up its epochs.

    Args:
      state: Where training is.
      epoch: Steps in an epoch.
      settings: How to train.

    Returns:
      True at the end.
    """
    step, looked = int(state.step), float(state.best_accuracy) >= 0
    stale = step - int(state.progress_step) >= settings.patience * epoch
    return step >= settings.max_epochs * epoch or (looked and stale)


def _look(state: State, loss: float, accuracy: float) -> State:
    """Learns from the validation photographs whether training still helps.

    A new record of either the loss or the accuracy is progress. The accuracy alone says little with
    as few as one photograph a person, and the loss alone rises while recognizers become more
    certain of what they get right and wrong. Nothing but the time to stop depends on them: so few
    photographs pick a checkpoint by luck, and too early a one. With 46 of them (75 people of LFW at
    64x64 pixels) the last weights recognized 78% of the test photographs, those of least loss 71%,
    those of highest accuracy 73%.
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
    apply_fn = ARCHITECTURES[settings.architecture].logits
    while not finished(state, batches.epoch, settings):
        first = int(state.step)
        last = first + settings.evaluate_every * batches.epoch
        losses: list[jax.Array] = []
        state = jax.tree.map(jnp.copy, state)  # The caller's buffers are not used up.
        for step in range(first, last):
            state, loss = train_step(state, *batches.read(step), key, settings, mesh)
            # With many steps under way, XLA's collectives on a busy CPU may wait for each other for
            # ever: 4 of 7 trainings in a loop like this did. Waiting takes no measurable time.
            losses.append(jax.block_until_ready(loss))
        shown = measure(sharding.gather(mesh, state.average), validation, apply_fn=apply_fn)
        state = _look(state, *shown)
        yield state, Metrics(last, float(jnp.stack(losses).mean()), *shown)
