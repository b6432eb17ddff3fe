"""Models that a Python function makes: of JAX, or modules of PyTorch or Keras."""

import inspect
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.importers import batches, keras, torch
from mia_jax.recognizer.importers.model import Imported
from mia_jax.runtime import storage
from mia_jax.runtime.errors import MissingError, UserError


def load(
    function: Callable[..., Any],
    where: str,
    image_shape: Sequence[int],
    weights: str | os.PathLike[str] | None = None,
) -> Imported:
    """Calls a user's function for a model.

    Args:
      function: Without arguments, or of the arrays of `weights` by name, to `(apply_fn, params)`
        for pictures `[n, height, width, channels]`; or without arguments to a `torch.nn.Module`,
        which gets `weights`, or a `keras.Model`; or, where no weights are given, from pictures to
        `[n, outputs]`: a model that may only be asked.
      where: What to call it in an error.
      image_shape: Height, width and channels of its pictures.
      weights: A file of arrays: .safetensors or .npz; for a module of PyTorch also .pt or .pth.

    Returns:
      The model.

    Raises:
      MissingError: If the file is missing.
      UserError: If the function fails or returns something else, or the file is of another kind.
    """
    takes_arguments = any(
        each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        for each in inspect.signature(function).parameters.values()
    )
    if takes_arguments and weights is None:
        return asking(function)
    made = function(read_arrays(weights)) if takes_arguments and weights else function()
    height, width, channels = image_shape
    return batches.separate(
        _of(made, where, image_shape, weights), where, (height, width, channels)
    )


def _of(
    made: Any, where: str, image_shape: Sequence[int], weights: str | os.PathLike[str] | None
) -> Imported:
    """Makes a function of what the user's function made."""
    if torch.is_module(made):
        filled = made if weights is None else torch.fill(made, weights, where)
        return torch.of_module(filled, image_shape, where)
    if any(kind.__module__.startswith("keras.") for kind in type(made).__mro__):
        if weights is not None:
            raise UserError(f"--weights={weights} is not for a model of Keras: save it as .keras")
        return keras.of_model(made, where)
    if not (isinstance(made, tuple) and len(made) == 2 and callable(made[0])):
        raise UserError(
            f"{where} returned a {type(made).__name__}: a tuple (apply_fn, params), a "
            "torch.nn.Module or a keras.Model is needed"
        )
    return Imported(made[0], made[1], (None, None, None))


def asking(answer: Callable[[np.ndarray], Any]) -> Imported:
    """Makes a model of a function that answers, such as a service's; JAX sees nothing of it.

    Args:
      answer: From pictures `[n, height, width, channels]` float32 of NumPy to `[n, outputs]`.

    Returns:
      The model, without weights. Nothing was asked yet.
    """

    def apply_fn(params: Any, pictures: Any) -> jax.Array:
        del params
        if isinstance(pictures, jax.core.Tracer):
            raise UserError(
                "a model that may only be asked has no gradient, and is not compiled: ask it"
            )
        return jnp.asarray(answer(np.asarray(pictures, np.float32)))

    return Imported(apply_fn, (), (None, None, None), answer)


def outputs(answer: Any, count: int) -> np.ndarray:
    """Looks at what a model answered.

    Args:
      answer: What it returned.
      count: How many pictures it was shown.

    Returns:
      `[count, outputs]` float32.

    Raises:
      UserError: If it is anything else, or not finite.
    """
    try:
        found = np.asarray(answer, np.float32)
    except (TypeError, ValueError):
        raise UserError(f"it returns {type(answer).__name__}, not an array of numbers") from None
    if found.ndim != 2 or len(found) != count:
        raise UserError(
            f"it returns {found.shape} for {count} pictures: [{count}, outputs] is needed"
        )
    if not np.isfinite(found).all():
        raise UserError("it returns values that are NaN or infinite")
    return found


def read_arrays(path: str | os.PathLike[str]) -> Mapping[str, np.ndarray]:
    """Reads arrays by name, none of them pickled.

    Args:
      path: A file of .npz or .safetensors.

    Returns:
      The arrays.

    Raises:
      MissingError: If the file is missing.
      UserError: If it is of another kind, or damaged.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise MissingError(f"{path} does not exist: name a file of arrays")
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        if path.suffix == ".npz":
            with storage.checked_arrays(path) as arrays:
                return dict(arrays)
    except ImportError as error:
        raise MissingError(
            f"{path} needs the package safetensors: pip install safetensors"
        ) from error
    except UserError:
        raise
    except Exception as error:  # zipfile, numpy and safetensors each have their own.
        raise UserError(f"{path} is no whole file of arrays ({error})") from error
    raise UserError(f"{path} is of no kind that is read here: give .safetensors or .npz")
