"""Models of PyTorch, as functions of JAX: programs of torch.export, and modules with their state.

A module is exported first, so that both go one way: PyTorch's own exporter writes the program as
ONNX, in memory, and `onnx` reads it, with everything that makes it fast on CPU. torchax would go
the direct way, but its last release, 0.0.13, cannot be imported beside PyTorch 2.13, which has no
named tensors. Nothing that is pickled is read, and a program is looked at by `programs` before
torch sees it.
"""

import contextlib
import logging
import os
import pathlib
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mia_jax.recognizer.importers import onnx, programs
from mia_jax.recognizer.importers.model import Imported
from mia_jax.runtime import bounds, packages
from mia_jax.runtime.errors import MissingError, UserError


def _torch() -> Any:
    """Imports PyTorch, if onnxscript, by which it writes ONNX, is there too."""
    try:
        import onnxscript  # noqa: F401
        import torch
    except ImportError as error:
        raise MissingError(
            f"a model of PyTorch needs the packages torch and onnxscript: {packages.hint('torch')}"
        ) from error
    return torch


def load(path: str | os.PathLike[str], output: str | None = None, trust: bool = False) -> Imported:
    """Reads a program that `torch.export.save` wrote.

    Args:
      path: The file, which ends in .pt2.
      output: Not used: a program of several outputs is refused.
      trust: Whether PyTorch may read the file as it is, and run what is in it.

    Returns:
      The model.

    Raises:
      MissingError: If the file, torch or onnxscript are missing.
      UserError: If the file is damaged, holds what may run, or is no program of pictures.
    """
    del output
    source = path if trust else programs.copied(path)
    torch = _torch()
    if not pathlib.Path(path).is_file():
        raise MissingError(f"{path} does not exist: name a file of a model")
    try:
        program = torch.export.load(source)
    except Exception as error:  # Whatever torch raises.
        raise UserError(f"{path} is no whole program of torch.export ({_line(error)})") from error
    return of_program(program, str(path))


def of_module(module: Any, image_shape: Sequence[int], where: str) -> Imported:
    """Makes a function of a `torch.nn.Module`, in evaluation mode.

    Args:
      module: The module, from `[n, channels, height, width]` to `[n, outputs]`.
      image_shape: Height, width and channels.
      where: What to call it in an error.

    Returns:
      The model.

    Raises:
      UserError: If `torch.export` cannot follow the module.
    """
    torch = _torch()
    height, width, channels = image_shape
    example = (torch.zeros(2, channels, height, width),)
    dynamic = ({0: torch.export.Dim("n")},)
    try:
        program = torch.export.export(module.eval(), example, dynamic_shapes=dynamic)
    except Exception as error:  # Whatever the module or torch raises.
        raise UserError(
            f"{where} cannot be exported for pictures of {height}x{width}x{channels} "
            f"({_line(error)}): export it yourself, with torch.export or to ONNX"
        ) from error
    return of_program(program, where)


def of_program(program: Any, where: str) -> Imported:
    """Makes a function of a program in memory, by way of ONNX.

    Args:
      program: `torch.export.ExportedProgram`.
      where: What to call it in an error.

    Returns:
      The model. Its weights are the program's, with batch normalization folded into kernels.

    Raises:
      UserError: If it cannot be written as ONNX, or as `importers.onnx.convert`.
    """
    torch = _torch()
    try:
        with _quiet():
            written = torch.onnx.export(program, dynamo=True, verbose=False)
    except Exception as error:  # Whatever torch or onnxscript raises.
        raise UserError(f"{where} cannot be written as ONNX ({_line(error)})") from error
    return onnx.convert(written.model_proto, where)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter from telling of packages that it does without."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads weights by name, from safetensors or from what `torch.save` wrote of a state_dict.

    Args:
      path: The file: .safetensors, .pt or .pth.

    Returns:
      Tensors by name.

    Raises:
      MissingError: If the file or torch are missing.
      UserError: If it holds anything but tensors.
    """
    torch = _torch()
    if not pathlib.Path(path).is_file():
        raise MissingError(f"{path} does not exist: name a file of weights")
    try:
        if pathlib.Path(path).suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                bounds.check_unpacked(str(path), archive.infolist())
        state = torch.load(path, weights_only=True, map_location="cpu")
    except UserError:
        raise
    except Exception as error:  # Whatever torch or safetensors raises.
        raise UserError(
            f"{path} holds no plain tensors ({_line(error)}): save the state_dict of the model, "
            "not the model, or use safetensors"
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise UserError(f"{path} is no state_dict: tensors by name are needed")
    return dict(state)


def fill(module: Any, path: str | os.PathLike[str], where: str) -> Any:
    """Gives a module the weights of a file.

    Args:
      module: The module.
      path: As for `read_state`.
      where: What to call it in an error.

    Returns:
      The module.

    Raises:
      UserError: If names or shapes do not fit.
    """
    state = read_state(path)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit {where} ({_line(error, 1)})") from error
    return module


def is_module(value: Any) -> bool:
    """Tells whether something is a module of PyTorch, without importing PyTorch for that."""
    return any(kind.__module__.startswith("torch.nn.") for kind in type(value).__mro__)


def _line(error: Exception, number: int = 0) -> str:
    """Returns a line of an error's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[min(number, len(lines) - 1)] if lines else type(error).__name__
