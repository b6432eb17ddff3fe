"""What is looked at before anything is computed or written: whom to attack, who judges.

`experiment.open_experiment` and `admission.admit` call it as soon as people and photographs are
known. What needs neither is refused before: `scenario_flags.from_flags`, `train.settings`.
"""

from collections.abc import Sequence

from experiments import attack, beside, experiment, identities, panel, release_check
from mia_jax.faces import Faces
from mia_jax.faces.protocol import Protocol
from mia_jax.runtime.errors import UserError


def whole_run(loaded: Faces, roles: Protocol) -> None:
    """Refuses what a run from the target to the report would end at.

    Args:
      loaded: All faces.
      roles: Who is who.

    Raises:
      UserError: If somebody is not registered or has no photographs, a judge does not work, the
        release check could not fail, or nobody could judge the model of --beside too.
    """
    names = identities.chosen(roles)
    for name in names:
        if name not in roles.test:
            raise UserError(
                f"--identities names {name}, of whom --gallery_dir has no photographs: nobody "
                "could say whether a clone is like them"
            )
    judging(loaded, roles, names)
    people = experiment.people_of_null(loaded, roles)
    release_check.check_power(people, len(names), attack.RESTARTS.value)


def judging(loaded: Faces, roles: Protocol, names: Sequence[str]) -> panel.Wanted:
    """Refuses an evaluation that would end without what the flags ask for.

    Args:
      loaded: All faces.
      roles: Who is who.
      names: Who is attacked.

    Returns:
      Who is to judge.

    Raises:
      UserError: If a judge does not work, the release check could not fail, or nobody could judge
        the model of --beside too.
    """
    wanted = panel.from_flags(loaded, roles)
    release_check.check_judges(wanted)
    beside.check(names, [each.name for each in wanted.embedders], len(loaded.names))
    return wanted
