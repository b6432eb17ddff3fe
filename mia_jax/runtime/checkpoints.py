"""Pytrees of arrays on disk: a recognizer's weights, and the state of a training under way."""

import hashlib
import math
import pathlib
import re
import shutil
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from mia_jax.runtime import bounds
from mia_jax.runtime.errors import MissingError, UserError

# A step's directory is named by its number; orbax appends its own mark until it is whole.
_STEP = re.compile(r"[0-9]{8,}")
_UNFINISHED = re.compile(r"[0-9]{8,}\.orbax-checkpoint-tmp.*")


def save_checkpoint(directory: pathlib.Path, tree: Any) -> None:
    """Writes a pytree of arrays whole, in place of what was there.

    Where several processes work as one, all of them call it.

    Args:
      directory: Where.
      tree: The arrays, the same on all devices.
    """
    # As numpy arrays they fit any number of devices that may read them.
    arrays = jax.tree.map(np.asarray, tree)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(directory, arrays, force=True)


def restore_checkpoint(directory: pathlib.Path, like: Any) -> Any:
    """Reads a pytree of arrays.

    Args:
      directory: Where.
      like: A pytree of the same structure, shapes and types: arrays or `jax.ShapeDtypeStruct`.

    Returns:
      The arrays, in host memory.

    Raises:
      MissingError: If there is no checkpoint.
      UserError: If the checkpoint does not fit or is damaged.
    """
    if not directory.is_dir():
        raise MissingError(f"{directory} holds no checkpoint")
    unreadable = f"{directory} is not a readable checkpoint: delete it to redo it"
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            about = checkpointer.metadata(directory).item_metadata.tree
            found = _shapes(about)
        except Exception as error:  # orbax, json and tensorstore each have their own.
            raise UserError(unreadable) from error
        expected = _shapes(like)
        for name in sorted({*expected, *found}):
            if expected.get(name) != found.get(name):
                raise UserError(
                    f"the checkpoint {directory} does not fit the model: {name} has the shape "
                    f"{found.get(name)} there, and {expected.get(name)} is needed"
                )
        for name, leaf in _leaves(about).items():
            bounds.check_elements(f"{directory} ({name})", leaf.shape)
            chunk = getattr(leaf.storage, "chunk_shape", None) or ()
            if math.prod(chunk) > math.prod(leaf.shape):  # It is unpacked whole.
                raise UserError(f"{directory} packs {name} in pieces of {math.prod(chunk)} numbers")
        try:
            empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
            return checkpointer.restore(directory, empty)
        except Exception as error:
            raise UserError(unreadable) from error


def steps_of(directory: pathlib.Path) -> list[pathlib.Path]:
    """Lists the whole checkpoints below a directory, each named by its step, the last one last."""
    steps = [path for path in directory.glob("*") if _is_step(path)]
    return sorted(steps, key=lambda path: int(path.name))


def save_step(directory: pathlib.Path, step: int, tree: Any) -> None:
    """Writes the checkpoint of a step, then removes those of earlier steps.

    What is no checkpoint of a step, such as a file that a user put there, is left alone.

    Args:
      directory: Where the checkpoints of this training lie.
      step: The step.
      tree: The arrays.
    """
    save_checkpoint(directory / f"{step:08d}", tree)
    if jax.process_index():
        return
    for path in directory.iterdir():
        earlier = _is_step(path) and int(path.name) < step
        if earlier or (path.is_dir() and _UNFINISHED.fullmatch(path.name)):
            shutil.rmtree(path)


def digest(tree: Any) -> str:
    """Tells whether two pytrees hold the same arrays: a recognizer trained anew has another one.

    Args:
      tree: A pytree of arrays; named tuples count as the dictionaries they are stored as.

    Returns:
      The SHA-256 of the paths, shapes, types and bytes of its leaves, 64 hexadecimal digits.
    """
    total = hashlib.sha256()
    for path, leaf in sorted(_leaves(tree).items()):
        array = np.asarray(leaf)
        total.update(f"{path}\0{array.dtype.str}\0{array.shape}\0".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _is_step(path: pathlib.Path) -> bool:
    """Tells whether this is the whole checkpoint of a step."""
    return path.is_dir() and bool(_STEP.fullmatch(path.name))


def _leaves(tree: Any) -> dict[str, Any]:
    """Returns the leaves by their paths, such as L7/kernel.

    A named tuple comes back from a checkpoint as a dictionary: their paths must read the same.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each leaf, by its path."""
    return {path: leaf.shape for path, leaf in _leaves(tree).items()}
