"""What a result came from, and what it cost: settings, flags, versions, faces, time."""

import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import jax
from absl import flags

from experiments import experiment
from mia_jax import faces
from mia_jax.faces import protocol
from mia_jax.runtime import storage
from mia_jax.runtime.storage import WorkDirectory

# Flags that say where or how fast, and nothing of what is computed.
_UNRECORDED = (
    "compilation_cache",
    "coordinator_address",
    "distributed",
    "download",
    "heartbeat_timeout",
    "num_processes",
    "platform",
    "process_id",
    "workdir",
)
_PACKAGES = ("mia_jax", "jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint")


def versions() -> dict[str, str]:
    """Returns the versions of the packages on which results depend."""
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found | {"python": sys.version.split()[0]}


def commit() -> str | None:
    """Returns the commit of this checkout, or None outside of one."""
    here = pathlib.Path(__file__).parent
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(here), "rev-parse", "HEAD"]
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


def facts(
    workdir: WorkDirectory,
    recipe: Mapping[str, Any],
    names: Sequence[str],
    loaded: faces.Faces,
    roles: protocol.Protocol,
) -> dict[str, Any]:
    """Describes the experiment: what it cost, with which settings, on which faces.

    Args:
      workdir: The work directory.
      recipe: The recipe that is stored with the clones.
      names: The attacked people.
      loaded: All faces.
      roles: Who is who.

    Returns:
      The part of `evaluation.json` that the evaluation itself does not know.
    """
    seconds = storage.read_json(workdir.seconds)
    views = max(recipe["views_per_iteration"], 1)
    taken = sum(int(storage.map_array(workdir.clones_of(n), "iterations").sum()) for n in names)
    clones = recipe["restarts"] * len(names)
    auxiliary = sum(len(loaded.indices_of(name)) for name in roles.auxiliary)
    about = {
        role: storage.read_json(workdir.recognizer(role) / "recognizer.json")
        for role in experiment.ROLES
    }
    accuracy: dict[str, Any] = {"photographs": {}}
    for role, row in about.items():
        accuracy[role] = row["held_out_accuracy"]
        accuracy[f"{role}_interval"] = row["held_out_accuracy_interval"]
        accuracy["photographs"][role] = row["held_out_photographs"]
    return {
        "classes": {role: row["classes"] for role, row in about.items()},
        "restarts": recipe["restarts"],
        "held_out_accuracy": accuracy,
        "recipe": recipe,
        "cost": {
            "iterations": recipe["iterations"],
            "gradient_evaluations_per_restart": round(taken * views / clones, 1),
            "gradient_evaluations": taken * views,
            "device": jax.devices()[0].device_kind,
        },
        "dataset": {
            "name": storage.read_json(workdir.protocol)["faces"]["dataset"],
            "credit": loaded.credit,
            "people": len(loaded.names),
            "photographs": len(loaded.images),
            "image_size": list(loaded.images.shape[1:]),
            "auxiliary_people": len(roles.auxiliary),
            "auxiliary_photographs": auxiliary,
        },
        "training": about[protocol.TARGET]["settings"],
        "seconds": {**seconds, "attack_per_person": round(seconds["attack"] / len(names), 2)},
        "versions": versions(),
        "commit": commit(),
        "flags": recorded_flags(),
    }
