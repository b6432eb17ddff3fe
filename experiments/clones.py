"""Where the clones lie: chunks as the devices make them, then one file for each person."""

import dataclasses
import pathlib
from collections.abc import Container, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from mia_jax.attack import Clones
from mia_jax.evidence.results import AttackFacts
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.runtime import records, sharding, storage, workload
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

COMMON = ("trace_iterations", "recipe", "weights")


@dataclasses.dataclass(frozen=True)
class Origin:
    """What clones were made with.

    Attributes:
      recipe: `AttackFacts` as JSON.
      weights: Digest of the attacked recognizer's weights.
    """

    recipe: str
    weights: str

    @property
    def attack(self) -> AttackFacts:
        """The recipe, read."""
        return records.from_json(AttackFacts, _recipe(self))


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Everything in `clones/manifest.json`: whose clones are whole.

    Attributes:
      restarts: Clones of each person.
      chunk: Restarts in an item of work.
      complete: The people whose clones are whole.
      incomplete: Those asked for whose clones are not.
    """

    restarts: int
    chunk: int
    complete: tuple[str, ...]
    incomplete: tuple[str, ...]


def origin_of(path: pathlib.Path) -> Origin:
    """Reads what the clones of a file were made with."""
    return Origin(**{name: str(storage.map_array(path, name)) for name in ("recipe", "weights")})


def to_arrays(clones: Clones, origin: Origin, keep: int) -> dict[str, np.ndarray]:
    """Names a chunk's results as they are stored.

    Args:
      clones: The chunk.
      origin: What it was made with.
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
    common = {name: np.array(text) for name, text in dataclasses.asdict(origin).items()}
    return {**rows, "trace_iterations": trace_iterations, **common}


def check_origin(path: pathlib.Path, origin: Origin) -> None:
    """Checks that stored clones are those that would be made now.

    Args:
      path: The `.npz` file.
      origin: What they would be made with.

    Raises:
      UserError: If not.
    """
    stored = origin_of(path)
    if stored.recipe != origin.recipe:
        now, then = _flat(origin), _flat(stored)
        changed = [f"{k}={then.get(k)}" for k in {**then, **now} if then.get(k) != now.get(k)]
        if then["name"] != now["name"]:  # The rest follows from that.
            changed = [f"recipe={then['name']}"]
        raise UserError(
            f"{path} was made with {' '.join(changed)}: give the same flags, choose another "
            "--workdir, or delete it"
        )
    if stored.weights != origin.weights:
        raise UserError(
            f"{path} was made from other weights of the target, which was trained anew since: "
            "delete it to attack the new ones"
        )


def _recipe(origin: Origin) -> dict[str, Any]:
    """Returns the recipe that stands in a file of clones."""
    try:
        return storage.parse_json(origin.recipe)
    except ValueError as error:
        raise UserError(f"a recipe in the clones is not readable ({error}): delete them") from None


def _flat(origin: Origin) -> dict[str, object]:
    """Returns recipe and arguments in one dictionary."""
    facts = _recipe(origin)
    return {**facts.pop("arguments"), **facts}


def missing_items(
    workdir: WorkDirectory, items: Sequence[workload.Item], origin: Origin, chunk: int
) -> list[workload.Item]:
    """Lists the work that no earlier run has done.

    Args:
      workdir: The work directory.
      items: All work.
      origin: What clones are made with.
      chunk: Restarts in an item.

    Returns:
      The rest, the same in every process.

    Raises:
      UserError: If clones of another recipe, or chunks of another size, are in the way.
    """
    leftover = any(workdir.parts.glob("*.npz"))
    if leftover and workdir.manifest.exists():
        begun = records.read(workdir.manifest, Manifest).chunk
        if begun != chunk:
            raise UserError(
                f"{workdir.clones} was begun with --chunk={begun}: give the same to go on"
            )
    paths = []
    for item in items:
        whole = workdir.clones_of(item.identity)
        paths.append(whole if whole.exists() else workdir.part_of(*item))
    present = {path for path in paths if path.exists()}
    for path in sorted(present):
        check_origin(path, origin)
    missing = [path not in present for path in paths]
    # Each process looks before any of them writes, and they agree on what the first one saw.
    agreed = sharding.from_first_process(np.array(missing))
    return [item for item, absent in zip(items, agreed, strict=True) if absent]


def write_parts(
    workdir: WorkDirectory,
    group: Sequence[Sequence[workload.Item]],
    clones: Clones,
    origin: Origin,
    missing: Container[workload.Item],
) -> None:
    """Writes what the devices of this process made.

    Args:
      workdir: The work directory.
      group: A bundle of items for each device.
      clones: `[width, items, restarts, ...]`; rows and items beyond the group are dropped.
      origin: What they were made with.
      missing: Which items are written: the others are there.
    """
    for row, bundle in sharding.rows_here(clones):
        for place, item in enumerate(group[row] if row < len(group) else ()):
            if item in missing:
                own = jax.tree.map(lambda array, place=place: array[place], bundle)
                arrays = to_arrays(own, origin, item.restarts)
                storage.write_arrays(workdir.part_of(*item), arrays)
                workdir.stopped_of(*item).unlink(missing_ok=True)


def write_stopped(
    workdir: WorkDirectory, item: workload.Item, clones: Clones, origin: Origin
) -> pathlib.Path:
    """Writes what a search had found when the model's answers ended it.

    It is no part: the same command begins the item anew, and its part takes this file's place.

    Args:
      workdir: The work directory.
      item: The item of work.
      clones: `[restarts, ...]`.
      origin: What they were made with.

    Returns:
      Where it lies.
    """
    path = workdir.stopped_of(*item)
    storage.write_arrays(path, to_arrays(clones, origin, item.restarts))
    return path


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
    workdir: WorkDirectory, roles: Protocol, asked: Sequence[str], restarts: int, chunk: int
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
    whole = tuple(name for name in roles.classes[TARGET] if workdir.clones_of(name).exists())
    rest = tuple(name for name in asked if name not in set(whole))
    manifest = Manifest(restarts, chunk, whole, rest)
    if not workdir.manifest.exists() or records.read(workdir.manifest, Manifest) != manifest:
        records.write(workdir.manifest, manifest)
