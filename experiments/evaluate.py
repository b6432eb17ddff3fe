"""Scores and ranks the clones with the evaluator, draws the figures, and writes the report.

For example: python -m experiments.evaluate --workdir=runs/orl
"""

import functools
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import flags, logging

from experiments import console, drawing, experiment, provenance
from mia_jax import faces, recognizer, report
from mia_jax.evidence import evaluation
from mia_jax.faces import protocol
from mia_jax.runtime import storage
from mia_jax.runtime.storage import WorkDirectory

flags.adopt_module_key_flags(experiment)


def attacked(workdir: WorkDirectory, roles: protocol.Protocol) -> tuple[str, ...]:
    """Lists the identities that have clones and are registered with the evaluator.

    Args:
      workdir: The work directory.
      roles: Who is who.

    Returns:
      Their names, the targeted ones first.

    Raises:
      FileNotFoundError: If there are none.
    """
    names = dict.fromkeys([*roles.targeted, *roles.classes[protocol.TARGET]])
    found = tuple(
        name
        for name in names
        if name in roles.classes[protocol.EVALUATOR] and workdir.clones_of(name).exists()
    )
    if not found:
        raise FileNotFoundError(
            f"{workdir.clones} holds no clones of an identity that the evaluator knows: run "
            "python -m experiments.attack with the same --workdir first"
        )
    return found


def model(params: Any) -> evaluation.Model:
    """Binds a recognizer's weights.

    Args:
      params: The weights.

    Returns:
      Its logits and features as functions of images.
    """
    logits, features = jax.jit(recognizer.logits), jax.jit(recognizer.features)
    return evaluation.Model(functools.partial(logits, params), functools.partial(features, params))


def median_iterations(reached: np.ndarray) -> int | None:
    """Returns the median number of updates until a confidence was reached, None for never."""
    median = np.median(np.where(reached < 0, np.inf, reached))
    return int(median) if np.isfinite(median) else None


def examine(
    workdir: WorkDirectory,
    loaded: faces.Faces,
    roles: protocol.Protocol,
    models: Mapping[str, evaluation.Model],
    name: str,
) -> evaluation.Examined:
    """Shows one person's clones and photographs to both recognizers.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who.
      models: "target" and "evaluator".
      name: The person.

    Returns:
      What they saw.
    """
    path = workdir.clones_of(name)
    evidence = evaluation.Evidence(
        target_class=roles.classes[protocol.TARGET].index(name),
        evaluator_class=roles.classes[protocol.EVALUATOR].index(name),
        clones=storage.map_array(path, "clones"),
        seeds=storage.map_array(path, "seed"),
        training=experiment.photographs_of(loaded, name, roles.training),
        held_out=experiment.photographs_of(loaded, name, roles.held_out),
    )
    key = jax.random.fold_in(jax.random.key(roles.seed), len(experiment.ROLES))
    target, evaluator = (models[role] for role in experiment.ROLES)
    return evaluation.examine(evidence, target, evaluator, key)


def evaluate(workdir: WorkDirectory) -> None:
    """Evaluates every attacked identity and writes `evaluation.json`, figures and report.

    Args:
      workdir: The work directory, with both recognizers and clones.

    Raises:
      ValueError: If the evaluator is the target, or clones of several recipes are mixed.
    """
    experiment.need_protocol(workdir)
    params = {role: experiment.load_recognizer(workdir, role) for role in experiment.ROLES}
    evaluation.check_independent(*params.values())
    loaded, roles = experiment.open_experiment(workdir)
    names = attacked(workdir, roles)
    recipes = {experiment.recipe_of(workdir.clones_of(name)) for name in names}
    if len(recipes) > 1:
        raise ValueError(f"{workdir.clones} mixes recipes: {' and '.join(sorted(recipes))}")

    models = {role: model(weights) for role, weights in params.items()}
    people = {}
    with experiment.timed(workdir, "evaluate"):
        with console.progress(len(names), 0, "evaluate", "person") as bar:
            for name in names:
                people[name] = examine(workdir, loaded, roles, models, name)
                bar.update()
                logging.info("%s is scored", name)
        result = evaluation.evaluate(people, roles.seed)
    for name, row in result["identities"].items():
        keys = ("iterations_to_90", "iterations_to_99")
        for key in keys:
            row[key] = median_iterations(storage.map_array(workdir.clones_of(name), key))
    result |= provenance.facts(workdir, json.loads(recipes.pop()), names, loaded, roles)

    logging.info("Drawing the figures")
    pictures = drawing.draw(workdir, loaded, roles, result, people)
    for name, data in pictures.items():
        storage.write_bytes(workdir.figures / f"{name}.png", data)
    storage.write_json(workdir.evaluation, result)
    storage.write_bytes(workdir.report, report.render(result, pictures).encode())
    mean = result["mean"]
    logging.info(
        "Rank-1 %.3f, mean score %.3f by the evaluator; un-attacked seeds %.3f, chance %.3f",
        mean["rank1"],
        mean["mean_score"],
        mean["null"]["seed"]["rank1"],
        result["chance"]["rank1"],
    )
    logging.info("The report: %s", workdir.report)


def finished(workdir: WorkDirectory) -> bool:
    """Tells whether the clones that lie in the work directory are evaluated already."""
    if not (workdir.report.exists() and workdir.evaluation.exists()):
        return False
    result = storage.read_json(workdir.evaluation)
    _, roles = experiment.open_experiment(workdir)
    names = attacked(workdir, roles)
    recipes = {experiment.recipe_of(workdir.clones_of(name)) for name in names}
    return list(result["identities"]) == list(names) and recipes == {json.dumps(result["recipe"])}


def main() -> None:
    """Evaluates the work directory."""
    evaluate(experiment.work_directory())


if __name__ == "__main__":
    console.run(main)
