"""Compares methods: the same recognizer, people, budget and judges, one row for each.

For example: python -m experiments.compare --workdir=runs/orl --methods=paper,best,differences

Each method is stored as soon as it is done: an interrupted run goes on with the next one. See
`experiments/methods.py` for the methods, and docs/compare.md.
"""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags, logging

from experiments import (
    asked_target,
    attack,
    console,
    experiment,
    identities,
    methods,
    one_person,
    options,
    panel,
    provenance,
    recipe,
    scenario_flags,
    scenarios,
)
from experiments.one_person import Made
from experiments.scenarios import Method, Prepared, World
from mia_jax.attack.masks import outside
from mia_jax.evidence import comparison
from mia_jax.evidence.comparison import Attempt, Comparison, Grounds, Looks
from mia_jax.evidence.game import JudgeFacts
from mia_jax.evidence.judges import Judge
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.report import comparison as report
from mia_jax.report import primitives
from mia_jax.runtime import checkpoints, records, storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

for _module in (experiment, identities, panel):
    flags.adopt_module_key_flags(_module)
for _name in ("restarts", "auxiliary_limit", "queries"):
    flags.declare_key_flag(_name)
_METHODS = flags.DEFINE_list(
    "methods", [], "Names of experiments/methods.py with commas between them; by default all."
)
_COPY_QUERIES = flags.DEFINE_integer(
    "copy_queries",
    None,
    "Images in all that a method may ask about to copy the model, since a copy serves everybody; "
    "by default as many as --queries.",
    1,
)
DEFAULTS = {"restarts": 2, "identities": "all"}  # Where no flag says otherwise.


class Stage(NamedTuple):
    """What every method is tried on, and by whom it is judged.

    Attributes:
      workdir: The work directory.
      world: Whom and what an attacker faces.
      names: The people who are attacked.
      classes: The target's, in order.
      judges: Who looks.
      photographs: By person, real ones that trained the target.
      apart: By person, the spread of those, to the first judge.
      truth: By person, the photograph that trained nothing, of which the white box knows a part.
      ceiling: By person, all such photographs.
      eyes: Digest of what the judges' word depends on.
    """

    workdir: WorkDirectory
    world: World
    names: tuple[str, ...]
    classes: tuple[str, ...]
    judges: Sequence[Judge]
    photographs: Mapping[str, np.ndarray]
    apart: Mapping[str, float]
    truth: Mapping[str, np.ndarray]
    ceiling: Mapping[str, np.ndarray]
    eyes: str

    @property
    def hidden(self) -> np.ndarray:
        """Eyes, nose and mouth, `[height, width, 1]` booleans."""
        return ~np.asarray(outside(self.world.auxiliary.shape[1:]))

    def look(self, images: Mapping[str, np.ndarray]) -> Looks:
        """Shows images of everybody to all judges."""
        return comparison.look(self.judges, images, self.apart, self.truth, self.hidden)


def check_flags() -> None:
    """Refuses flags that have no effect here.

    Raises:
      UserError: If one was given.
    """
    for module in (recipe, scenario_flags):
        for flag in flags.FLAGS.get_flags_for_module(module.__name__):
            if flag.present and flag.name != "queries":
                raise UserError(f"--{flag.name} has no effect here: --methods names whole methods")


def within_budget(wanted: Method) -> Method:
    """Gives a method the queries that the flags ask for, if they do; a seed keeps its own few."""
    if wanted.seeding is not None:
        return wanted
    queries = options.value_of("queries") if flags.FLAGS["queries"].present else wanted.queries
    if scenarios.SCENARIOS[wanted.scenario].copies:
        queries = _COPY_QUERIES.value or queries
    return dataclasses.replace(wanted, queries=queries)


def set_stage(workdir: WorkDirectory, loaded: Faces, roles: Protocol) -> Stage:
    """Gathers what every method is tried on.

    Args:
      workdir: The work directory, with all recognizers.
      loaded: All faces.
      roles: Who is who.

    Returns:
      The stage.

    Raises:
      UserError: If a judge does not work, or nobody is known to the first.
    """
    chosen = identities.chosen(roles)  # Refused before a judge looks at anything.
    attacked = asked_target.through(
        workdir, experiment.load_recognizer(workdir, TARGET), asked_target.ATTACK
    )
    asked = panel.from_flags(loaded, roles)
    if attacked.remote is None:  # One that may only be asked is asked for nothing else here.
        panel.check_strangers(loaded, roles, chosen, attacked, asked.embedders)
    judges = panel.make_judges(workdir, loaded, roles, attacked.params, asked)
    names = tuple(name for name in chosen if name in judges[0].people)
    if not names:
        raise UserError(f"the judge {judges[0].name} knows none of the people to attack")
    auxiliary = experiment.auxiliary_faces(loaded, roles, attack.AUXILIARY_LIMIT.value)
    ceiling = {name: experiment.photographs_of(loaded, name, roles.test) for name in names}
    photographs = {
        name: experiment.photographs_of(loaded, name, roles.training[TARGET]) for name in names
    }
    spreads = {name: comparison.spread(judges[0], each) for name, each in photographs.items()}
    people = {judge.name: judge.people for judge in judges}
    return Stage(
        workdir=workdir,
        world=attack.world_of(loaded, roles, attacked, auxiliary),
        names=names,
        classes=tuple(roles.classes[TARGET]),
        judges=judges,
        photographs=photographs,
        apart={name: spread for name, spread in spreads.items() if spread},
        truth={name: images[0] for name, images in ceiling.items()},
        ceiling=ceiling,
        eyes=records.digest(people, panel.digests_of(workdir, asked)),
    )


def try_method(stage: Stage, name: str, wanted: Method) -> pathlib.Path:
    """Attacks everybody with a method, or finds what an earlier run stored.

    Args:
      stage: What it is tried on.
      name: The method's.
      wanted: The method.

    Returns:
      The path without its ending: `.json` holds the attempt, `.npz` clones and seeds.

    Raises:
      UserError: If the method cannot be tried here.
    """
    plan = records.read(stage.workdir.protocol, experiment.Plan)
    facts = attack.facts_of(wanted, plan)
    weights = checkpoints.digest(stage.world.attacked.params)
    digest = records.digest(facts, weights, stage.eyes, stage.names)
    path = stage.workdir.comparison / f"{name}-{digest}"
    if path.with_suffix(".json").exists():
        return path
    started = time.perf_counter()
    if stage.world.attacked.remote is not None:
        asked_target.extend(stage.workdir, wanted.asks(len(stage.names)))
    prepared = scenarios.prepare(stage.world, wanted)
    made = attack_all(stage, name, prepared)
    seconds = time.perf_counter() - started
    images = {person: np.asarray(each.clones.images) for person, each in made.items()}
    seeds = np.stack([np.asarray(each.clones.seeds) for each in made.values()])
    storage.write_arrays(
        path.with_suffix(".npz"), {"clones": np.stack([*images.values()]), "seeds": seeds}
    )
    attempt = Attempt(
        attack=facts,
        scenario=wanted.scenario,
        needs=scenarios.SCENARIOS[wanted.scenario].needs,
        weights=weights,
        queries=float(np.mean([each.queries for each in made.values()])),
        shared_queries=prepared.queries,
        agreement=prepared.agreement,
        gradients=float(np.mean([each.gradients for each in made.values()])),
        seconds=round(seconds, 2),
        looks=stage.look(images),
    )
    records.write(path.with_suffix(".json"), attempt)
    return path


def attack_all(stage: Stage, name: str, prepared: Prepared) -> dict[str, Made]:
    """Attacks everybody: on weights one person for each device at a time, by asking one by one.

    Args:
      stage: Whom.
      name: The method's.
      prepared: The attack.

    Returns:
      By person, clones and what they cost.
    """
    made, key = dict[str, Made](), stage.world.key
    with console.progress(len(stage.names), 0, name, "person") as bar:
        if prepared.searching is None:
            for group in attack.on_people(prepared, key, stage.names, stage.classes):
                for person, clones in group.items():
                    made[person] = Made(clones, 0, int(clones.iterations.sum()))
                bar.update(len(group))
            return made
        numbers = jnp.arange(attack.RESTARTS.value)
        for person in stage.names:
            place = stage.classes.index(person)
            made[person] = one_person.attack_one(prepared, key, place, numbers)
            bar.update()
    return made


def grounds(stage: Stage, method_path: pathlib.Path) -> Grounds:
    """Looks at what attempts are held against, or finds what an earlier run stored.

    Args:
      stage: The stage.
      method_path: Of the method whose seeds, and whose clones of others, are looked at.

    Returns:
      The null rows, and real photographs.
    """
    path = stage.workdir.comparison / f"nulls-of-{method_path.name}.json"
    if path.exists():
        return records.read(path, Grounds)
    mean = stage.world.auxiliary.mean(0)
    arrays = storage.read_arrays(method_path.with_suffix(".npz"))
    others = np.roll(arrays["clones"], 1, axis=0)
    known = {name: np.where(stage.hidden, mean, each)[None] for name, each in stage.truth.items()}
    found = Grounds(
        nulls={
            comparison.MEAN_FACE: stage.look({name: mean[None] for name in stage.names}),
            comparison.SEEDS: stage.look(dict(zip(stage.names, arrays["seeds"], strict=True))),
            comparison.OTHERS: stage.look(dict(zip(stage.names, others, strict=True))),
            comparison.KNOWN_PART: stage.look(known),
        },
        ceiling=stage.look(stage.ceiling),
    )
    records.write(path, found)
    return found


def best_clones(stage: Stage, path: pathlib.Path, attempt: Attempt) -> dict[str, np.ndarray]:
    """Picks the clone of each person that the first judge ranks best."""
    readings = attempt.looks.readings[stage.judges[0].name]
    clones = storage.read_arrays(path.with_suffix(".npz"), ["clones"])["clones"]
    return {
        name: each[int(np.argmin(readings[name].ranks))]
        for name, each in zip(stage.names, clones, strict=True)
    }


def main() -> None:
    """Tries all methods, and writes the table."""
    check_flags()
    wanted = {name: within_budget(each) for name, each in methods.chosen(_METHODS.value).items()}
    workdir = experiment.work_directory()
    if jax.process_count() > 1:
        raise UserError("the comparison is the work of one process: leave --distributed out")
    experiment.need_protocol(workdir)
    loaded, roles = experiment.open_experiment(workdir)
    stage = set_stage(workdir, loaded, roles)
    paths, left_out = {}, {}
    for name, each in wanted.items():
        try:
            paths[name] = try_method(stage, name, each)
        except UserError as error:
            logging.warning("%s is left out: %s", name, error)
            left_out[name] = str(error)
    if not paths:
        raise UserError(f"none of --methods={','.join(wanted)} can be tried here")
    attempts = {n: records.read(path.with_suffix(".json"), Attempt) for n, path in paths.items()}
    lead = "best" if "best" in paths else next(iter(paths))
    ground = grounds(stage, paths[lead])
    found = Comparison(
        people=stage.names,
        restarts=attack.RESTARTS.value,
        judges={
            judge.name: JudgeFacts(len(judge.people), tuple(sorted(judge.shares)))
            for judge in stage.judges
        },
        nulls={
            name: comparison.row(looks, None, roles.seed) for name, looks in ground.nulls.items()
        },
        ceiling=comparison.row(ground.ceiling, None, roles.seed),
        rows={n: comparison.row(each.looks, each, roles.seed) for n, each in attempts.items()},
        left_out=left_out,
        device=jax.devices()[0].device_kind,
        dataset=provenance.dataset_facts(workdir, loaded, roles),
        provenance=provenance.provenance(),
    )
    strip = report.strip(
        {name: images[0] for name, images in stage.photographs.items()},
        {name: best_clones(stage, path, attempts[name]) for name, path in paths.items()},
    )
    home, text = workdir.comparison, report.markdown(found)
    records.write(home / "comparison.json", found)
    storage.write_bytes(home / "comparison.md", text.encode())
    page = report.page(found, primitives.png(strip))
    storage.write_bytes(home / "comparison.html", page.encode())
    print(text)
    logging.info("The page: %s", home / "comparison.html")


if __name__ == "__main__":
    for _name, _value in DEFAULTS.items():
        flags.FLAGS.set_default(_name, _value)
    console.run(main)
