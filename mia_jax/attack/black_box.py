"""The attack without the model: a search that may only ask what the model says of images.

The second of the two loops, and the last. `inversion.invert` is compiled and needs gradients; this
one is Python that asks and tells. The model is any callable from images to confidences. Space,
objective and cases are those of `invert`; what stands in the place of gradient and optimizer is a
strategy, one of `strategies`.
"""

from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.attack import findings, rounds
from mia_jax.attack.cases import Case
from mia_jax.attack.check import from_confidences
from mia_jax.attack.findings import Findings, Looks
from mia_jax.attack.inversion import Attack, Clones, StoppingRule, check_cases, check_targets
from mia_jax.attack.objectives import Objective
from mia_jax.attack.oracle import Budget, Oracle, Predict, Unanswered
from mia_jax.attack.strategies.strategy import Strategy, Told
from mia_jax.runtime.errors import UserError


def answered(confidences: jax.Array, images: jax.Array) -> jax.Array:
    """Stands in for the `apply_fn` of a recipe whose attack is for `search`.

    The search puts what the model answered in the place of the weights. A loss of logits is then
    given log-confidences, whose differences are exactly those of the logits.

    Args:
      confidences: `[n, classes]`, the answer.
      images: `[n, height, width, channels]`, what was shown; not looked at.

    Returns:
      `[n, classes]`: the logarithms.
    """
    return from_confidences(lambda confidences, images: confidences)(confidences, images)


class Searched(NamedTuple):
    """What a search found, and what it cost.

    Attributes:
      clones: As from `invert`, with rounds for updates. `best` is the candidate of least loss that
        the model saw, `last` where the strategy stands in the end. `loss_trace` has the least loss
        of each round's candidates; `iterations_to_90` is 0 for the start, then the round's number
        from 1. Where the search was stopped, `last` was not seen and its loss is NaN.
      asked: `[restarts]` integers: how many candidates of each the model answered for.
      queries: Images that were shown to the model in all, those of calls that failed included.
    """

    clones: Clones
    asked: jax.Array
    queries: int


class StoppedSearch(Unanswered):
    """A search that the model's answers ended: one sentence, and all that was found so far.

    Attributes:
      found: The clones of all restarts as far as they came, whole and usable.
    """

    def __init__(self, message: str, found: Searched) -> None:
        """Keep what was found."""
        super().__init__(message)
        self.found = found


def search(
    predict: Predict, cases: Case, attack: Attack, strategy: Strategy, budget: Budget
) -> Searched:
    """Looks for what a model takes for the targeted people, by asking it.

    All restarts share the calls. First the faces are shown by which the objective measures the
    model, if it does and `objectives.measured` has not done so; then the starts, of which a restart
    takes the best of `attack.draws`; then for at most `attack.iterations` rounds its candidates;
    and in the end where it stands. A round that the budget does not hold is not begun.

    Of the attack, the optimizer, the gradient and the filter are left out: the strategy has its own
    way. The objective is shown what the model answered in the place of the weights, the image as it
    is, and no key: a recipe makes it of `answered`.

    Args:
      predict: `images [n, height, width, channels] float32 in [0, 1] -> confidences [n, classes]`.
      cases: `[restarts, ...]` each; from `cases.make_cases`.
      attack: Where to search, what to descend, and when a restart is finished.
      strategy: From `strategies`.
      budget: How often the model may be asked, and how.

    Returns:
      The clones, and the queries that they took.

    Raises:
      StoppedSearch: If the model raises, takes too long or answers no probabilities; with what was
        found so far.
      UserError: If the cases are not of one length, aim at a class that the model does not have or
        know pixels of another shape than the image; if the objective cannot be told confidences; or
        if the budget does not hold one round.

    Example:
      attack = recipes.best(black_box.answered, auxiliary)
      strategy = leading(differences.central(optax.adam(0.1)), 60)
      cases = make_cases(jax.random.key(0), 3, jnp.arange(2))
      found = search(predict, cases, attack, strategy, Budget(queries=20_000))

    Source: log-confidences as logits, Tramer et al. 2016; each strategy has its own.
    """
    _check(cases, attack)
    starts = np.asarray(rounds.draw(cases, attack.space, attack.draws))
    _check_budget(budget, starts, cases, attack, strategy)
    oracle, known = Oracle(predict, budget), findings.of_starts(starts[:, 0], attack.iterations)
    try:
        _walk(oracle, known, starts, cases, attack, strategy)
    except Unanswered as error:
        raise StoppedSearch(str(error), _searched(oracle, known, cases, attack)) from error
    return _searched(oracle, known, cases, attack)


def _searched(oracle: Oracle, known: Findings, cases: Case, attack: Attack) -> Searched:
    """Returns what is known."""
    clones = findings.clones(known, cases, attack.space)
    return Searched(clones, jnp.asarray(known.asked), oracle.queries)


def _walk(
    oracle: Oracle,
    known: Findings,
    starts: np.ndarray,
    cases: Case,
    attack: Attack,
    strategy: Strategy,
) -> None:
    """Asks and tells until the rounds, the budget or the wishes of all restarts are at an end."""
    unit = _measure(oracle, attack.objective)
    findings.look(oracle, known, cases, attack, unit, starts, np.ones(starts.shape[:2], bool))
    check_targets(cases.target, oracle.classes or 0)
    known.start, known.last = known.best.copy(), known.best.copy()
    states = rounds.begin(cases, strategy, jnp.asarray(known.start))
    restarts = len(starts)
    active, stale = np.ones(restarts, bool), np.zeros(restarts, int)
    for number in range(attack.iterations):
        candidates, asking = rounds.ask(cases, attack.space, strategy, states, jnp.asarray(number))
        points, wanted = np.asarray(candidates.points), np.array(candidates.wanted)
        wanted &= active[:, None]
        active &= wanted.any(1)
        # One query of each restart is kept for where it stands in the end.
        if not active.any() or wanted.sum() + restarts > oracle.left:
            break
        before = known.best_loss.copy()
        known.rounds += active
        looks = findings.look(oracle, known, cases, attack, unit, points, wanted)
        told = Told(candidates.points, *map(jnp.asarray, (wanted, looks.loss, looks.leads)))
        states, last = rounds.tell(
            cases, attack.space, strategy, (states, asking), told, jnp.asarray(active)
        )
        known.last = np.asarray(last)
        known.trace[active, number] = looks.loss.min(1)[active]
        stale = np.where(known.best_loss < before, 0, stale + 1)
        if attack.stop is not None:
            active &= ~_finished(attack.stop, looks, known.trace[:, : number + 1], stale)
    if restarts <= oracle.left:
        everyone = np.ones((restarts, 1), bool)
        looks = findings.look(oracle, known, cases, attack, unit, known.last[:, None], everyone)
        known.last_loss, known.last_score = looks.loss[:, 0], looks.score[:, 0]


def _measure(oracle: Oracle, objective: Objective) -> Any:
    """Asks about the faces by which the objective measures the model, where there are some."""
    faces = objective.faces
    answers = None if faces is None else jnp.asarray(oracle.ask(np.asarray(faces)))
    return objective.measure(answers)


def _finished(stop: StoppingRule, looks: Looks, trace: np.ndarray, stale: np.ndarray) -> np.ndarray:
    """Says which restarts, `[restarts]`, meet a limit after the last round of the trace."""
    finished = np.zeros(len(stale), bool)
    if stop.score is not None:
        finished |= looks.score.max(1) >= stop.score
    if stop.patience is not None:
        finished |= stale >= stop.patience
    if stop.window is not None and trace.shape[1] > stop.window:
        finished |= trace[:, -1] >= trace[:, -1 - stop.window : -1].max(1)
    return finished


def _check(cases: Case, attack: Attack) -> None:
    """Checks what can be known before anything is asked."""
    _, image = check_cases(cases, attack)
    one = jax.tree.map(lambda array: array[0], cases)
    answer = jax.ShapeDtypeStruct((1, max(int(cases.target.max()) + 1, 2)), jnp.float32)
    objective = attack.objective
    try:
        unit = equinox.filter_eval_shape(objective.measure, answer)
        equinox.filter_eval_shape(objective.look, answer, unit, image, one, None)
    except Exception as error:
        raise UserError(
            "the attack's objective cannot be told confidences: make its recipe of "
            f"black_box.answered instead of a model ({type(error).__name__} in it)"
        ) from error


def _check_budget(
    budget: Budget, starts: np.ndarray, cases: Case, attack: Attack, strategy: Strategy
) -> None:
    """Refuses a budget that holds no round."""
    restarts, draws = starts.shape[:2]
    states = rounds.begin(cases, strategy, jnp.asarray(starts[:, 0]))
    round_ = int(rounds.ask(cases, attack.space, strategy, states, jnp.asarray(0))[0].wanted.sum())
    measuring = 0 if attack.objective.faces is None else len(attack.objective.faces)
    needed = measuring + restarts * draws + round_ + restarts
    if needed > budget.queries:
        raise UserError(
            f"queries={budget.queries} hold no round: {restarts} restarts take {needed} for what "
            f"the objective measures ({measuring}), their starts, a round of {round_} and their "
            "ends; give more, or fewer restarts"
        )
