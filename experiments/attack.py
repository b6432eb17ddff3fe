"""Attacks the target: clones of each targeted identity, from the model alone.

For example: python -m experiments.attack --workdir=runs/orl --recipe=best
"""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags, logging

from experiments import options, recipes
from mia_jax import (
    faces,
    inversion,
    model_check,
    protocol,
    recognizer,
    seeds,
    storage,
)
from mia_jax.storage import WorkDirectory

flags.adopt_module_key_flags(options)
flags.adopt_module_key_flags(recipes)
_IDENTITIES = flags.DEFINE_list(
    "identities",
    None,
    "Names of the people to attack, registered with the target; by default the targeted ones.",
)
_RESTARTS = flags.DEFINE_integer("restarts", 100, "Clones of each person.", lower_bound=1)
_CHUNK = flags.DEFINE_integer(
    "chunk",
    25,
    "Restarts that run side by side: 25 keep a CPU's caches busy, a GPU takes hundreds. What an "
    "interruption loses at most.",
    lower_bound=1,
)
_AUXILIARY_LIMIT = flags.DEFINE_integer(
    "auxiliary_limit", 8192, "Most unrelated faces to read for seeds and eigenfaces.", lower_bound=1
)


def auxiliary_faces(loaded: faces.Faces, roles: protocol.Protocol) -> np.ndarray:
    """Reads the faces of people who train neither recognizer.

    Args:
      loaded: All faces.
      roles: Who is who.

    Returns:
      `[n, height, width, channels]` in [0, 1].
    """
    positions = np.concatenate([loaded.indices_of(name) for name in roles.auxiliary])
    if len(positions) > _AUXILIARY_LIMIT.value:
        order = protocol.shuffled(roles.seed, positions.tolist(), "auxiliary")
        positions = np.array(sorted(order[: _AUXILIARY_LIMIT.value]))
    if len(positions) < seeds.SEED_IMAGES:
        logging.info(
            "Only %d unrelated faces: each seed image averages %d of them drawn with replacement, "
            "not %d",
            len(positions),
            len(positions),
            seeds.SEED_IMAGES,
        )
    return np.asarray(loaded.images[positions])


def chunk_attack(
    recipe: recipes.Recipe, params: Any, auxiliary: np.ndarray, seed: int
) -> Callable[[int, int], inversion.Clones]:
    """Compiles the attack on a chunk of restarts.

    Args:
      recipe: How to attack.
      params: The target's weights.
      auxiliary: `[n, height, width, channels]` in [0, 1].
      seed: The experiment's.

    Returns:
      From the targeted class and the number of the first restart to the chunk's clones.
    """
    space = recipes.search_space(recipe, auxiliary)

    @jax.jit
    def attack(
        weights: Any, unrelated: jax.Array, basis: Any, target: jax.Array, restarts: jax.Array
    ) -> inversion.Clones:
        keys = inversion.restart_keys(jax.random.key(seed), target, restarts)
        both = jax.vmap(jax.random.split)(keys)
        points = recipes.starting_points(recipe, both[:, 0], unrelated, basis)
        targets = jnp.full(restarts.shape, target)
        settings = recipes.settings(recipe, basis)
        return inversion.invert(recognizer.logits, weights, points, targets, both[:, 1], settings)

    on_device = jax.device_put((params, jnp.asarray(auxiliary), space))

    def run(target: int, first: int) -> inversion.Clones:
        restarts = jnp.arange(first, first + _CHUNK.value)
        return jax.device_get(attack(*on_device, jnp.asarray(target), restarts))

    return run


def to_arrays(clones: inversion.Clones, recipe_text: str, keep: int) -> dict[str, np.ndarray]:
    """Names a chunk's results as they are stored.

    Args:
      clones: The chunk.
      recipe_text: The recipe as JSON.
      keep: How many of the chunk's restarts were asked for.

    Returns:
      Arrays by name.
    """
    every = max(1, clones.loss_trace.shape[1] // 100)
    arrays = {
        "clones": clones.images,
        "last": clones.last,
        "seed": clones.seeds,
        "target_score": clones.target_score,
        "returned_best": clones.returned_best,
        "best_loss": clones.best_loss,
        "last_loss": clones.last_loss,
        "loss_trace": clones.loss_trace[:, ::every],
        "iterations_to_90": clones.iterations_to_90,
        "iterations_to_99": clones.iterations_to_99,
    }
    rows = {name: np.asarray(array)[:keep] for name, array in arrays.items()}
    trace_iterations = np.arange(0, clones.loss_trace.shape[1], every)
    return {**rows, "trace_iterations": trace_iterations, "recipe": np.array(recipe_text)}


def join(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Joins the chunks of one person.

    Args:
      parts: What `to_arrays` made of each, in order.

    Returns:
      The same for all restarts.
    """
    common = ("trace_iterations", "recipe")
    return {
        name: parts[0][name] if name in common else np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }


def check_recipe(path: pathlib.Path, recipe_text: str) -> None:
    """Checks that stored clones are those that would be made now.

    Args:
      path: The `.npz` file.
      recipe_text: The recipe as JSON.

    Raises:
      ValueError: If not.
    """
    stored = str(storage.read_arrays(path, ["recipe"])["recipe"])
    if stored != recipe_text:
        now, then = json.loads(recipe_text), json.loads(stored)
        changed = [f"{k}={then.get(k)}" for k in {**then, **now} if then.get(k) != now.get(k)]
        raise ValueError(
            f"{path} was made with {' '.join(changed)}: give the same flags, choose another "
            "--workdir, or delete it"
        )


def attack(workdir: WorkDirectory, recipe: recipes.Recipe) -> None:
    """Attacks each identity, or goes on where an interrupted run stopped.

    Args:
      workdir: The work directory, with a trained target.
      recipe: How to attack.

    Raises:
      ValueError: If an identity is unknown, the model cannot be attacked, or clones of another
        recipe are in the way.
    """
    options.need_protocol(workdir)
    params = options.load_recognizer(workdir, protocol.TARGET)
    loaded, roles = options.open_experiment(workdir)
    identities = tuple(_IDENTITIES.value or roles.targeted)
    protocol.check_identities(roles, identities)
    restarts, chunk = _RESTARTS.value, _CHUNK.value
    recipe_text = json.dumps(
        {**options.described(recipe), "restarts": restarts, "random_seed": roles.seed}
    )
    done = [name for name in identities if workdir.clones_of(name).exists()]
    for name in done:
        check_recipe(workdir.clones_of(name), recipe_text)
    if len(done) == len(identities):
        logging.info("All %d identities are attacked already: %s", len(done), workdir.clones)
        return

    auxiliary = auxiliary_faces(loaded, roles)
    classes = roles.classes[protocol.TARGET]
    seen = model_check.check_model(
        recognizer.logits,
        params,
        jnp.asarray(auxiliary[:8]),
        classes.index(identities[0]),
        recipes.LOSSES[recipe.loss],
    )
    logging.info("The target returns %s of %d classes", seen.returns, seen.classes)
    run = chunk_attack(recipe, params, auxiliary, roles.seed)
    total, initial = len(identities) * restarts, len(done) * restarts
    with options.progress(total, initial, "attack", "clone") as bar:
        for name in identities:
            if name in done:
                continue
            parts = []
            for first in range(0, restarts, chunk):
                keep = min(chunk, restarts - first)
                path = workdir.part_of(name, first, first + keep - 1)
                if path.exists():
                    check_recipe(path, recipe_text)
                else:
                    with options.timed(workdir, "attack"):
                        clones = run(classes.index(name), first)
                        storage.write_arrays(path, to_arrays(clones, recipe_text, keep))
                parts.append(path)
                bar.update(keep)
            whole = join([storage.read_arrays(path) for path in parts])
            storage.write_arrays(workdir.clones_of(name), whole)
            for path in parts:
                path.unlink()
            logging.info(
                "%s: mean confidence of the target %.3f over %d clones",
                name,
                whole["target_score"].mean(),
                restarts,
            )


def main() -> None:
    """Attacks with the recipe that the flags ask for."""
    attack(options.work_directory(), recipes.from_flags())


if __name__ == "__main__":
    options.run(main)
