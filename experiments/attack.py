"""Attacks the target: clones of each targeted identity, from the model alone.

For example: python -m experiments.attack --workdir=runs/orl --recipe=best

On several devices and hosts each device does whole chunks of restarts, and each process writes the
chunks of its own devices: see `mia_jax.runtime.workload` and `mia_jax.runtime.sharding`.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags, logging

from experiments import clones, console, experiment, recipes, targets
from mia_jax import faces
from mia_jax.attack import check, inversion, seeds
from mia_jax.faces import protocol
from mia_jax.runtime import sharding, workload
from mia_jax.runtime.storage import WorkDirectory

flags.adopt_module_key_flags(experiment)
flags.adopt_module_key_flags(recipes)
flags.adopt_module_key_flags(targets)
_RESTARTS = flags.DEFINE_integer("restarts", 100, "Clones of each person.", lower_bound=1)
_CHUNK = flags.DEFINE_integer(
    "chunk",
    50,
    "Restarts that run side by side on a device: 50 suit the caches of a CPU, a GPU takes "
    "hundreds. What an interruption loses at most on each device.",
    lower_bound=1,
)
_CLASS_SHARDS = flags.DEFINE_integer(
    "class_shards",
    1,
    "Over how many devices the recognizer's last layer is split, for very many identities.",
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


def wave_attack(
    mesh: jax.sharding.Mesh,
    recipe: recipes.Recipe,
    params: Any,
    auxiliary: np.ndarray,
    seed: int,
) -> Callable[[Sequence[int], Sequence[int]], inversion.Clones]:
    """Compiles the attack on a chunk of restarts for each device.

    Args:
      mesh: The devices.
      recipe: How to attack.
      params: The target's weights.
      auxiliary: `[n, height, width, channels]` in [0, 1].
      seed: The experiment's.

    Returns:
      From the targeted classes and the numbers of the first restarts, one for each item of work
      and at most as many as the mesh is wide, to `[width, chunk, ...]` clones.
    """
    space = recipes.search_space(recipe, auxiliary)
    apply_fn = recipes.PRECISIONS[recipe.precision]

    def chunk(shared: Any, target: jax.Array, first: jax.Array) -> inversion.Clones:
        weights, unrelated, basis = shared
        restarts = first + jnp.arange(_CHUNK.value)
        keys = inversion.restart_keys(jax.random.key(seed), target, restarts)
        both = jax.vmap(jax.random.split)(keys)
        points = recipes.starting_points(recipe, both[:, 0], unrelated, basis)
        labels = jnp.full(restarts.shape, target)
        settings = recipes.settings(recipe, basis)
        return inversion.invert(apply_fn, weights, points, labels, both[:, 1], settings)

    attack = sharding.item_by_item(mesh, chunk)
    weights = sharding.place_recognizer(mesh, params)
    shared = (weights, *sharding.replicate(mesh, (auxiliary, space)))

    def run(labels: Sequence[int], firsts: Sequence[int]) -> inversion.Clones:
        idle = sharding.width(mesh) - len(labels)  # They repeat the last item, for nothing.
        items = (np.array([*row, *[row[-1]] * idle]) for row in (labels, firsts))
        return attack(shared, *[sharding.spread(mesh, item) for item in items])

    return run


def attack(workdir: WorkDirectory, recipe: recipes.Recipe) -> None:
    """Attacks each identity, or goes on where an interrupted run stopped.

    Args:
      workdir: The work directory, with a trained target.
      recipe: How to attack.

    Raises:
      ValueError: If an identity is unknown, the model cannot be attacked, or clones of another
        recipe are in the way.
    """
    experiment.need_protocol(workdir)
    params = experiment.load_recognizer(workdir, protocol.TARGET)
    loaded, roles = experiment.open_experiment(workdir)
    identities, classes = targets.chosen(roles), roles.classes[protocol.TARGET]
    recipe_text = json.dumps(
        {
            **experiment.described(recipe),
            "restarts": _RESTARTS.value,
            "random_seed": roles.seed,
        }
    )
    sizes = (_RESTARTS.value, _CHUNK.value)
    items = workload.divide(identities, *sizes)
    missing = clones.missing_items(workdir, items, recipe_text, _CHUNK.value)
    mesh = sharding.make_mesh(_CLASS_SHARDS.value, items=len(missing))
    if missing:
        auxiliary = auxiliary_faces(loaded, roles)
        seen = check.check_model(
            recipes.PRECISIONS[recipe.precision],
            params,
            jnp.asarray(auxiliary[:8]),
            classes.index(missing[0].identity),
            recipes.LOSSES[recipe.loss],
        )
        logging.info("The target returns %s of %d classes", seen.returns, seen.classes)
        run = wave_attack(mesh, recipe, params, auxiliary, roles.seed)
    clones.write_manifest(workdir, roles, identities, *sizes)
    joined = clones.join_parts(workdir, items)
    total = len(identities) * _RESTARTS.value
    done = total - sum(item.restarts for item in missing)
    with console.progress(total, done, "attack", "clone") as bar:
        for wave in workload.waves(missing, sharding.width(mesh)):
            with experiment.timed(workdir, "attack"):
                names, firsts, _ = zip(*wave, strict=True)
                made = run([classes.index(name) for name in names], firsts)
                clones.write_parts(workdir, wave, made, recipe_text)
            bar.update(sum(item.restarts for item in wave))
            whole = list(iter(lambda: next(joined, ""), ""))
            if whole:
                clones.write_manifest(workdir, roles, identities, *sizes)
            for name in whole:
                logging.info("%s is done", name)
    sharding.wait_for_all("attacked")
    for name in joined:
        if not name:
            raise ValueError(
                f"{workdir.clones} lacks chunks that other processes made: all of them need the "
                "same --workdir, on a file system that all of them see"
            )
        logging.info("%s is done", name)
    sharding.wait_for_all("joined")
    clones.write_manifest(workdir, roles, identities, *sizes)
    logging.info("The clones of %d people: %s", len(identities), workdir.clones)


def main() -> None:
    """Attacks with the recipe that the flags ask for."""
    recipe = recipes.from_flags()
    attack(experiment.work_directory(), recipe)


if __name__ == "__main__":
    console.run(main)
