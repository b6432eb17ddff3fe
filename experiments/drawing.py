"""Draws the figures of a run from what lies in its work directory."""

from collections.abc import Mapping

import numpy as np

from experiments import exhibits, experiment
from mia_jax import report
from mia_jax.evidence import evaluation, examination, scores
from mia_jax.evidence.results import Evaluation, PersonFigures
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.report import curves, portraits, primitives
from mia_jax.runtime import storage
from mia_jax.runtime.workdir import WorkDirectory

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
    loaded: Faces,
    roles: Protocol,
    result: Evaluation,
    people: Mapping[str, examination.Examined],
) -> dict[str, bytes]:
    """Draws every figure of the report, of the most exposed people; portraits of the least too.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who.
      result: The evaluation.
      people: What its first judge saw, by identity.

    Returns:
      PNG files by name, those of `report.picture_names`.
    """
    lead = next(iter(result.judges.values()))
    shown = [n for n in result.people if lead.people[n].exposure_rank <= report.PORTRAYED]
    drawn, traces, seeds, iterations = {}, {}, [], np.zeros(0)
    for name in shown:
        path = workdir.clones_of(name)
        clones = storage.map_array(path, "clones")
        photographs = experiment.photographs_of(loaded, name, roles.training[TARGET])
        seed_images = storage.map_array(path, "seed")
        seen = people[name].clones.opinion
        drawn[f"clones_{list(result.people).index(name)}"] = portraits.clone_grid(
            photographs[0], clones[:GRID], seen.score[:GRID], seen.rank[:GRID], name
        )
        traces[name] = held(storage.map_array(path, "loss_trace"))
        iterations = storage.map_array(path, "trace_iterations")
        seeds.append(seed_images[0])
    for place, judgement in enumerate(result.judges.values()):
        of_others = judgement.controls.others
        drawn[f"cmc_{place}"] = curves.cmc_curves(
            {n: judgement.people[n].clones.cmc for n in shown if n in judgement.people},
            mean=judgement.mean.cmc,
            seeds=judgement.controls.seeds.cmc,
            mean_face=judgement.controls.mean_face.cmc,
            others=of_others.cmc if of_others else None,
            ceiling=judgement.ceiling.cmc,
        )
    drawn["seed"] = portraits.seed_figure(np.stack(seeds))
    row = [
        _portrait(workdir, loaded, roles, name, result, people[name]) for name in ends(lead.people)
    ]
    drawn["best_clones"] = portraits.best_clones(row)
    if histories := {
        role: _history(workdir, role)
        for role, facts in result.recognizers.items()
        if facts.settings is not None
    }:
        drawn["training_curves"] = curves.training_curves(histories)
    drawn["loss_traces"] = curves.loss_traces(iterations, traces)
    return {name: primitives.png(figure) for name, figure in drawn.items()}


def ends(people: Mapping[str, PersonFigures]) -> list[str]:
    """Picks whom the portraits show, so that a good likeness never stands without a bad one.

    Args:
      people: What the first judge says of each person.

    Returns:
      The people from the most to the least exposed; of many, those at either end.
    """
    ordered = sorted(people, key=lambda name: people[name].exposure_rank)
    end = report.END
    return ordered if len(ordered) <= 2 * end else ordered[:end] + ordered[-end:]


def _portrait(
    workdir: WorkDirectory,
    loaded: Faces,
    roles: Protocol,
    name: str,
    result: Evaluation,
    seen: examination.Examined,
) -> portraits.Portrait:
    """Puts a person beside the clones and the controls that were picked, each in the same way."""
    lead = next(iter(result.judges.values()))
    picks = lead.people[name]
    photographs = experiment.photographs_of(loaded, name, roles.training[TARGET])
    path = workdir.clones_of(name)
    clones, seeds = storage.map_array(path, "clones"), storage.map_array(path, "seed")
    others = exhibits.of_others(workdir, name, tuple(result.people), len(clones))
    best = picks.best.restart
    nearest = photographs[scores.nearest_photograph(np.asarray(clones[best]), photographs)]
    return portraits.Portrait(
        name=name,
        photograph=photographs[0],
        best=_clone(clones, seen.clones, best),
        pick=_clone(clones, seen.clones, picks.attacker_pick.restart),
        seed=_best(seeds, seen.seeds),
        other=_best(others, seen.others) if seen.others else None,
        nearest=nearest,
    )


def _clone(images: np.ndarray, seen: examination.Seen, place: int) -> portraits.Clone:
    """Returns one image with what the judge says of it."""
    opinion = seen.opinion
    return portraits.Clone(images[place], float(opinion.score[place]), int(opinion.rank[place]))


def _best(images: np.ndarray, seen: examination.Seen) -> portraits.Clone:
    """Returns the image that the judge ranks, then scores best."""
    return _clone(images, seen, evaluation.best(seen.opinion))


def _history(workdir: WorkDirectory, role: str) -> dict[str, np.ndarray]:
    """Reads how a recognizer's training went, by measure."""
    rows = storage.read_table(workdir.recognizer(role) / "metrics.csv")
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}
