"""What is known before pictures are: nodes whose inputs are numbers, computed by the package onnx.

Its own evaluator computes in numpy all that shapes follow from, whatever the operation and its
version. How large a result becomes is asked of the functions in `operations` first, which JAX
evaluates on shapes alone.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mia_jax.recognizer.importers.operations import OPERATIONS
from mia_jax.runtime.bounds import check_size, check_traced

_FROM_LITTLE = 2**24  # Elements that constants may make of fewer.


def evaluate(
    kind: str, attributes: Any, proto: Any, arrays: Sequence[np.ndarray | None]
) -> list[np.ndarray]:
    """Computes a node of constants.

    Args:
      kind: Its operation, one of `OPERATIONS` that folds.
      attributes: What `operations.complete` makes of its attributes.
      proto: `onnx.NodeProto`.
      arrays: Its inputs, None for one left out.

    Returns:
      Its outputs.

    Raises:
      UserError: If they are too large.
    """
    given = sum({id(array): array.size for array in arrays if array is not None}.values())
    _check(kind, attributes, arrays, max(given, _FROM_LITTLE))
    found = _by_package(attributes["opset"], proto, arrays)
    if found is None:
        with jax.enable_x64(True), jax.ensure_compile_time_eval():
            found = jax.tree.leaves(_computing(kind, attributes, arrays)())
    return [np.asarray(result) for result in found]


def _by_package(opset: int, proto: Any, arrays: Sequence[np.ndarray | None]) -> list[Any] | None:
    """Returns what onnx computes, or None where it does not know this version or these values."""
    from onnx import ValueInfoProto, helper, reference

    node = type(proto).FromString(proto.SerializeToString())
    # By places: a node may read one value twice.
    del node.input[:]
    node.input.extend("" if array is None else f"in {i}" for i, array in enumerate(arrays))
    graph = helper.make_graph(
        [node],
        "node",
        [ValueInfoProto(name=name) for name in node.input if name],
        [ValueInfoProto(name=name) for name in node.output if name],
    )
    opsets = [helper.make_opsetid("", opset)]
    given = {f"in {i}": array for i, array in enumerate(arrays) if array is not None}
    try:
        evaluator = reference.ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets))
        with np.errstate(all="ignore"):
            found = dict(zip(evaluator.output_names, evaluator.run(None, given), strict=True))
    except Exception:  # It has no errors of its own.
        return None
    return [found[name] if name else np.zeros(0) for name in proto.output]


def _computing(
    kind: str, attributes: Any, arrays: Sequence[np.ndarray | None]
) -> Callable[[], Any]:
    """Binds the function of an operation to its inputs."""
    compute = OPERATIONS[kind].compute
    assert compute is not None
    return functools.partial(compute, attributes, *arrays)


def _check(kind: str, attributes: Any, arrays: Sequence[np.ndarray | None], most: int) -> None:
    """Refuses what makes too much, on its way or in the end, without computing it."""
    operation = OPERATIONS[kind]
    if operation.compute is None:  # It picks elements, or says on each axis where they are.
        there = [array for array in arrays if array is not None]
        check_size((max(array.ndim for array in there), sum(a.size for a in there)), most=most)
    elif not operation.of_shape:
        with jax.enable_x64(True):
            traced = jax.make_jaxpr(_computing(kind, attributes, arrays))()
        check_traced(traced, most=most)
