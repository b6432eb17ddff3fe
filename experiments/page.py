"""The report's page, from what lies in the work directory."""

from collections.abc import Mapping

from experiments import experiment
from mia_jax import report
from mia_jax.evidence.game import Games
from mia_jax.evidence.results import Evaluation
from mia_jax.evidence.study import Study
from mia_jax.evidence.successful_attacks import SuccessfulAttacks
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import MissingError
from mia_jax.runtime.ledger import Asked
from mia_jax.runtime.workdir import WorkDirectory


def write(workdir: WorkDirectory, result: Evaluation, pictures: Mapping[str, bytes]) -> None:
    """Writes the report of an evaluation, with the leakage game and observers if there are any.

    Args:
      workdir: The work directory.
      result: The evaluation.
      pictures: PNG files by name.
    """
    games = records.read(workdir.game, Games) if workdir.game.exists() else None
    path = workdir.quiz_results
    study = records.read(path, Study) if path.exists() else None
    path = workdir.successful_attacks
    successes = records.read(path, SuccessfulAttacks) if path.exists() else None
    path = workdir.asked
    asked = records.read(path, Asked) if path.exists() else None
    seconds = experiment.seconds(workdir)
    page = report.render(result, seconds, pictures, games, study, successes, asked).encode()
    if not workdir.report.exists() or workdir.report.read_bytes() != page:
        storage.write_bytes(workdir.report, page)


def stored(workdir: WorkDirectory) -> tuple[Evaluation, dict[str, bytes]] | None:
    """Reads an evaluation and its pictures again.

    Args:
      workdir: The work directory.

    Returns:
      What `write` takes; None where nothing was evaluated.

    Raises:
      UserError: If it cannot be read, or a picture is missing.
    """
    if not workdir.evaluation.exists():
        return None
    result = records.read(workdir.evaluation, Evaluation)
    paths = {name: workdir.figures / f"{name}.png" for name in report.picture_names(result)}
    for path in paths.values():
        if not path.exists():
            raise MissingError(
                f"{path} is missing: run python -m experiments.evaluate with the same --workdir"
            )
    return result, {name: path.read_bytes() for name, path in paths.items()}
