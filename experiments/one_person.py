"""One person under attack: the loop that a prepared attack needs, or one after the other."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.scenarios import Known, Prepared, Searching
from mia_jax.attack import Clones, invert, make_cases
from mia_jax.attack.black_box import Searched, search
from mia_jax.attack.cases import Case


def cases_of(key: jax.Array, target: jax.Array, numbers: jax.Array, known: Known | None) -> Case:
    """Lists restarts that aim at one person, with what is known of the person.

    Args:
      key: The experiment's.
      target: The class.
      numbers: `[restarts]` integers.
      known: Of everybody's images, or None.

    Returns:
      The cases.
    """
    if known is None:
        return make_cases(key, target, numbers)
    photograph = known.photographs[target]
    cases = make_cases(key, target, numbers, photograph, known.mask)
    if known.start is None:
        return cases
    begin = known.start
    return cases._replace(start=jax.vmap(lambda key: begin(key, photograph))(cases.key))


class Made(NamedTuple):
    """Clones of one person, and what they cost: queries or gradients, of all restarts."""

    clones: Clones
    queries: int
    gradients: int


def attack_one(prepared: Prepared, key: jax.Array, target: int, numbers: jax.Array) -> Made:
    """Attacks one person.

    Args:
      prepared: From `prepare`.
      key: The experiment's.
      target: The class.
      numbers: `[restarts]` integers.

    Returns:
      The clones and their cost.
    """
    cases, queries = cases_of(key, jnp.asarray(target), numbers, prepared.known), 0
    if prepared.searching is not None:
        found = _search(prepared.searching, cases)
        queries = found.queries
        if prepared.how is None:
            return Made(found.clones, queries, 0)
        cases = cases._replace(start=found.clones.images)
    assert prepared.how is not None
    clones = invert(prepared.params, cases, prepared.how)
    return Made(clones, queries, int(clones.iterations.sum()))


def _search(ways: Searching, cases: Case) -> Searched:
    """Searches for as many rounds as the queries suffice for."""
    # No round asks for less than one image of each restart: so many are never reached.
    rounds = max(1, ways.budget.queries // len(cases.target))
    how = ways.how._replace(iterations=min(ways.how.iterations, rounds))
    return search(ways.predict, cases, how, ways.strategy, ways.budget)
