"""What a result came from, and what it cost: recognizers, settings, flags, versions, faces."""

import contextlib
import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import experiment
from mia_jax.evidence.results import (
    Agreement,
    AttackFacts,
    Conclusion,
    Cost,
    DatasetFacts,
    Evaluation,
    Judgement,
    PersonFacts,
    Provenance,
    Verdict,
)
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.recognizer import RecognizerFacts, training
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

# Flags that say where or how fast, and nothing of what is computed.
_UNRECORDED = (
    "compilation_cache",
    "coordinator_address",
    "distributed",
    "download",
    "fail_on",
    "heartbeat_timeout",
    "num_processes",
    "platform",
    "process_id",
    "workdir",
)
_PACKAGES = (
    "mia_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "orbax-checkpoint",
    "dlib-bin",
    "face_recognition_models",
)


def versions() -> dict[str, str]:
    """Returns the versions of the packages on which results depend."""
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found | {"python": sys.version.split()[0]}


def git(*arguments: str) -> str | None:
    """Asks git about this checkout.

    Args:
      *arguments: What to ask.

    Returns:
      The answer, stripped; None outside of a checkout.
    """
    here = pathlib.Path(__file__).parent
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    return None


def recorded_flags() -> dict[str, Any]:
    """Returns this project's flags that say what was computed."""
    modules = flags.FLAGS.flags_by_module_dict()
    ours = [
        flag
        for module, members in modules.items()
        if "experiments" in module or module.endswith(".py")
        for flag in members
    ]
    return {
        flag.name: flag.value
        for flag in sorted(ours, key=lambda flag: flag.name)
        if flag.name not in _UNRECORDED
    }


def provenance() -> Provenance:
    """Returns what figures that are made now can be traced to."""
    status = git("status", "--porcelain")
    return Provenance(
        versions=versions(),
        commit=git("rev-parse", "HEAD"),
        clean=None if status is None else not status,
        flags=recorded_flags(),
    )


def recognizer_facts(workdir: WorkDirectory, role: str) -> RecognizerFacts:
    """Reads what a recognizer is.

    Args:
      workdir: The work directory.
      role: "target", or the name of an evaluator.

    Returns:
      Its facts.

    Raises:
      MissingError: If it is not trained yet.
    """
    return records.read(workdir.recognizer(role) / "recognizer.json", RecognizerFacts)


def training_settings(workdir: WorkDirectory, role: str) -> training.Settings:
    """Reads how a recognizer was trained.

    Args:
      workdir: The work directory.
      role: "target", or the name of an evaluator.

    Returns:
      Its settings.

    Raises:
      MissingError: If it is not trained yet.
      UserError: If it was trained elsewhere.
    """
    settings = recognizer_facts(workdir, role).settings
    if settings is None:
        raise UserError(
            f"the {role} in {workdir.root} was trained elsewhere, and this needs one that can be "
            "trained again: choose another --workdir"
        )
    return settings


def all_recognizers(workdir: WorkDirectory, roles: Protocol) -> dict[str, RecognizerFacts]:
    """Reads what every recognizer is, the target first."""
    return {role: recognizer_facts(workdir, role) for role in roles.classes}


def complete(
    workdir: WorkDirectory,
    loaded: Faces,
    roles: Protocol,
    attack: AttackFacts,
    diverged: bool,
    judgements: Mapping[str, Judgement],
    verdicts: Mapping[str, Verdict],
    conclusion: Conclusion,
    agreement: tuple[Agreement, ...],
    files: Mapping[str, str],
) -> Evaluation:
    """Adds to the judgements what was attacked, at what cost, on which faces.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who.
      attack: How the clones were made.
      diverged: Whether it ended above its beginning.
      judgements: What each judge says, by name.
      verdicts: What it comes to, by attacked person.
      conclusion: The same over all of them.
      agreement: How the judges agree.
      files: The digests of judges that are files, by name.

    Returns:
      The whole evaluation.
    """
    paths = {name: workdir.clones_of(name) for name in verdicts}
    updates = sum(int(storage.map_array(path, "iterations").sum()) for path in paths.values())
    gradients = updates * attack.gradients_per_iteration
    return Evaluation(
        judges=judgements,
        verdict=verdicts,
        conclusion=conclusion,
        agreement=agreement,
        people={
            name: PersonFacts(
                training_photographs=len(roles.training[TARGET][name]),
                iterations_to_90=_median(storage.map_array(path, "iterations_to_90")),
                iterations_to_99=_median(storage.map_array(path, "iterations_to_99")),
            )
            for name, path in paths.items()
        },
        recognizers=all_recognizers(workdir, roles),
        attack=attack,
        diverged=diverged,
        cost=Cost(
            gradient_evaluations=gradients,
            gradient_evaluations_per_restart=round(gradients / attack.restarts / len(verdicts), 1),
            device=jax.devices()[0].device_kind,
        ),
        dataset=dataset_facts(workdir, loaded, roles),
        provenance=with_files(provenance(), files),
    )


def with_files(found: Provenance, files: Mapping[str, str]) -> Provenance:
    """Adds judges that are files to the versions: by name, the digest of each."""
    named = {f"judge {name}": digest for name, digest in files.items()}
    return dataclasses.replace(found, versions={**found.versions, **named})


def dataset_facts(workdir: WorkDirectory, loaded: Faces, roles: Protocol) -> DatasetFacts:
    """Says what the faces of a work directory are."""
    _, auxiliary = experiment.auxiliary_photographs(loaded, roles)
    return DatasetFacts(
        name=records.read(workdir.protocol, experiment.Plan).faces.dataset,
        credit=loaded.credit,
        people=len(loaded.names),
        photographs=len(loaded.images),
        image_shape=tuple(loaded.images.shape[1:]),
        auxiliary_people=len(roles.auxiliary) if loaded.auxiliary is None else None,
        auxiliary_photographs=len(auxiliary),
    )


def _median(reached: np.ndarray) -> int | None:
    """Returns the median number of updates until a confidence was reached, None for never."""
    median = np.median(np.where(reached < 0, np.inf, reached))
    return int(median) if np.isfinite(median) else None
