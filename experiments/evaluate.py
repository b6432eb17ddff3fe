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

from experiments import options
from mia_jax import evaluation, faces, figures, protocol, recognizer, report, storage
from mia_jax.storage import WorkDirectory

flags.adopt_module_key_flags(options)
GRID = 25
# Flags that say where or how fast, and nothing of what is computed.
_UNRECORDED = ("workdir", "download", "platform")


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


def photographs_of(
    loaded: faces.Faces, name: str, split: Mapping[str, tuple[int, ...]]
) -> np.ndarray:
    """Reads some of a person's photographs.

    Args:
      loaded: All faces.
      name: The person.
      split: Which photographs of each person.

    Returns:
      `[n, height, width, channels]` in [0, 1].
    """
    return np.asarray(loaded.images[loaded.indices_of(name)[list(split[name])]])


def recipe_of(workdir: WorkDirectory, name: str) -> str:
    """Returns the recipe of a person's clones, as JSON."""
    return str(storage.read_arrays(workdir.clones_of(name), ["recipe"])["recipe"])


def draw(
    workdir: WorkDirectory,
    loaded: faces.Faces,
    roles: protocol.Protocol,
    result: Mapping[str, Any],
    people: Mapping[str, evaluation.Examined],
) -> dict[str, bytes]:
    """Draws every figure of the report.

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
        stored = storage.read_arrays(workdir.clones_of(name))
        clones, seen = stored["clones"], people[name].clones
        photographs = photographs_of(loaded, name, roles.training)

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
        traces[name], iterations = stored["loss_trace"], stored["trace_iterations"]
        seeds.append(stored["seed"][0])
    curves = {name: row["cmc"] for name, row in result["identities"].items()}
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
    for role in options.ROLES:
        rows = storage.read_table(workdir.recognizer(role) / "metrics.csv")
        histories[role] = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    drawn["training_curves"] = figures.training_curves(histories)
    drawn["loss_traces"] = figures.loss_traces(iterations, traces)
    return {name: figures.png(figure) for name, figure in drawn.items()}


def recorded_flags() -> dict[str, Any]:
    """Returns this project's flags that say what was computed."""
    modules = flags.FLAGS.flags_by_module_dict()
    ours = [
        flag
        for module, members in modules.items()
        if "experiments" in module or module.endswith(".py")
        for flag in members
    ]
    return {
        flag.name: flag.value
        for flag in sorted(ours, key=lambda flag: flag.name)
        if flag.name not in _UNRECORDED
    }


def median_iterations(reached: np.ndarray) -> int | None:
    """Returns the median number of updates until a confidence was reached, None for never."""
    median = np.median(np.where(reached < 0, np.inf, reached))
    return int(median) if np.isfinite(median) else None


def facts(
    workdir: WorkDirectory,
    recipe: Mapping[str, Any],
    clones: int,
    loaded: faces.Faces,
    roles: protocol.Protocol,
) -> dict[str, Any]:
    """Describes the experiment: what it cost, with which settings, on which faces.

    Args:
      workdir: The work directory.
      recipe: The recipe that is stored with the clones.
      clones: How many there are.
      loaded: All faces.
      roles: Who is who.

    Returns:
      The part of `evaluation.json` that the evaluation itself does not know.
    """
    seconds = storage.read_json(workdir.seconds)
    each = recipe["iterations"] * max(recipe["views_per_iteration"], 1)
    auxiliary = sum(len(loaded.indices_of(name)) for name in roles.auxiliary)
    people = clones // recipe["restarts"]
    about = {
        role: storage.read_json(workdir.recognizer(role) / "recognizer.json")
        for role in options.ROLES
    }
    accuracy: dict[str, Any] = {"photographs": {}}
    for role, row in about.items():
        accuracy[role] = row["held_out_accuracy"]
        accuracy[f"{role}_interval"] = row["held_out_accuracy_interval"]
        accuracy["photographs"][role] = row["held_out_photographs"]
    return {
        "classes": {role: row["classes"] for role, row in about.items()},
        "restarts": recipe["restarts"],
        "held_out_accuracy": accuracy,
        "recipe": recipe,
        "cost": {
            "iterations": recipe["iterations"],
            "gradient_evaluations_per_restart": each,
            "gradient_evaluations": each * clones,
            "device": jax.devices()[0].device_kind,
        },
        "dataset": {
            "name": storage.read_json(workdir.protocol)["faces"]["dataset"],
            "credit": loaded.credit,
            "people": len(loaded.names),
            "photographs": len(loaded.images),
            "image_size": list(loaded.images.shape[1:]),
            "auxiliary_people": len(roles.auxiliary),
            "auxiliary_photographs": auxiliary,
        },
        "training": about[protocol.TARGET]["settings"],
        "seconds": {**seconds, "attack_per_person": round(seconds["attack"] / people, 2)},
        "versions": options.versions(),
        "commit": options.commit(),
        "flags": recorded_flags(),
    }


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
    stored = storage.read_arrays(workdir.clones_of(name), ["clones", "seed"])
    evidence = evaluation.Evidence(
        target_class=roles.classes[protocol.TARGET].index(name),
        evaluator_class=roles.classes[protocol.EVALUATOR].index(name),
        clones=stored["clones"],
        seeds=stored["seed"],
        training=photographs_of(loaded, name, roles.training),
        held_out=photographs_of(loaded, name, roles.held_out),
    )
    key = jax.random.fold_in(jax.random.key(roles.seed), len(options.ROLES))
    target, evaluator = (models[role] for role in options.ROLES)
    return evaluation.examine(evidence, target, evaluator, key)


def evaluate(workdir: WorkDirectory) -> None:
    """Evaluates every attacked identity and writes `evaluation.json`, figures and report.

    Args:
      workdir: The work directory, with both recognizers and clones.

    Raises:
      ValueError: If the evaluator is the target, or clones of several recipes are mixed.
    """
    options.need_protocol(workdir)
    params = {role: options.load_recognizer(workdir, role) for role in options.ROLES}
    evaluation.check_independent(*params.values())
    loaded, roles = options.open_experiment(workdir)
    names = attacked(workdir, roles)
    recipes = {recipe_of(workdir, name) for name in names}
    if len(recipes) > 1:
        raise ValueError(f"{workdir.clones} mixes recipes: {' and '.join(sorted(recipes))}")

    models = {role: model(weights) for role, weights in params.items()}
    people = {}
    with options.timed(workdir, "evaluate"):
        with options.progress(len(names), 0, "evaluate", "person") as bar:
            for name in names:
                people[name] = examine(workdir, loaded, roles, models, name)
                bar.update()
                logging.info("%s is scored", name)
        result = evaluation.evaluate(people, roles.seed)
    for name, row in result["identities"].items():
        keys = ("iterations_to_90", "iterations_to_99")
        for key, reached in storage.read_arrays(workdir.clones_of(name), keys).items():
            row[key] = median_iterations(reached)
    clones = sum(len(person.robust_score) for person in people.values())
    result |= facts(workdir, json.loads(recipes.pop()), clones, loaded, roles)

    logging.info("Drawing the figures")
    pictures = draw(workdir, loaded, roles, result, people)
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
    _, roles = options.open_experiment(workdir)
    names = attacked(workdir, roles)
    recipes = {recipe_of(workdir, name) for name in names}
    return list(result["identities"]) == list(names) and recipes == {json.dumps(result["recipe"])}


def main() -> None:
    """Evaluates the work directory."""
    evaluate(options.work_directory())


if __name__ == "__main__":
    options.run(main)
