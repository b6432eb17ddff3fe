"""The attack: descent from a seed to the image that a model takes for the targeted person.

The loss of one restart is differentiated with respect to a point of the search space (`jax.grad`),
the restarts run side by side (`jax.vmap`), and the iterations are one `lax.scan` under `jit`, or
one `lax.while_loop` where a rule may stop them. Everything else is a value that is passed in as an
`Attack`: the space, the objective, the optimizer, the gradient, the filter.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.attack import filters, gradients
from mia_jax.attack.cases import Case
from mia_jax.attack.objectives import Objective, clip_pixels
from mia_jax.attack.spaces import Point, Space
from mia_jax.runtime.errors import UserError

SCORES_OF_INTEREST = (0.9, 0.99)


@dataclasses.dataclass(frozen=True)
class StoppingRule:
    """When a restart is finished before its last iteration: as soon as any limit is met.

    The iteration that meets a limit is completed, so each gradient that was paid for is used.

    Attributes:
      score: In (0, 1]: the target's confidence, averaged over an iteration's views, that is enough.
      patience: At least 1: how many iterations in a row may fail to lower the least loss.
      window: At least 1: a loss no lower than each of so many before it is enough.
    """

    score: float | None = None
    patience: int | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        """Check the limits."""
        if self.score is None and self.patience is None and self.window is None:
            raise UserError(
                "a stopping rule needs a score, a patience or a window, but all are None"
            )
        if self.score is not None and not 0 < self.score <= 1:
            raise UserError(f"score must be above 0 and at most 1, but is {self.score}")
        if self.patience is not None and not self.patience >= 1:
            raise UserError(f"patience must be at least 1 iteration, but is {self.patience}")
        if self.window is not None and not self.window >= 1:
            raise UserError(f"window must be at least 1 iteration, but is {self.window}")


class Attack(NamedTuple):
    """All that `invert` needs besides the model and the cases: what a recipe returns.

    A pytree: arrays in it pass through `jit` as arguments, functions are static. Change a part with
    `attack._replace(optimizer=optax.lbfgs())`.

    Attributes:
      space: Where to search.
      objective: What to descend.
      optimizer: Any optax transformation, also one whose update takes `value`, `grad` and
        `value_fn`; plain `optax.sgd(alpha)` is equation 7.
      iterations: Number of updates, from 1; the most where `stop` is given.
      gradient: How the gradient is found.
      filter: What is done to a point after each update and projection.
      stop: When a restart is finished early; None takes every iteration, as the paper does.
      draws: A restart starts from that of so many draws of the space whose image has the least
        objective, shown as it is; 1 takes what is drawn. For spaces whose every draw is a face.
    """

    space: Space
    objective: Objective
    optimizer: optax.GradientTransformation
    iterations: int
    gradient: gradients.GradientFn = gradients.exact
    filter: filters.Filter = filters.none
    stop: StoppingRule | None = None
    draws: int = 1


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
      seeds: `[restarts, height, width, channels]` in [0, 1]: the images at the start; of a space
        that knows something of the target, where it would start if it knew nothing.
      loss_trace: `[restarts, attack.iterations]`: the loss before each update, under that
        iteration's random views; NaN for the updates that a stopping rule spared.
      iterations: `[restarts]` integers: updates taken, all of `attack.iterations` without a
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

    point: Point
    optimizer: optax.OptState
    best: Point
    best_loss: jax.Array
    reached: jax.Array


class _Progress(NamedTuple):
    """One restart on its way to where a stopping rule ends it."""

    state: _State
    trace: jax.Array
    iterations: jax.Array
    stale: jax.Array
    finished: jax.Array


def invert(params: Any, cases: Case, attack: Attack) -> Clones:
    """Rebuilds what a model knows of the targeted people, from many starting points at once.

    Each restart is independent of the others: its result depends on its own case only. Restarts of
    several people may stand in one call. The call is compiled, once for each attack and shape.

    A restart that `attack.stop` finishes stays as it is while the others go on; the call returns,
    and time is saved, when all are finished.

    Args:
      params: The model's weights, or whatever `attack.objective.look` takes first.
      cases: `[restarts, ...]` each; from `cases.make_cases`.
      attack: How to attack, such as a recipe's.

    Returns:
      The clones, a field for each kind of result, `[restarts, ...]` each.

    Raises:
      UserError: If the cases do not speak of the same number of restarts, aim at a class that the
        model does not have, or know pixels of another shape than the image; if the objective is
        none; or if the optimizer asks for more than `value`, `grad` and `value_fn`.

    Example:
      attack = recipes.best(apply_fn, auxiliary)
      clones = invert(params, make_cases(jax.random.key(0), 3, jnp.arange(100)), attack)

    Source: equations 6 to 10.
    """
    _check(params, cases, attack)
    return _invert(params, cases, attack)


@equinox.filter_jit
def _invert(params: Any, cases: Case, attack: Attack) -> Clones:
    """Runs all restarts."""
    unit = attack.objective.measure(params)
    return jax.vmap(functools.partial(_invert_one, params, unit, attack))(cases)


def diverged(first_loss: np.ndarray, last_loss: np.ndarray) -> bool:
    """Tells whether descents ended higher than they began: their rate is too large.

    Args:
      first_loss: `[restarts]`: the losses before the first update, `loss_trace[:, 0]`.
      last_loss: `[restarts]`: the losses of the last iterates.

    Returns:
      Whether the median of the last is above that of the first; what is not a number is above all.

    Example:
      diverged(clones.loss_trace[:, 0], clones.last_loss)
    """
    first, last = (
        np.median(np.nan_to_num(np.asarray(each, np.float64), nan=np.inf, posinf=np.inf))
        for each in (first_loss, last_loss)
    )
    return bool(last > first)


def _invert_one(params: Any, unit: Any, attack: Attack, case: Case) -> Clones:
    """Runs one restart."""
    space = attack.space
    start_key, descent_key = jax.random.split(case.key)

    def image_of(point: Point) -> jax.Array:
        return case.complete(space.decode(point))

    def loss_of(point: Point, key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Returns the loss of a point and the model's confidences."""
        image = image_of(point)
        loss, confidences = attack.objective.look(params, unit, image, case, key)
        return loss + space.penalty(point, image), confidences

    thresholds = jnp.array(SCORES_OF_INTEREST)
    optimizer = optax.with_extra_args_support(attack.optimizer)

    def update(state: _State, iteration: jax.Array) -> tuple[_State, jax.Array, jax.Array]:
        key = jax.random.fold_in(descent_key, iteration)
        (loss, confidences), gradient = attack.gradient(loss_of, state.point, key)
        better = loss < state.best_loss
        score = confidences[case.target]
        first = (state.reached < 0) & (score >= thresholds)
        step, memory = optimizer.update(
            gradient,
            state.optimizer,
            state.point,
            value=loss,
            grad=gradient,
            value_fn=lambda point: loss_of(point, key)[0],
        )
        point = space.project(optax.apply_updates(state.point, step))
        state = _State(
            point=attack.filter(point, filters.Step(iteration + 1, attack.iterations)),
            optimizer=memory,
            best=_choose(better, state.point, state.best),
            best_loss=jnp.where(better, loss, state.best_loss),
            reached=jnp.where(first, iteration, state.reached),
        )
        return state, loss, score

    start = space.project(_start(params, unit, attack, case, start_key))
    state = _State(
        point=start,
        optimizer=optimizer.init(start),
        best=start,
        best_loss=jnp.array(jnp.inf),
        reached=jnp.full(len(SCORES_OF_INTEREST), -1),
    )
    state, trace, iterations = _descend(update, state, attack)

    (best_loss, best_confidences), (last_loss, last_confidences) = (
        loss_of(point, None) for point in (state.best, state.point)
    )
    best_score, last_score = best_confidences[case.target], last_confidences[case.target]
    seed = start
    if space.aimed is not None and case.start is None:
        seed = space.project(space.start(start_key))
    best, last, first = (clip_pixels(image_of(p)) for p in (state.best, state.point, seed))
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


def _start(params: Any, unit: Any, attack: Attack, case: Case, key: jax.Array) -> Point:
    """Returns the case's own starting point, or the best that the space draws."""
    if case.start is not None:
        return case.start
    if attack.draws == 1:
        return attack.space.first(key, case.target)

    def look(best: tuple[jax.Array, Point], key: jax.Array) -> tuple[tuple[jax.Array, Point], None]:
        point = attack.space.first(key, case.target)
        image = case.complete(attack.space.decode(attack.space.project(point)))
        loss, _ = attack.objective.look(params, unit, image, case, None)
        better = loss < best[0]
        return (jnp.where(better, loss, best[0]), _choose(better, point, best[1])), None

    keys = jax.random.split(key, attack.draws)
    first = attack.space.first(keys[0], case.target)
    (_, point), _ = jax.lax.scan(look, (jnp.array(jnp.inf), first), keys)
    return point


def _choose(condition: jax.Array, one: Point, other: Point) -> Point:
    """Returns one of two points."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _descend(
    update: Callable[[_State, jax.Array], tuple[_State, jax.Array, jax.Array]],
    state: _State,
    attack: Attack,
) -> tuple[_State, jax.Array, jax.Array]:
    """Repeats the update: returns the last state, the losses, and how many updates there were."""
    stop = attack.stop
    if stop is None:

        def step(state: _State, iteration: jax.Array) -> tuple[_State, jax.Array]:
            state, loss, _ = update(state, iteration)
            return state, loss

        state, trace = jax.lax.scan(step, state, jnp.arange(attack.iterations))
        return state, trace, jnp.array(attack.iterations)

    def goes_on(progress: _Progress) -> jax.Array:
        return (progress.iterations < attack.iterations) & ~progress.finished

    def advance(progress: _Progress) -> _Progress:
        state, loss, score = update(progress.state, progress.iterations)
        stale = jnp.where(loss < progress.state.best_loss, 0, progress.stale + 1)
        finished = jnp.array(False)
        if stop.score is not None:
            finished |= score >= stop.score
        if stop.patience is not None:
            finished |= stale >= stop.patience
        if stop.window is not None:
            before = progress.iterations - entries  # How many iterations ago; now, 0.
            recent = (before > 0) & (before <= stop.window)
            worst = jnp.max(jnp.where(recent, progress.trace, -jnp.inf))
            finished |= (progress.iterations >= stop.window) & (loss >= worst)
        return _Progress(
            state=state,
            trace=jnp.where(entries == progress.iterations, loss, progress.trace),
            iterations=progress.iterations + 1,
            stale=stale,
            finished=finished,
        )

    entries = jnp.arange(attack.iterations)
    # Under `vmap` the loop goes on until every restart is finished, and holds the finished still.
    progress = _Progress(
        state=state,
        trace=jnp.full(attack.iterations, jnp.nan),
        iterations=jnp.array(0),
        stale=jnp.array(0),
        finished=jnp.array(False),
    )
    progress = jax.lax.while_loop(goes_on, advance, progress)
    return progress.state, progress.trace, progress.iterations


def _check(params: Any, cases: Case, attack: Attack) -> None:
    """Checks what can be known before anything is compiled."""
    drawn, image = check_cases(cases, attack)
    _check_optimizer(attack.optimizer, drawn)
    target = cases.target
    if isinstance(target, jax.core.Tracer):
        return
    one = jax.tree.map(lambda array: array[0], cases)
    objective = attack.objective
    if not isinstance(objective, Objective):
        raise UserError(
            f"attack.objective is a {type(objective).__name__}: make it an "
            "objectives.Objective(look)"
        )
    unit = equinox.filter_eval_shape(objective.measure, params)
    _, confidences = equinox.filter_eval_shape(objective.look, params, unit, image, one, None)
    check_targets(target, confidences.shape[0])


def check_cases(cases: Case, attack: Attack) -> tuple[Point, jax.ShapeDtypeStruct]:
    """Refuses cases that do not fit each other or the attack's space.

    Args:
      cases: `[restarts, ...]` each.
      attack: Where they are to search, and from how many draws.

    Returns:
      The shapes of one restart's point and image.

    Raises:
      UserError: If the cases do not speak of the same number of restarts, or know pixels of another
        shape than the image; or if there is no draw.
    """
    if attack.draws < 1:
        raise UserError(f"attack.draws={attack.draws} starts nowhere: give 1 or more")
    target, key, known, mask, start = cases
    if jnp.ndim(target) != 1 or not jnp.issubdtype(jnp.result_type(target), jnp.integer):
        raise UserError(
            f"cases.target must be [restarts] integers, but is {jnp.result_type(target)} of shape "
            f"{jnp.shape(target)}: make_cases lists the restarts of one person"
        )
    if key.shape != target.shape:
        raise UserError(
            f"cases.target and cases.key must be of one length, the number of restarts, but are "
            f"{target.shape[0]} and {key.shape}"
        )
    if (known is None) != (mask is None):
        raise UserError("cases.known and cases.mask belong together, but one of them is None")
    one = jax.tree.map(lambda array: array[0], cases)
    drawn = one.start
    if start is None:
        drawn = equinox.filter_eval_shape(attack.space.first, one.key, one.target)
    image = equinox.filter_eval_shape(attack.space.decode, drawn)
    for name, array in (("known", one.known), ("mask", one.mask)):
        if array is not None and array.shape not in (image.shape, (*image.shape[:2], 1)):
            raise UserError(
                f"cases.{name} must be [restarts, {', '.join(map(str, image.shape))}], but is "
                f"[restarts, {', '.join(map(str, array.shape))}]"
            )
    return drawn, image


def check_targets(target: jax.Array, classes: int) -> None:
    """Refuses targets that a model does not have.

    Args:
      target: `[restarts]` integers.
      classes: How many classes the model has.

    Raises:
      UserError: If one is not among them.
    """
    wrong = [int(number) for number in np.unique(np.asarray(target)) if not 0 <= number < classes]
    if wrong:
        raise UserError(
            f"target={wrong[0]} is not one of the model's {classes} classes: give 0 to "
            f"{classes - 1}"
        )


def _check_optimizer(optimizer: optax.GradientTransformation, point: Point) -> None:
    """Checks that an optimizer can be given all that it asks for."""
    offered = optax.with_extra_args_support(optimizer)

    def update(point: Point) -> Any:
        value = jnp.zeros(())
        extra = {"value": value, "grad": point, "value_fn": lambda _: value}
        return offered.update(point, offered.init(point), point, **extra)

    try:
        equinox.filter_eval_shape(update, point)
    except (TypeError, ValueError) as error:
        raise UserError(
            "the optimizer cannot be used: besides the gradient and the point, its update may take "
            f"value, grad and value_fn, but it says: {str(error).splitlines()[0]}"
        ) from error
