"""How a graph of ONNX is evaluated on pictures, step by step while JAX traces it.

Networks of pictures come with their channels second, which XLA convolves slowly on CPU. So each
value says whether its channels are last here, and each operation in which order it can be computed
(`operations.Layout`): turning axes is put off until something needs it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.importers import model, onnx_static
from mia_jax.recognizer.importers.onnx_graphs import Node, Steps
from mia_jax.recognizer.importers.onnx_tidy import BRANCHING
from mia_jax.recognizer.importers.operations import (
    OPERATIONS,
    Layout,
    Operation,
    resizing,
)
from mia_jax.runtime.bounds import A_PICTURE, check_size
from mia_jax.runtime.errors import UserError

_CHANNELS_LAST = (0, 2, 3, 1)
_CHANNELS_FIRST = (0, 3, 1, 2)


class Value(NamedTuple):
    """A value on its way through the graph.

    Attributes:
      array: The numbers; of numpy where they are known before pictures are.
      last: Whether the channels are last here, where ONNX has them second.
    """

    array: Any
    last: bool


def evaluate(
    where: str, steps: Steps, images: tuple[str, bool], params: Mapping[str, Any], pictures: Any
) -> jax.Array:
    """Evaluates a graph.

    Args:
      where: What to call it in an error.
      steps: The graph.
      images: The name of its pictures, and whether their channels come second there.
      params: Its weights.
      pictures: `[n, height, width, channels]`, as the model takes them.

    Returns:
      The output, in ONNX's order of axes.

    Raises:
      UserError: If a node cannot be evaluated, or asks for too much memory.
    """
    name, first = images
    values = {name: Value(array, False) for name, array in steps.constants.items()}
    values |= {name: Value(jnp.asarray(array), False) for name, array in params.items()}
    values[name] = Value(_floating(jnp.asarray(pictures)), first)
    uses = {name: i for i, node in enumerate(steps.nodes) for name in node.inputs}
    uses |= {name: len(steps.nodes) for node in steps.nodes for name, _ in node.only_if}
    kept = 0
    for number, node in enumerate(steps.nodes):
        if not all(bool(np.ravel(values[c].array)[0]) == wanted for c, wanted in node.only_if):
            continue
        given = [values.get(name) if name else None for name in node.inputs]
        try:
            results = _step(node, given)
            for result in results:
                check_size(result.array.shape, len(pictures))
            kept += _constants(node, given, results)
            if kept > A_PICTURE:
                raise UserError(f"its constants are more than {A_PICTURE} numbers together")
        except UserError as error:
            raise UserError(
                f"{where}: the node {node.name} ({node.kind}) is not supported: {error}"
            ) from None
        except Exception as error:  # Whatever numpy or JAX raises of what the file asks for.
            reason, *_ = str(error).splitlines() or [type(error).__name__]
            raise UserError(
                f"{where}: the node {node.name} ({node.kind}) cannot be evaluated on "
                f"pictures of shape {model.spell(pictures.shape[1:])}: {reason}"
            ) from error
        values.update(zip(node.outputs, results, strict=False))
        for name in {*node.inputs}:  # What nobody uses any more need not be kept.
            if uses[name] == number and name != steps.output:
                values.pop(name, None)
    return jnp.asarray(_plain(values[steps.output]))


def _constants(node: Node, given: Sequence[Value | None], results: Sequence[Value]) -> int:
    """Counts the numbers that a step makes while it is traced."""
    known = sum(each.array.size for each in results if isinstance(each.array, np.ndarray))
    if node.kind in ("Resize", "Upsample") and given[0] is not None:
        known += resizing.matrices(_plain(given[0]).shape, results[0].array.shape)
    return known


def _floating(array: Any) -> Any:
    """Returns floats as they are, and anything else as floats."""
    known = jnp.issubdtype(array.dtype, jnp.floating)
    wide = known and array.dtype.itemsize >= np.dtype(np.float32).itemsize
    return array if wide else jnp.asarray(array, jnp.result_type(float))


def _step(node: Node, given: Sequence[Value | None]) -> list[Value]:
    """Evaluates a node, in the order of axes that suits it."""
    if node.kind == BRANCHING:
        condition, *either = given
        assert condition is not None
        chosen = either[0 if np.ravel(condition.array)[0] else 1]
        return [chosen] if chosen is not None else []
    operation = OPERATIONS[node.kind]
    arrays = [None if each is None else each.array for each in given]
    known = all(array is None or isinstance(array, np.ndarray) for array in arrays)
    if known and operation.folds and arrays:
        found = onnx_static.evaluate(node.kind, node.attributes, node.proto, arrays)
        return [Value(each, False) for each in found]
    for place in operation.shaped:
        if place < len(arrays) and not isinstance(arrays[place], np.ndarray | None):
            raise UserError(
                f"its input {node.proto.input[place]} follows from what the pictures show, and "
                "a shape from that"
            )
    if operation.compute is None:
        raise UserError("how much it returns follows from what the pictures show")
    return _computed(node, operation, [_ready(operation, i, v) for i, v in enumerate(given)])


def _ready(operation: Operation, place: int, value: Value | None) -> Value | None:
    """Turns floats that are known, such as masks, into those of JAX; leaves what shapes need."""
    if value is None or place in operation.shaped or not isinstance(value.array, np.ndarray):
        return value
    floating = jnp.issubdtype(value.array.dtype, jnp.floating)
    return value._replace(array=_floating(value.array)) if floating else value


def _computed(node: Node, operation: Operation, given: Sequence[Value | None]) -> list[Value]:
    """Evaluates a node by the function of its operation."""
    attributes, compute = node.attributes, operation.compute
    assert compute is not None
    first: Any = given[0] if given else None
    if operation.layout is Layout.LAST:
        arrays = [_last(first), *[_optional(each) for each in given[1:]]]
        if node.kind == "Conv" and not node.inputs[1].endswith(" as a kernel"):
            arrays[1] = jnp.moveaxis(arrays[1], (1, 0), (-2, -1))
        result = compute(attributes, *arrays)
        return [Value(result, result.ndim > 2)]
    if first is not None and node.kind == "Transpose" and first.array.ndim == 4:
        order = tuple(attributes.get("perm", (3, 2, 1, 0)))
        if first.last and order == _CHANNELS_LAST:
            return [Value(first.array, False)]
        if not first.last and order == _CHANNELS_FIRST:
            return [Value(first.array, True)]
    if any(each is not None and each.last for each in given):
        turned = _turned(operation, attributes, given)
        if turned is not None:
            facts, arrays, last = turned
            return _values(compute(facts, *arrays), last)
    return _values(compute(attributes, *[_optional(each) for each in given]), False)


def _values(result: Any, last: bool) -> list[Value]:
    """Returns each of the results."""
    return [Value(each, last) for each in (result if isinstance(result, tuple) else (result,))]


def _turned(
    operation: Operation, attributes: Mapping[str, Any], given: Sequence[Value | None]
) -> tuple[Mapping[str, Any], list[Any], bool] | None:
    """Returns attributes and inputs for channels that are last, and whether the outputs' are too.

    Returns None where that cannot be, so that axes have to be as ONNX has them.
    """
    ranks = [0 if each is None else each.array.ndim for each in given]
    rank, first = max(ranks), given[0]
    if any(v is not None and v.last and r != rank for v, r in zip(given, ranks, strict=True)):
        return None
    if operation.layout is Layout.ANY:
        return attributes, [None if v is None else _spread(v, rank) for v in given], True
    if first is None or not first.last:
        return None
    if operation.layout is Layout.ALONG:
        arrays = [
            None if v is None else _last(v) if r == rank else v.array
            for v, r in zip(given, ranks, strict=True)
        ]
        if any(1 < r < rank for r in ranks):
            return None
        return {**attributes, "axis": _moved(attributes.get("axis", 1), rank)}, arrays, True
    if operation.layout is Layout.OVER:
        named = attributes.get("axes", given[1].array if len(given) > 1 and given[1] else None)
        axes = None if named is None else {int(axis) % rank for axis in np.ravel(named)}
        keep = bool(attributes["keepdims"])
        if axes and (keep or axes == {*range(2, rank)}):
            facts = {**attributes, "axes": [_moved(axis, rank) for axis in axes]}
            return facts, [first.array], keep
    return None


def _moved(axis: int, rank: int) -> int:
    """Says where an axis of ONNX is while channels are last."""
    place = axis % rank
    return place if place == 0 else (place - 2) % (rank - 1) + 1


def _optional(value: Value | None) -> Any:
    """Returns the numbers of an input that may be left out."""
    return None if value is None else _plain(value)


def _last(value: Value) -> Any:
    """Returns the numbers with channels last."""
    return value.array if value.last else jnp.moveaxis(value.array, 1, -1)


def _plain(value: Value) -> Any:
    """Returns the numbers as ONNX has them."""
    return jnp.moveaxis(value.array, -1, 1) if value.last else value.array


def _spread(value: Value, rank: int) -> Any:
    """Returns the numbers with channels last, to be combined with an array of so many axes."""
    array = value.array
    if value.last or array.ndim == 0:
        return array
    array = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return array.transpose(0, *range(2, rank), 1)
