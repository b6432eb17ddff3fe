"""Where the clones lie: chunks as the devices make them, then one file for each person."""

import json
import pathlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from experiments import experiment
from mia_jax.attack import inversion
from mia_jax.faces import protocol
from mia_jax.runtime import sharding, storage, workload
from mia_jax.runtime.storage import WorkDirectory

COMMON = ("trace_iterations", "recipe")


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
        "iterations": clones.iterations,
        "iterations_to_90": clones.iterations_to_90,
        "iterations_to_99": clones.iterations_to_99,
    }
    rows = {name: np.asarray(array)[:keep] for name, array in arrays.items()}
    trace_iterations = np.arange(0, clones.loss_trace.shape[1], every)
    return {**rows, "trace_iterations": trace_iterations, "recipe": np.array(recipe_text)}


def check_recipe(path: pathlib.Path, recipe_text: str) -> None:
    """Checks that stored clones are those that would be made now.

    Args:
      path: The `.npz` file.
      recipe_text: The recipe as JSON.

    Raises:
      ValueError: If not.
    """
    stored = experiment.recipe_of(path)
    if stored != recipe_text:
        now, then = json.loads(recipe_text), json.loads(stored)
        changed = [f"{k}={then.get(k)}" for k in {**then, **now} if then.get(k) != now.get(k)]
        raise ValueError(
            f"{path} was made with {' '.join(changed)}: give the same flags, choose another "
            "--workdir, or delete it"
        )


def missing_items(
    workdir: WorkDirectory, items: Sequence[workload.Item], recipe_text: str, chunk: int
) -> list[workload.Item]:
    """Lists the work that no earlier run has done.

    Args:
      workdir: The work directory.
      items: All work.
      recipe_text: The recipe as JSON.
      chunk: Restarts in an item.

    Returns:
      The rest, the same in every process.

    Raises:
      ValueError: If clones of another recipe, or chunks of another size, are in the way.
    """
    leftover = any((workdir.clones / "parts").glob("*.npz"))
    if leftover and workdir.manifest.exists():
        begun = storage.read_json(workdir.manifest)["chunk"]
        if begun != chunk:
            raise ValueError(
                f"{workdir.clones} was begun with --chunk={begun}: give the same to go on"
            )
    paths = []
    for item in items:
        whole = workdir.clones_of(item.identity)
        paths.append(whole if whole.exists() else workdir.part_of(*item))
    present = {path for path in paths if path.exists()}
    for path in sorted(present):
        check_recipe(path, recipe_text)
    missing = [path not in present for path in paths]
    # Each process looks before any of them writes, and they agree on what the first one saw.
    agreed = sharding.from_first_process(np.array(missing))
    return [item for item, absent in zip(items, agreed, strict=True) if absent]


def write_parts(
    workdir: WorkDirectory,
    wave: Sequence[workload.Item],
    clones: inversion.Clones,
    recipe_text: str,
) -> None:
    """Writes the chunks that the devices of this process made.

    Args:
      workdir: The work directory.
      wave: The items of work.
      clones: `[width, chunk, ...]`; rows beyond the items are dropped.
      recipe_text: The recipe as JSON.
    """
    for row, chunk in sharding.rows_here(clones):
        if row < len(wave):
            arrays = to_arrays(chunk, recipe_text, wave[row].restarts)
            storage.write_arrays(workdir.part_of(*wave[row]), arrays)


def join_parts(workdir: WorkDirectory, items: Sequence[workload.Item]) -> Iterator[str]:
    """Joins the chunks of this process's share of the people as soon as all of them are there.

    Args:
      workdir: The work directory.
      items: All work.

    Yields:
      The name of each person whose clones are whole; an empty one while some are missing.
    """
    parts: dict[str, list[pathlib.Path]] = {}
    for item in items:
        parts.setdefault(item.identity, []).append(workdir.part_of(*item))
    for name in list(parts)[jax.process_index() :: jax.process_count()]:
        whole = workdir.clones_of(name)
        if whole.exists():
            for path in parts[name]:  # An interrupted run may have left them.
                path.unlink(missing_ok=True)
            continue
        while not all(path.exists() for path in parts[name]):
            yield ""
        names = [name for name in storage.names_of(parts[name][0]) if name not in COMMON]
        storage.join_arrays(whole, parts[name], names, COMMON)
        for path in parts[name]:
            path.unlink()
        yield name


def write_manifest(
    workdir: WorkDirectory,
    roles: protocol.Protocol,
    asked: Sequence[str],
    restarts: int,
    chunk: int,
) -> None:
    """Writes down whose clones are whole, and whose of those asked for are not.

    Where several processes work as one, the first writes for all.

    Args:
      workdir: The work directory.
      roles: Who is who.
      asked: Names of the people to attack.
      restarts: Clones of each.
      chunk: Restarts in an item.
    """
    if jax.process_index():
        return
    everybody = roles.classes[protocol.TARGET]
    whole = [name for name in everybody if workdir.clones_of(name).exists()]
    manifest = {
        "restarts": restarts,
        "chunk": chunk,
        "complete": whole,
        "incomplete": [name for name in asked if name not in set(whole)],
    }
    if not workdir.manifest.exists() or storage.read_json(workdir.manifest) != manifest:
        storage.write_json(workdir.manifest, manifest)
