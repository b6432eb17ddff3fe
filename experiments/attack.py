"""Attacks the target: clones of each targeted identity, from the model alone.

For example: python -m experiments.attack --workdir=runs/orl --recipe=best

On several devices and hosts each device does whole chunks of restarts, and each process writes the
chunks of its own devices: see `mia_jax.runtime.workload` and `mia_jax.runtime.sharding`.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags, logging

from experiments import (
    asked_target,
    clones,
    console,
    exhibits,
    experiment,
    identities,
    one_person,
    recipe,
    scenario_flags,
    scenarios,
)
from experiments.scenarios import Method, Prepared, World
from experiments.trained import Trained
from mia_jax.attack import Clones, StoppedSearch, check_model, invert, objectives, seeds
from mia_jax.attack.cases import Case
from mia_jax.evidence.results import AttackFacts
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.recognizer import placement
from mia_jax.report.sentences import DIVERGED
from mia_jax.runtime import checkpoints, records, sharding, workload
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

for _module in (experiment, recipe, scenario_flags, identities):
    flags.adopt_module_key_flags(_module)
RESTARTS = flags.DEFINE_integer("restarts", 100, "Clones of each person.", lower_bound=1)
_CHUNK = flags.DEFINE_integer(
    "chunk",
    50,
    "The most restarts that run side by side on a device, of one person or of several: 50 suit the "
    "caches of a CPU, a GPU takes hundreds. What an interruption loses at most on each device.",
    lower_bound=1,
)
_CLASS_SHARDS = flags.DEFINE_integer(
    "class_shards",
    1,
    "Over how many devices the recognizer's last layer is split, for very many identities.",
    lower_bound=1,
)
AUXILIARY_LIMIT = flags.DEFINE_integer(
    "auxiliary_limit", 8192, "Most unrelated faces to read for seeds and eigenfaces.", lower_bound=1
)


def on_bundles(
    mesh: jax.sharding.Mesh, prepared: Prepared, key: jax.Array, restarts: int, together: int = 1
) -> Callable[[Sequence[Sequence[tuple[int, int]]]], Clones]:
    """Compiles the attack on a bundle of items for each device, or asks for one after the other.

    Args:
      mesh: The devices.
      prepared: The attack, from `scenarios.prepare`.
      key: A typed `jax.random.key`: the experiment's.
      restarts: Of an item.
      together: Items in a bundle; 1 where the model is asked.

    Returns:
      From bundles, at most as many as the mesh is wide, of the targeted class and the number of the
      first restart of each item, to `[width, together, restarts, ...]` clones; where the model is
      asked, the last item of a person may have fewer.

    Raises:
      UserError: If a model is to be asked from several processes.
    """
    if prepared.searching is not None:
        return _by_asking(prepared, key, restarts)
    assert prepared.how is not None
    weights = sharding.place(mesh, prepared.params, placement.split_classes)
    # The model is measured once, not for each chunk.
    objective = objectives.measured(prepared.how.objective, prepared.params)
    rest = (prepared.how._replace(objective=objective), key, prepared.known)
    shared = (weights, *sharding.replicate(mesh, rest))
    compiled = _bundles(mesh, restarts)

    def run(bundles: Sequence[Sequence[tuple[int, int]]]) -> Clones:
        # What is short, at the end of all work, repeats its last one for nothing.
        rows = [[*bundle, *[bundle[-1]] * (together - len(bundle))] for bundle in bundles]
        rows += [rows[-1]] * (sharding.width(mesh) - len(rows))
        items = np.array(rows)
        return compiled(shared, *[sharding.spread(mesh, items[..., i]) for i in (0, 1)])

    return run


def on_people(
    prepared: Prepared, key: jax.Array, people: Sequence[str], classes: Sequence[str]
) -> Iterator[dict[str, Clones]]:
    """Attacks people on weights, one on each device at a time, all restarts of each at once.

    Args:
      prepared: The attack, from `scenarios.prepare`.
      key: A typed `jax.random.key`: the experiment's.
      people: Whom.
      classes: The target's, in order.

    Yields:
      The clones of those who were attacked at the same time, in host memory.
    """
    mesh = sharding.make_mesh(items=len(people))
    run = on_bundles(mesh, prepared, key, RESTARTS.value)
    for group in workload.groups(people, sharding.width(mesh)):
        made = run([[(classes.index(person), 0)] for person in group])
        rows = [(row, clones) for row, clones in sharding.rows_here(made) if row < len(group)]
        yield {group[row]: jax.tree.map(lambda array: array[0], clones) for row, clones in rows}


@functools.cache  # The same attack on other weights is not compiled again.
def _bundles(mesh: jax.sharding.Mesh, restarts: int) -> Callable[..., Clones]:
    """Compiles the attack on items of so many restarts on each device."""

    def bundle(shared: Any, targets: jax.Array, firsts: jax.Array) -> Clones:
        params, how, key, known = shared

        def item(target: jax.Array, first: jax.Array) -> Case:
            return one_person.cases_of(key, target, first + jnp.arange(restarts), known)

        cases, shape = jax.vmap(item)(targets, firsts), (len(targets), restarts)
        flat = jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), cases)
        clones = invert(params, flat, how)
        return jax.tree.map(lambda array: array.reshape(*shape, *array.shape[1:]), clones)

    return sharding.item_by_item(mesh, bundle)


def _by_asking(
    prepared: Prepared, key: jax.Array, chunk: int
) -> Callable[[Sequence[Sequence[tuple[int, int]]]], Clones]:
    """Asks for one person after the other; an item has its share of a person's queries."""
    if jax.process_count() > 1:
        raise UserError("a model that may only be asked is attacked from one process")
    ways = prepared.searching
    assert ways is not None

    def run(bundles: Sequence[Sequence[tuple[int, int]]]) -> Clones:
        (((target, first),),) = bundles
        restarts = min(chunk, RESTARTS.value - first)
        queries = ways.budget.queries * restarts // RESTARTS.value
        share = ways._replace(budget=ways.budget._replace(queries=queries))
        made = one_person.attack_one(
            prepared._replace(searching=share),
            key,
            target,
            first + jnp.arange(restarts),
        )
        logging.info("%d queries", made.queries)
        return jax.tree.map(lambda array: jnp.asarray(array)[None, None], made.clones)

    return run


def check(wanted: Method, attacked: Trained, auxiliary: np.ndarray, target: int) -> None:
    """Looks at the target before compute is spent, and says what looks wrong."""
    if len(auxiliary) < seeds.SEED_IMAGES:
        logging.info(
            "Only %d unrelated faces: each seed image averages %d of them drawn with replacement, "
            "not %d",
            len(auxiliary),
            len(auxiliary),
            seeds.SEED_IMAGES,
        )
    model = recipe.PRECISIONS[wanted.recipe.precision](attacked.logits)
    loss, standardized = None, False
    if not scenarios.SCENARIOS[wanted.scenario].asks:
        scenarios.check(wanted, scenarios.known_of(attacked))
        arguments = wanted.recipe.arguments(len(auxiliary))
        loss, standardized = arguments["loss"], arguments.get("standardized", False)
    elif attacked.predict is None:
        model = equinox.filter_jit(model)
    seen = check_model(
        *(model, attacked.params, jnp.asarray(auxiliary[: scenarios.CHECKED]), target, loss),
        standardized=standardized,
    )
    logging.info("The target returns %s of %d classes", seen.returns, seen.classes)
    for warning in seen.warnings:
        logging.warning("%s", warning)


def attack(workdir: WorkDirectory, wanted: Method) -> None:
    """Attacks each identity, or goes on where an interrupted run stopped.

    Args:
      workdir: The work directory, with a trained target.
      wanted: How to attack.

    Raises:
      UserError: If an identity is unknown, the model cannot be attacked, or clones of another
        recipe or of other weights are in the way.
    """
    experiment.need_protocol(workdir)
    target = experiment.load_recognizer(workdir, TARGET)
    attacked = asked_target.through(workdir, target, asked_target.ATTACK)
    loaded, roles = experiment.open_experiment(workdir)
    names = identities.chosen(roles)
    if attacked.remote is not None:
        budget = asked_target.budget_of_attack(workdir, wanted, names)
        asked_target.allow(workdir, {asked_target.ATTACK: budget}, said=True)
    looked = asked_target.through(workdir, target, asked_target.ADMISSION)
    fit = fitting(loaded, roles, wanted, looked)
    make_clones(workdir, roles, attacked, names, wanted, fit)


def fitting(
    loaded: Faces, roles: Protocol, wanted: Method, looked: Trained | None = None
) -> Callable[[Trained, int], Prepared]:
    """Returns what fits the attack to unrelated faces: when it is needed first, and once.

    Args:
      loaded: All faces.
      roles: Who is who.
      wanted: How to attack.
      looked: The target as it is looked at before, if that has a budget of its own.

    Returns:
      From a target and a class of it, which are looked at before, to the attack on it; its spaces
      are fitted once for all targets.
    """
    fitted: list[Prepared] = []

    def fit(attacked: Trained, target: int) -> Prepared:
        if fitted:  # The game's: a recipe's spaces fit all targets of an architecture.
            return fitted[0]._replace(params=attacked.params)
        auxiliary = experiment.auxiliary_faces(loaded, roles, AUXILIARY_LIMIT.value)
        check(wanted, looked or attacked, auxiliary, target)
        described = wanted.recipe.described(len(auxiliary)) | wanted.described()
        logging.info(
            "With %d unrelated faces, --recipe=%s is %s",
            len(auxiliary),
            wanted.recipe.name,
            ", ".join(f"{k}={v}" for k, v in described.items()),
        )
        fitted.append(scenarios.prepare(world_of(loaded, roles, attacked, auxiliary), wanted))
        return fitted[0]

    return fit


def world_of(loaded: Faces, roles: Protocol, attacked: Trained, auxiliary: np.ndarray) -> World:
    """Says whom and what an attacker faces.

    Args:
      loaded: All faces.
      roles: Who is who.
      attacked: The target.
      auxiliary: `[n, height, width, channels]` in [0, 1].

    Returns:
      The world; its photographs are each person's first test photograph.
    """
    classes = roles.classes[TARGET]

    def photographs() -> np.ndarray:
        return np.stack([experiment.photographs_of(loaded, n, roles.test)[0] for n in classes])

    key = jax.random.key(roles.seed)
    return World(
        attacked, auxiliary, len(classes), photographs, key, asked_target.manners(attacked)
    )


def facts_of(wanted: Method, plan: experiment.Plan) -> AttackFacts:
    """Says how clones are made, as it is stored with them.

    Args:
      wanted: How to attack.
      plan: The experiment's.

    Returns:
      The recipe, by the flags as they are now. The recipes' argument `auxiliary` is among its
      arguments where the faces come from a folder: the folder's name.
    """
    public = plan.faces.auxiliary_dir
    auxiliary = {"auxiliary": pathlib.Path(public).absolute().name} if public else {}
    count = min(experiment.auxiliary_count(plan), AUXILIARY_LIMIT.value)
    arguments = wanted.recipe.arguments(count)
    return AttackFacts(
        name=wanted.recipe.name,
        arguments=wanted.recipe.described(count) | wanted.described() | auxiliary,
        restarts=RESTARTS.value,
        random_seed=plan.protocol.seed,
        gradients_per_iteration=max(arguments.get("views_per_iteration", 1), 1),
        iterations=arguments["iterations"],
    )


def make_clones(
    workdir: WorkDirectory,
    roles: Protocol,
    attacked: Trained,
    names: Sequence[str],
    wanted: Method,
    fit: Callable[[Trained, int], Prepared],
) -> None:
    """Attacks people, or goes on where an interrupted run stopped.

    Args:
      workdir: Where to.
      roles: Who is who.
      attacked: The target.
      names: Whom to attack, of the target's people.
      wanted: How to attack.
      fit: From `fitting`.

    Raises:
      UserError: If the model cannot be attacked or does not answer, or clones of another recipe or
        of other weights are in the way.
    """
    plan = records.read(workdir.protocol, experiment.Plan)
    classes, facts = roles.classes[TARGET], facts_of(wanted, plan)
    origin = clones.Origin(json.dumps(records.to_json(facts)), checkpoints.digest(attacked.params))
    sizes = (RESTARTS.value, _CHUNK.value)
    items = workload.divide(names, *sizes)
    missing = set(clones.missing_items(workdir, items, origin, _CHUNK.value))
    # A bundle is done as without an interruption, even where some of it is there: to the bit so.
    whole = workload.bundles(items, _CHUNK.value)
    bundles = [bundle for bundle in whole if not missing.isdisjoint(bundle)]
    mesh = sharding.make_mesh(_CLASS_SHARDS.value, items=len(bundles))
    if bundles:
        first = next(item for item in items if item in missing)
        prepared, together = fit(attacked, classes.index(first.identity)), len(whole[0])
        if prepared.searching is not None:  # The model is asked about one person after the other.
            bundles, together = [[item] for item in items if item in missing], 1
            mesh = sharding.make_mesh(devices=jax.local_devices()[:1])
        key = jax.random.key(roles.seed)
        run = on_bundles(mesh, prepared, key, items[0].restarts, together)
    clones.write_manifest(workdir, roles, names, *sizes)
    joined = clones.join_parts(workdir, items)
    total = len(names) * RESTARTS.value
    done = total - sum(item.restarts for item in missing)
    with console.progress(total, done, "attack", "clone") as bar:
        for group in workload.groups(bundles, sharding.width(mesh)):
            with experiment.timed(workdir, "attack"):
                try:
                    made = run([[(classes.index(i.identity), i.first) for i in b] for b in group])
                except StoppedSearch as stopped:
                    ((item,),) = group
                    path = clones.write_stopped(workdir, item, stopped.found.clones, origin)
                    raise UserError(
                        f"{stopped}; what was found of {item.identity} until then is in {path}, "
                        f"and the same command begins {item.identity} anew"
                    ) from stopped
                clones.write_parts(workdir, group, made, origin, missing)
            bar.update(sum(i.restarts for bundle in group for i in bundle if i in missing))
            finished = list(iter(lambda: next(joined, ""), ""))
            if finished:
                clones.write_manifest(workdir, roles, names, *sizes)
            for name in finished:
                logging.info("%s is done", name)
    sharding.wait_for_all("attacked")
    for name in joined:
        if not name:
            raise UserError(
                f"{workdir.clones} lacks chunks that other processes made: all of them need the "
                "same --workdir, on a file system that all of them see"
            )
        logging.info("%s is done", name)
    sharding.wait_for_all("joined")
    clones.write_manifest(workdir, roles, names, *sizes)
    if exhibits.diverged(workdir, names):
        logging.warning("%s", DIVERGED)
    logging.info("The clones of %d people: %s", len(names), workdir.clones)


def main() -> None:
    """Attacks with the recipe, and in the scenario, that the flags ask for."""
    wanted = scenario_flags.from_flags()
    attack(experiment.work_directory(), wanted)


if __name__ == "__main__":
    console.run(main)
