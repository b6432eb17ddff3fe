"""Shows the clones to the judges, draws the figures, and writes the report.

For example: python -m experiments.evaluate --workdir=runs/orl
"""

import functools

import jax
from absl import flags, logging

from experiments import console, drawing, exhibits, experiment, provenance
from mia_jax import recognizer, report
from mia_jax.attack import selection
from mia_jax.evidence import evaluation
from mia_jax.evidence.results import Evaluation
from mia_jax.faces.protocol import TARGET
from mia_jax.runtime import checkpoints, records, storage
from mia_jax.runtime.workdir import WorkDirectory

flags.adopt_module_key_flags(experiment)
_MEAN_OF = 8192  # The most unrelated faces to read for the mean face.
_PICK = 2  # Folded into the experiment's key, for the views by which an attacker picks a clone.


def evaluate(workdir: WorkDirectory) -> None:
    """Evaluates every attacked identity and writes `evaluation.json`, figures and report.

    Args:
      workdir: The work directory, with all recognizers and clones.

    Raises:
      UserError: If a judge is the target, or the clones are stale or of several recipes.
    """
    experiment.need_protocol(workdir)
    params = experiment.load_recognizer(workdir, TARGET)
    loaded, roles = experiment.open_experiment(workdir)
    panel = exhibits.make_judges(workdir, roles, params)
    names = exhibits.attacked(workdir, roles)
    attack = exhibits.origin(workdir, names, checkpoints.digest(params)).attack
    target = functools.partial(jax.jit(recognizer.logits), params)
    key = jax.random.fold_in(jax.random.key(roles.seed), _PICK)
    seen: dict[str, dict[str, evaluation.Examined]] = {judge.name: {} for judge in panel}
    with experiment.timed(workdir, "evaluate"):
        mean_face = experiment.auxiliary_faces(loaded, roles, _MEAN_OF).mean(axis=0)
        with console.progress(len(names), 0, "evaluate", "person") as bar:
            for name in names:
                shown = exhibits.gather(workdir, loaded, roles, names, name, mean_face)
                place = roles.classes[TARGET].index(name)
                robust = selection.robust_scores(
                    recognizer.logits, params, shown.clones, place, key
                )
                examined = evaluation.examine(name, shown, target, place, panel, robust)
                for judge, what in examined.items():
                    seen[judge][name] = what
                bar.update()
                logging.info("%s is scored", name)
        judgements = {
            judge.name: evaluation.judge_all(judge, seen[judge.name], roles.seed) for judge in panel
        }
    result = provenance.complete(workdir, loaded, roles, attack, names, judgements)
    logging.info("Drawing the figures")
    pictures = drawing.draw(workdir, loaded, roles, result, seen[panel[0].name])
    write(workdir, result, pictures)


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
    page = report.render(result, experiment.seconds(workdir), pictures)
    storage.write_bytes(workdir.report, page.encode())
    for name, found in result.judges.items():
        logging.info(
            "Rank-1 by the judge %s: clones %.3f, un-attacked seeds %.3f, mean face %.3f, chance "
            "%.3f, real photographs %.3f",
            name,
            found.mean.rank1.value,
            found.controls.seeds.rank1.value,
            found.controls.mean_face.rank1.value,
            found.chance.rank1,
            found.ceiling.rank1.value,
        )
    logging.info("The report: %s", workdir.report)


def finished(workdir: WorkDirectory) -> bool:
    """Tells whether the clones that lie in the work directory are evaluated already."""
    if not (workdir.report.exists() and workdir.evaluation.exists()):
        return False
    result = records.read(workdir.evaluation, Evaluation)
    _, roles = experiment.open_experiment(workdir)
    names = exhibits.attacked(workdir, roles)
    facts = provenance.all_recognizers(workdir, roles)
    return (
        tuple(result.people) == names
        and result.attack == exhibits.origin(workdir, names, facts[TARGET].digest).attack
        and result.recognizers == facts
    )


def main() -> None:
    """Evaluates the work directory."""
    evaluate(experiment.work_directory())


if __name__ == "__main__":
    console.run(main)
