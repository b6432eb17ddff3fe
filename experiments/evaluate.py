"""Shows the clones to the judges, draws the figures, and writes the report.

For example: python -m experiments.evaluate --workdir=runs/orl
"""

import functools
from collections.abc import Sequence

from absl import flags, logging

from experiments import (
    asked_target,
    beside,
    checks,
    console,
    drawing,
    exhibits,
    experiment,
    likely,
    page,
    panel,
    provenance,
    release_check,
    successful_attacks,
)
from experiments.trained import Trained
from mia_jax.attack import selection
from mia_jax.evidence import agreement, evaluation, examination, verdict
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import Evaluation
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.report import verdicts as written
from mia_jax.report.sentences import DIVERGED
from mia_jax.runtime import checkpoints, records, storage, workload
from mia_jax.runtime.workdir import WorkDirectory

for _module in (experiment, panel, release_check, beside, asked_target):
    flags.adopt_module_key_flags(_module)


def evaluate(workdir: WorkDirectory, wanted: panel.Wanted) -> None:
    """Evaluates every attacked identity and writes `evaluation.json`, figures and report.

    Args:
      workdir: The work directory, with all recognizers and clones.
      wanted: Who is to judge.

    Raises:
      UserError: If a judge is the target or does not work, or the clones are stale or of several
        recipes.
    """
    target = experiment.load_recognizer(workdir, TARGET)
    target = asked_target.through(workdir, target, asked_target.EVALUATION)
    loaded, roles = experiment.open_experiment(workdir)
    names, asked = attacked(workdir, roles)
    wanted = wanted._replace(evaluators=tuple(n for n in wanted.evaluators if n in asked))
    attack = exhibits.origin(workdir, names, checkpoints.digest(target.params)).attack
    auxiliary = experiment.attackers_people(loaded, roles)
    people = experiment.people_of_null(loaded, roles)
    release_check.check_power(people, len(names), attack.restarts)
    views = asked_target.views_of(workdir, target, roles, names, attack.restarts)
    panel.check_strangers(loaded, roles, names, target, wanted.embedders)
    with experiment.timed(workdir, "evaluate"):
        successful_attacks.write(workdir, loaded, roles, names, target, wanted.embedders)
        judges = panel.make_judges(workdir, loaded, roles, target.params, wanted)
        seen = show(workdir, loaded, roles, names, target, judges, views)
        impostors = {judge.name: panel.strangers_of(judge, loaded, roles) for judge in judges}
        look = None if target.predict else target.look()
        likely.say(workdir, loaded, roles, names, look, judges, impostors)
        index = agreement.adversariality(judges, seen, impostors)
        judgements = {
            judge.name: evaluation.judge_all(
                *(judge, seen[judge.name], impostors[judge.name], index[judge.name])
            )
            for judge in judges
        }
        logging.info("Testing what was seen, and what the run would have found")
        doubts = {n: ["the attack diverged"] for n in names if exhibits.diverged(workdir, [n])}
        verdicts, conclusion = verdict.verdicts(
            judges, seen, judgements, roles.seed, auxiliary, doubts
        )
    result = provenance.complete(
        *(workdir, loaded, roles, attack, exhibits.diverged(workdir, names)),
        *(judgements, verdicts, conclusion),
        agreement.agreements(seen),
        panel.files_of(wanted.embedders),
    )
    logging.info("Drawing the figures")
    pictures = drawing.draw(workdir, loaded, roles, result, seen[judges[0].name])
    write(workdir, result, pictures)


def attacked(workdir: WorkDirectory, roles: Protocol) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lists whose clones are judged, and by whom: the first judge knows them all.

    Args:
      workdir: The work directory.
      roles: Who is who.

    Returns:
      The people, and those of the judges whom the flags ask for who know any of them.

    Raises:
      MissingError: If there are no clones.
      UserError: If a flag names no judge.
    """
    asked = panel.names(roles)
    names = exhibits.attacked(workdir, roles, panel.known(roles, asked[0]))
    idle = [judge for judge in asked if not {*names} & {*panel.known(roles, judge)}]
    for judge in idle:
        logging.warning("The judge %s knows none of the people attacked: it is not asked", judge)
    return names, tuple(judge for judge in asked if judge not in idle)


def show(
    workdir: WorkDirectory,
    loaded: Faces,
    roles: Protocol,
    names: Sequence[str],
    target: Trained,
    judges: Sequence[Judge],
    views: int = selection.VIEW_COUNT,
) -> dict[str, dict[str, examination.Examined]]:
    """Shows everybody's clones, and what to compare them with, to all judges.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who.
      names: The attacked people.
      target: The attacked recognizer.
      judges: Who is asked.
      views: Of each clone, by which an attacker picks one, where the target may only be asked.

    Returns:
      For each judge's name and attacked person whom the judge knows, what was seen.
    """
    seen: dict[str, dict[str, examination.Examined]] = {judge.name: {} for judge in judges}
    look = functools.partial(workload.in_batches, target.look())
    galleries = {judge.name: panel.gallery_of(judge, loaded, roles) for judge in judges}
    mean_face = exhibits.mean_face(loaded, roles)
    with console.progress(len(names), 0, "evaluate", "person") as bar:
        for name in names:
            shown = exhibits.gather(workdir, loaded, roles, names, name, mean_face)
            place = roles.classes[TARGET].index(name)
            robust = exhibits.robust_scores(target, shown.clones, place, roles.seed, views)
            asked = [judge for judge in judges if name in judge.people]
            examined = examination.examine(name, shown, look, place, asked, robust, galleries)
            for judge, what in examined.items():
                seen[judge][name] = what
            bar.update()
            logging.info("%s is scored", name)
    return seen


def write(workdir: WorkDirectory, result: Evaluation, pictures: dict[str, bytes]) -> None:
    """Writes figures, evaluation and report, and says what came out.

    Args:
      workdir: The work directory.
      result: The evaluation.
      pictures: PNG files by name.
    """
    for name, data in pictures.items():
        storage.write_bytes(workdir.figures / f"{name}.png", data)
    records.write(workdir.evaluation, result)
    asked_target.write(workdir)
    page.write(workdir, result, pictures)
    if result.diverged:
        logging.warning("%s", DIVERGED)
    for name, found in result.judges.items():
        logging.info(
            "Rank-1 by the judge %s: clones %.3f (sets %.3f), un-attacked seeds %.3f, mean face "
            "%.3f, chance %.3f, real photographs %.3f",
            name,
            found.mean.rank1.value,
            found.sets.clones.rank1.value,
            found.controls.seeds.rank1.value,
            found.controls.mean_face.rank1.value,
            found.chance.rank1,
            found.ceiling.rank1.value,
        )
    for name in result.verdict:
        logging.info("The verdict for %s", written.person(result, name))
    logging.info("%s", written.headline(result).title)
    logging.info("The report: %s", workdir.report)


def conclude(workdir: WorkDirectory, judges: panel.Wanted) -> None:
    """Evaluates, where that is not done already, and ends as a release check.

    Args:
      workdir: The work directory, with clones.
      judges: Who is to judge.
    """
    if finished(workdir, judges):
        logging.info("The evaluation is finished already: %s", workdir.report)
    else:
        evaluate(workdir, judges)
    beside.say(workdir)
    release_check.end(workdir)


def finished(workdir: WorkDirectory, wanted: panel.Wanted) -> bool:
    """Tells whether the clones in the work directory are evaluated already, by these judges."""
    if not (workdir.report.exists() and workdir.evaluation.exists()):
        return False
    result = records.read(workdir.evaluation, Evaluation)
    _, roles = experiment.open_experiment(workdir)
    names, judges = attacked(workdir, roles)
    files = panel.files_of(wanted.embedders)
    facts = provenance.all_recognizers(workdir, roles)
    return (
        tuple(result.people) == names
        and tuple(result.judges) == judges
        and result.attack == exhibits.origin(workdir, names, facts[TARGET].digest).attack
        and result.recognizers == facts
        and result.provenance == provenance.with_files(result.provenance, files)
    )


def main() -> None:
    """Evaluates the work directory."""
    workdir = experiment.work_directory()
    experiment.need_protocol(workdir)
    loaded, roles = experiment.open_experiment(workdir)
    names, _ = attacked(workdir, roles)
    wanted = checks.judging(loaded, roles, names)
    evaluate(workdir, wanted)
    beside.say(workdir)
    release_check.end(workdir)


if __name__ == "__main__":
    console.run(main)
