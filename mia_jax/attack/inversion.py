"""The attack: gradient descent on the image that a recognizer takes for the targeted identity.

The loss of one restart is differentiated with respect to the image (`jax.grad`), the restarts run
side by side (`jax.vmap`), and the iterations are one `lax.scan` under `jit`, or one
`lax.while_loop` where a rule may stop them. Everything else is a function that is passed in: the
model, the loss, the optimizer, and the space that is searched.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mia_jax.attack import losses
from mia_jax.recognizer.views import STILL, ViewRange, random_view

ApplyFn = Callable[[Any, jax.Array], jax.Array]
SCORES_OF_INTEREST = (0.9, 0.99)


def _same(point: jax.Array) -> jax.Array:
    """Searches over the pixels themselves."""
    return point


def clip_pixels(image: jax.Array) -> jax.Array:
    """Projects an image onto the image space X of equation 6, [0, 1] for each pixel."""
    return jnp.clip(image, 0, 1)


def _free(point: jax.Array, image: jax.Array) -> jax.Array:
    """Asks nothing of the image but what the loss asks."""
    del point, image
    return jnp.zeros(())


@dataclasses.dataclass(frozen=True)
class StoppingRule:
    """When a restart is finished before its last iteration: as soon as either limit is met.

    The iteration that meets a limit is completed, so each gradient that was paid for is used.

    Attributes:
      score: In (0, 1]: the target's confidence, averaged over an iteration's views, that is enough.
      patience: At least 1: how many iterations in a row may fail to lower the least loss.
    """

    score: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        """Check the limits."""
        if self.score is None and self.patience is None:
            raise ValueError("a stopping rule needs a score or a patience, but both are None")
        if self.score is not None and not 0 < self.score <= 1:
            raise ValueError(f"score must be above 0 and at most 1, but is {self.score}")
        if self.patience is not None and not self.patience >= 1:
            raise ValueError(f"patience must be at least 1 iteration, but is {self.patience}")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to descend; the defaults are the paper's.

    Attributes:
      optimizer: Any optax transformation; plain `optax.sgd(alpha)` is equation 7.
      iterations: Number of updates; the most where `stop` is given.
      loss: `(logits [classes], target) -> scalar`.
      decode: From a point of the search space to an image `[height, width, channels]`.
      project: From a point of the search space to the nearest one allowed, after each update.
      penalty: `(point, image) -> scalar`, added to the loss.
      views: Limits of the random views that each iteration shows the model; all zeros shows the
        image as it is.
      views_per_iteration: How many random views share an iteration, their losses averaged.
      stop: When a restart is finished early; None takes every iteration, as the paper does.
    """

    optimizer: optax.GradientTransformation
    iterations: int
    loss: losses.LossFn = losses.infomax
    decode: Callable[[jax.Array], jax.Array] = _same
    project: Callable[[jax.Array], jax.Array] = clip_pixels
    penalty: Callable[[jax.Array, jax.Array], jax.Array] = _free
    views: ViewRange = STILL
    views_per_iteration: int = 1
    stop: StoppingRule | None = None


class Clones(NamedTuple):
    """What the attack leaves of each restart.

    Attributes:
      images: `[restarts, height, width, channels]` in [0, 1]: the clones that are returned.
      returned_best: `[restarts]` bool: True where the clone is the iterate of least loss on the
        way, False where it is the last. The one returned is whichever has the lower loss when both
        are shown to the model as they are, with no random view.
      best: `[restarts, height, width, channels]`: the iterate of least loss on the way.
      last: `[restarts, height, width, channels]`: the last iterate, equation 10.
      best_loss: `[restarts]`: the loss of `best`, shown as it is.
      last_loss: `[restarts]`: the loss of `last`, shown as it is.
      target_score: `[restarts]`: the model's confidence that the clone is the target, in [0, 1].
      seeds: `[restarts, height, width, channels]` in [0, 1]: the images at the start.
      loss_trace: `[restarts, settings.iterations]`: the loss before each update, under that
        iteration's random views; NaN for the updates that a stopping rule spared.
      iterations: `[restarts]` integers: updates taken, all of `settings.iterations` without a
        stopping rule.
      iterations_to_90: `[restarts]` integers: how many updates had been taken when an iterate's
        confidence first reached 0.9, from 0 for the start to `iterations` for the last iterate; -1
        for never. The last iterate is shown as it is, each before it in its iteration's random
        views.
      iterations_to_99: The same for 0.99.
    """

    images: jax.Array
    returned_best: jax.Array
    best: jax.Array
    last: jax.Array
    best_loss: jax.Array
    last_loss: jax.Array
    target_score: jax.Array
    seeds: jax.Array
    loss_trace: jax.Array
    iterations: jax.Array
    iterations_to_90: jax.Array
    iterations_to_99: jax.Array


class _State(NamedTuple):
    """One restart on its way."""

    point: jax.Array
    optimizer: optax.OptState
    best: jax.Array
    best_loss: jax.Array
    reached: jax.Array


class _Progress(NamedTuple):
    """One restart on its way to where a stopping rule ends it."""

    state: _State
    trace: jax.Array
    iterations: jax.Array
    stale: jax.Array
    finished: jax.Array


def restart_keys(key: jax.Array, identity: int | jax.Array, restarts: jax.Array) -> jax.Array:
    """Derives each restart's own key, which depends on nothing but its identity and number.

    Args:
      key: A typed `jax.random.key`: the experiment's.
      identity: Class index of the targeted identity.
      restarts: `[n]` integers: the numbers of the restarts.

    Returns:
      `[n]` typed keys.
    """
    own = jax.random.fold_in(key, identity)
    return jax.vmap(lambda restart: jax.random.fold_in(own, restart))(restarts)


def invert(
    apply_fn: ApplyFn,
    params: Any,
    seeds: jax.Array,
    targets: jax.Array,
    keys: jax.Array,
    settings: Settings,
) -> Clones:
    """Rebuilds what a model knows of the targeted identities, from many starting points at once.

    Each restart is independent of the others: its result depends on its own seed, target and key
    only. Restarts of several identities may stand in one call. Wrap the call in `jax.jit`.

    A restart that `settings.stop` finishes stays as it is while the others go on; the call returns,
    and time is saved, when all are finished.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`:
        any differentiable model.
      params: Whatever `apply_fn` takes first.
      seeds: `[restarts, ...]`: starting points in the search space, images unless
        `settings.decode` says otherwise.
      targets: `[restarts]`: the targeted classes.
      keys: `[restarts]` typed keys, consumed; see `restart_keys`.
      settings: How to descend.

    Returns:
      The clones, a field for each kind of result, `[restarts, ...]` each.

    Raises:
      ValueError: If the three arrays do not speak of the same number of restarts.

    Source: equations 6 to 10.
    """
    if not seeds.shape[0] == targets.shape[0] == keys.shape[0]:
        raise ValueError(
            f"seeds, targets and keys must be of one length, the number of restarts, but are "
            f"{seeds.shape[0]}, {targets.shape[0]} and {keys.shape[0]}"
        )
    one = functools.partial(_invert_one, apply_fn, params, settings)
    return jax.vmap(one)(seeds, targets, keys)


def _invert_one(
    apply_fn: ApplyFn,
    params: Any,
    settings: Settings,
    seed: jax.Array,
    target: jax.Array,
    key: jax.Array,
) -> Clones:
    """Runs one restart."""

    def shown(point: jax.Array, image: jax.Array, views: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the loss and the target's mean confidence over the given views of an image."""
        logits = apply_fn(params, views)
        loss = jnp.mean(jax.vmap(settings.loss, (0, None))(logits, target))
        score = jnp.mean(jax.nn.softmax(logits)[:, target])
        return loss + settings.penalty(point, image), score

    def as_it_is(point: jax.Array) -> tuple[jax.Array, jax.Array]:
        image = settings.decode(point)
        return shown(point, image, clip_pixels(image)[None])

    def in_views(point: jax.Array, view_key: jax.Array) -> tuple[jax.Array, jax.Array]:
        image = settings.decode(point)
        view = lambda one: random_view(one, image, settings.views)  # noqa: E731
        return shown(point, image, jax.vmap(view)(jax.random.split(view_key, count)))

    # Without random views, several would be one and the same.
    count = settings.views_per_iteration if settings.views != STILL else 1
    thresholds = jnp.array(SCORES_OF_INTEREST)

    def update(state: _State, iteration: jax.Array) -> tuple[_State, jax.Array, jax.Array]:
        (loss, score), gradient = jax.value_and_grad(in_views, has_aux=True)(
            state.point, jax.random.fold_in(key, iteration)
        )
        better = loss < state.best_loss
        first = (state.reached < 0) & (score >= thresholds)
        step, optimizer = settings.optimizer.update(gradient, state.optimizer, state.point)
        state = _State(
            point=settings.project(optax.apply_updates(state.point, step)),
            optimizer=optimizer,
            best=jnp.where(better, state.point, state.best),
            best_loss=jnp.where(better, loss, state.best_loss),
            reached=jnp.where(first, iteration, state.reached),
        )
        return state, loss, score

    start = settings.project(seed)
    state = _State(
        point=start,
        optimizer=settings.optimizer.init(start),
        best=start,
        best_loss=jnp.array(jnp.inf),
        reached=jnp.full(len(SCORES_OF_INTEREST), -1),
    )
    state, trace, iterations = _descend(update, state, settings)

    (best_loss, best_score), (last_loss, last_score) = as_it_is(state.best), as_it_is(state.point)
    best, last, first = (
        clip_pixels(settings.decode(point)) for point in (state.best, state.point, start)
    )
    first_at_last = (state.reached < 0) & (last_score >= thresholds)
    reached = jnp.where(first_at_last, iterations, state.reached)
    returned_best = ~(last_loss <= best_loss)  # Also where the last steps diverged to NaN.
    return Clones(
        images=jnp.where(returned_best, best, last),
        returned_best=returned_best,
        best=best,
        last=last,
        best_loss=best_loss,
        last_loss=last_loss,
        target_score=jnp.where(returned_best, best_score, last_score),
        seeds=first,
        loss_trace=trace,
        iterations=iterations,
        iterations_to_90=reached[0],
        iterations_to_99=reached[1],
    )


def _descend(
    update: Callable[[_State, jax.Array], tuple[_State, jax.Array, jax.Array]],
    state: _State,
    settings: Settings,
) -> tuple[_State, jax.Array, jax.Array]:
    """Repeats the update: returns the last state, the losses, and how many updates there were."""
    stop = settings.stop
    if stop is None:

        def step(state: _State, iteration: jax.Array) -> tuple[_State, jax.Array]:
            state, loss, _ = update(state, iteration)
            return state, loss

        state, trace = jax.lax.scan(step, state, jnp.arange(settings.iterations))
        return state, trace, jnp.array(settings.iterations)

    def goes_on(progress: _Progress) -> jax.Array:
        return (progress.iterations < settings.iterations) & ~progress.finished

    def advance(progress: _Progress) -> _Progress:
        state, loss, score = update(progress.state, progress.iterations)
        stale = jnp.where(loss < progress.state.best_loss, 0, progress.stale + 1)
        finished = jnp.array(False)
        if stop.score is not None:
            finished |= score >= stop.score
        if stop.patience is not None:
            finished |= stale >= stop.patience
        return _Progress(
            state=state,
            trace=jnp.where(entries == progress.iterations, loss, progress.trace),
            iterations=progress.iterations + 1,
            stale=stale,
            finished=finished,
        )

    entries = jnp.arange(settings.iterations)
    # Under `vmap` the loop goes on until every restart is finished, and holds the finished still.
    progress = _Progress(
        state=state,
        trace=jnp.full(settings.iterations, jnp.nan),
        iterations=jnp.array(0),
        stale=jnp.array(0),
        finished=jnp.array(False),
    )
    progress = jax.lax.while_loop(goes_on, advance, progress)
    return progress.state, progress.trace, progress.iterations


def gradient_evaluations(settings: Settings) -> int:
    """Counts how often one restart asks the model for a gradient: its cost in queries.

    With a stopping rule this is the most; each update that was not taken (`Clones.iterations`)
    spares its share.

    Args:
      settings: How to descend.

    Returns:
      The number of images whose gradient is taken in `settings.iterations` updates.
    """
    random = settings.views != STILL
    return settings.iterations * (settings.views_per_iteration if random else 1)
