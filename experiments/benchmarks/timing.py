"""How the benchmark measures time: everything takes its turn, round by round."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from absl import flags, logging

from mia_jax.runtime.errors import UserError

_ROUNDS = flags.DEFINE_integer("rounds", 7, "How often everything takes its turn.", lower_bound=1)
ITERATIONS = flags.DEFINE_integer("iterations", 10, "Iterations in a turn.", lower_bound=1)

Sampler = Callable[[], float]


def milliseconds(run: Callable[[], Any]) -> float:
    """Returns how long a function takes until its results are there."""
    started = time.perf_counter()
    jax.block_until_ready(run())
    return (time.perf_counter() - started) * 1e3


def each(run: Callable[[], Any]) -> Sampler:
    """Returns what measures one of the --iterations that a function does."""
    return lambda: milliseconds(run) / ITERATIONS.value


def take_turns(what: str, samplers: Mapping[str, Sampler]) -> dict[str, list[float]]:
    """Measures everything once in each round, after round 0, which warms up and does not count.

    Args:
      what: For the log.
      samplers: What measures, by name; in milliseconds.

    Returns:
      The milliseconds of each round, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in samplers}
    for number in range(-1, _ROUNDS.value):
        # Every other round backwards, so that nobody always comes after the same one.
        for name in list(samplers)[:: 1 - 2 * (number % 2)]:
            spent = samplers[name]()
            if number >= 0:
                times[name].append(spent)
        logging.info("%s: round %d of %d", what, number + 1, _ROUNDS.value)
    return times


def summary(times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Returns medians and bests."""
    medians = {f"{name}_ms": statistics.median(values) for name, values in times.items()}
    return medians | {f"{name}_best_ms": min(values) for name, values in times.items()}


def ratio(times: Mapping[str, list[float]], one: str, other: str) -> float | None:
    """Returns the median of the ratios within a round, None without the other."""
    if other not in times:
        return None
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def difference(short: Callable[[], Any], long: Callable[[], Any]) -> Sampler:
    """Returns what measures one of the --iterations by which one attack is longer."""
    for run in (short, long):
        jax.block_until_ready(run())  # Compiles.

    def sample() -> float:
        spent = milliseconds(long) - milliseconds(short)
        if spent <= 0:
            raise UserError(
                f"--iterations={ITERATIONS.value} are lost in the noise of this machine: give more"
            )
        return spent / ITERATIONS.value

    return sample
