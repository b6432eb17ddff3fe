"""Draws the figures of a run from what lies in its work directory."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments import experiment
from mia_jax import faces, report
from mia_jax.evidence import evaluation
from mia_jax.faces import protocol
from mia_jax.report import figures
from mia_jax.runtime import storage
from mia_jax.runtime.storage import WorkDirectory

GRID = 25


def held(traces: np.ndarray) -> np.ndarray:
    """Lets restarts that ended early keep their last loss.

    Args:
      traces: `[restarts, points]`, NaN after the end.

    Returns:
      The same without NaN, but where there is nothing to keep.
    """
    points = np.arange(traces.shape[1])
    last = np.maximum.accumulate(np.where(np.isnan(traces), 0, points), axis=1)
    return np.take_along_axis(traces, last, axis=1)


def draw(
    workdir: WorkDirectory,
    loaded: faces.Faces,
    roles: protocol.Protocol,
    result: Mapping[str, Any],
    people: Mapping[str, evaluation.Examined],
) -> dict[str, bytes]:
    """Draws every figure of the report, of the most exposed people.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who.
      result: The evaluation.
      people: What the recognizers saw, by identity.

    Returns:
      PNG files by name.
    """
    drawn, traces, portraits, seeds, iterations = {}, {}, [], [], np.zeros(0)
    for i, (name, row) in enumerate(result["identities"].items()):
        if row["exposure_rank"] > report.PORTRAYED:
            continue
        path, seen = workdir.clones_of(name), people[name].clones
        clones = storage.map_array(path, "clones")
        photographs = experiment.photographs_of(loaded, name, roles.training)

        def clone(restart: int, clones: np.ndarray = clones, seen: evaluation.Seen = seen) -> Any:
            score, rank = float(seen.score[restart]), int(seen.rank[restart])
            return figures.Clone(clones[restart], score, rank)

        best = clone(row["best_restart"])
        nearest = photographs[evaluation.nearest_photograph(best.image, photographs)]
        portraits.append(
            figures.Portrait(name, photographs[0], best, clone(row["attacker_pick"]), nearest)
        )
        drawn[f"clones_{i}"] = figures.clone_grid(
            photographs[0], clones[:GRID], seen.score[:GRID], seen.rank[:GRID], name
        )
        traces[name] = held(storage.map_array(path, "loss_trace"))
        iterations = storage.map_array(path, "trace_iterations")
        seeds.append(storage.map_array(path, "seed")[0])
    curves = {name: result["identities"][name]["cmc"] for name in traces}
    mean, null = result["mean"]["cmc"], result["mean"]["null"]
    drawn["cmc"] = figures.cmc_curves(
        curves,
        mean,
        null["seed"]["cmc"],
        null["others"]["cmc"] if "others" in null else None,
        result["ceiling"]["cmc"],
    )
    drawn["seed"] = figures.seed_figure(np.stack(seeds))
    drawn["best_clones"] = figures.best_clones(portraits)
    histories = {}
    for role in experiment.ROLES:
        rows = storage.read_table(workdir.recognizer(role) / "metrics.csv")
        histories[role] = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    drawn["training_curves"] = figures.training_curves(histories)
    drawn["loss_traces"] = figures.loss_traces(iterations, traces)
    return {name: figures.png(figure) for name, figure in drawn.items()}
