"""Graphs of ONNX as they are evaluated: steps in order, constants computed, weights apart."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.importers import onnx_static, onnx_tensors, onnx_tidy
from mia_jax.recognizer.importers.onnx_tidy import BRANCHING, OWN_DOMAIN
from mia_jax.recognizer.importers.operations import (
    OPERATIONS,
    complete,
)
from mia_jax.recognizer.importers.operations.quantization import LOWERED, lower
from mia_jax.runtime.bounds import A_PICTURE
from mia_jax.runtime.errors import UserError, list_some

_QUANTIZED = 21  # From this opset on, conversions of quantized numbers have all their attributes.


class Node(NamedTuple):
    """A step of the graph.

    Attributes:
      name: What the file calls it.
      kind: What it computes, by its name in `operations`; or the choice between two branches, whose
        inputs are the condition and the values of either branch.
      inputs: Names of values, "" for one left out.
      outputs: Names of values.
      attributes: All of its own, and "opset", the version of the operations, and "outputs", their
        number.
      proto: `onnx.NodeProto`.
      only_if: Conditions and what each has to be for this step to be taken.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: Any
    only_if: tuple[tuple[str, bool], ...]


class Steps(NamedTuple):
    """A graph, read.

    Attributes:
      nodes: The steps, in order.
      params: Weights that a gradient may know, by name; kernels are turned so that features are
        last.
      constants: Numbers that shapes and places follow from, by name.
      output: The name of the output.
      blocked: What keeps a gradient from the pictures; None where one passes.
    """

    nodes: tuple[Node, ...]
    params: dict[str, jax.Array]
    constants: dict[str, np.ndarray]
    output: str
    blocked: str | None


@dataclasses.dataclass
class _Reading:
    """What has been read so far of a graph.

    Attributes:
      opset: The version of its operations.
      known: Numbers, by name.
      static: Names of values that are known once the shape of the pictures is.
      nodes: Steps.
      folded: How many numbers were computed while reading.
    """

    opset: int
    known: dict[str, np.ndarray]
    static: set[str]
    nodes: list[Node]
    folded: int = 0


def read(proto: Any, nodes: Sequence[Any], images: str, output: str) -> Steps:
    """Reads the steps that an output needs.

    Args:
      proto: `onnx.ModelProto`, without functions.
      nodes: Those of its nodes that the output needs, in order.
      images: The name of the pictures.
      output: The name of the output.

    Returns:
      The steps, without those that constants alone decide.

    Raises:
      UserError: If something is not supported, or the output does not depend on the pictures.
    """
    reading = _Reading(onnx_tidy.opset(proto), {}, set(), [])
    _read_weights(reading, proto.graph, {})
    _read_nodes(reading, nodes, {}, ())
    steps = _needed(reading.nodes, output)
    _check_operations(steps)
    passes, labels = _gradient(steps, images)
    if output not in passes and output not in labels and output != images:
        raise UserError(f"its output {output} does not depend on the pictures")
    nodes_, params, constants = _divided(steps, reading)
    blocked = None if output in passes or output == images else labels[output]
    return Steps(nodes_, params, constants, output, blocked)


def _read_weights(reading: _Reading, graph: Any, rename: Mapping[str, str]) -> None:
    """Reads the numbers that a graph has from the beginning."""
    from onnx import numpy_helper

    for each in graph.initializer:
        reading.known[rename.get(each.name, each.name)] = numpy_helper.to_array(each)
    for each in graph.sparse_initializer:
        name = each.values.name
        reading.known[rename.get(name, name)] = onnx_tensors.dense(each)


def _read_nodes(
    reading: _Reading,
    nodes: Sequence[Any],
    rename: Mapping[str, str],
    only_if: tuple[tuple[str, bool], ...],
) -> None:
    """Reads steps; those of constants are computed."""
    for number, proto in enumerate(nodes):
        kind = proto.op_type if proto.domain in OWN_DOMAIN else f"{proto.domain}.{proto.op_type}"
        node = Node(
            name=proto.name or f"number {number}",
            kind=kind,
            inputs=tuple(rename.get(name, name) for name in proto.input),
            outputs=tuple(rename.get(name, name) for name in proto.output),
            attributes={"opset": reading.opset, "outputs": _count(proto.output)},
            proto=proto,
            only_if=only_if,
        )
        if kind == BRANCHING:
            _choose(reading, node, rename)
        elif kind == "Constant":
            try:
                reading.known[node.outputs[0]] = onnx_tensors.constant(proto)
            except UserError as error:
                raise _unsupported(node, error) from None
        elif kind in LOWERED:
            for each in _lowered(reading, node):
                _add(reading, each)
        else:
            _add(reading, node)


def _count(outputs: Sequence[str]) -> int:
    """Counts outputs, without those left out at the end."""
    return max((place + 1 for place, name in enumerate(outputs) if name), default=0)


def _lowered(reading: _Reading, node: Node) -> list[Node]:
    """Writes an operation on quantized numbers as operations on floats."""
    from onnx import helper

    one = "one, by which quantized numbers are multiplied"
    reading.known[one] = np.ones((), np.float32)
    attributes = {each.name: onnx_tensors.attribute_of(each) for each in node.proto.attribute}
    steps = []
    facts = {**node.attributes, "opset": max(reading.opset, _QUANTIZED), "outputs": 1}
    for kind, inputs, outputs, given in lower(
        node.kind, node.inputs, node.outputs, attributes, one
    ):
        proto = helper.make_node(kind, inputs, outputs, node.name, **given)
        steps.append(
            node._replace(
                kind=kind,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                attributes=facts,
                proto=proto,
            )
        )
    return steps


def _add(reading: _Reading, node: Node) -> None:
    """Adds a step, or computes it at once where it is one of constants."""
    import onnx

    operation = OPERATIONS.get(node.kind)
    if operation is None:
        reading.nodes.append(node)
        return
    opset = node.attributes["opset"]
    try:
        schema = onnx.defs.get_schema(node.kind, opset, "")
        given = {each.name: onnx_tensors.attribute_of(each) for each in node.proto.attribute}
        facts = {**complete(node.kind, operation, given, opset, schema), **node.attributes}
    except onnx.defs.SchemaError:
        raise _unsupported(node, UserError(f"opset {opset} has no {node.kind}")) from None
    except UserError as error:
        raise _unsupported(node, error) from None
    node = node._replace(attributes=facts)
    if all(not name or name in reading.known for name in node.inputs) and operation.folds:
        _fold(reading, node)
        return
    there = reading.static | reading.known.keys() | {""}
    if operation.of_shape or (operation.folds and there.issuperset(node.inputs)):
        reading.static.update(node.outputs)
    reading.nodes.append(node)


def _fold(reading: _Reading, node: Node) -> None:
    """Computes a step of constants."""
    arrays = [reading.known[name] if name else None for name in node.inputs]
    try:
        results = onnx_static.evaluate(node.kind, node.attributes, node.proto, arrays)
    except UserError as error:
        raise _unsupported(node, error) from None
    except Exception as error:
        if node.only_if:  # Which branch is taken shows whether it is computed at all.
            reading.static.update(node.outputs)
            reading.nodes.append(node)
            return
        raise _failed(node, error) from error
    reading.folded += sum(result.size for result in results)
    if reading.folded > 2 * A_PICTURE:
        raise UserError(f"its constants make more than {2 * A_PICTURE} numbers of themselves")
    reading.known.update(zip(node.outputs, results, strict=True))


def _choose(reading: _Reading, node: Node, rename: Mapping[str, str]) -> None:
    """Reads the branch that a condition chooses, or both where pictures' shape will choose."""
    condition = node.inputs[0]
    if condition not in reading.known and condition not in reading.static:
        raise _unsupported(
            node,
            UserError("which branch it takes follows from what the pictures show: export one"),
        )
    graphs = {each.name: each.g for each in node.proto.attribute}
    known = reading.known.get(condition)
    wanted = (True, False) if known is None else (bool(np.ravel(known)[0]),)
    found = []
    for taken in wanted:
        graph = graphs["then_branch" if taken else "else_branch"]
        # Either branch may call its values alike.
        own = {n: f"{n} where {condition} is {taken}" for n in onnx_tidy.defined(graph) if n}
        names = {**rename, **own}
        _read_weights(reading, graph, names)
        guard = () if known is not None else ((condition, taken),)
        _read_nodes(reading, graph.node, names, (*node.only_if, *guard))
        found.append([names.get(each.name, each.name) for each in graph.output])
    for name, *sources in zip(node.outputs, *found, strict=True):
        step = node._replace(outputs=(name,), attributes={"outputs": 1, "opset": reading.opset})
        if known is None:
            step = step._replace(inputs=(condition, *sources))
            if all(source in reading.static | reading.known.keys() for source in sources):
                reading.static.add(name)
            reading.nodes.append(step)
        elif sources[0] in reading.known:
            reading.known[name] = reading.known[sources[0]]
        else:
            if sources[0] in reading.static:
                reading.static.add(name)
            reading.nodes.append(step._replace(kind="Identity", inputs=(sources[0],)))


def _needed(nodes: Sequence[Node], output: str) -> list[Node]:
    """Leaves out steps that the output does not need, now that constants are computed."""
    names, kept = {output}, []
    for node in reversed(nodes):
        if names & set(node.outputs):
            kept.append(node)
            names.update(name for name in node.inputs if name)
            names.update(name for name, _ in node.only_if)
    return kept[::-1]


def _check_operations(nodes: Sequence[Node]) -> None:
    """Refuses what is not supported, naming each operation and a node of it."""
    missing = {
        each.kind: each.name
        for each in reversed(nodes)
        if each.kind not in OPERATIONS and each.kind != BRANCHING
    }
    if missing:
        named = [f"{kind} (node {name})" for kind, name in sorted(missing.items())]
        raise UserError(
            f"it uses operations that are not supported: {list_some(named)}; export the "
            "model without them, or give it as a Python function, --model=module:function"
        )
    used = {name for node in nodes for name in node.inputs}
    for node in nodes:
        if node.kind in OPERATIONS:
            count = OPERATIONS[node.kind].outputs
            if used & {name for name in node.outputs[count:] if name}:
                raise _unsupported(
                    node, UserError(f"of its outputs only the first {count} can be used")
                )


def _gradient(nodes: Sequence[Node], images: str) -> tuple[set[str], dict[str, str]]:
    """Says through which values a gradient passes, and what blocks it on the way to others."""
    passes, blocked = {images}, {}
    for node in nodes:
        operation = OPERATIONS.get(node.kind)
        if operation is not None and operation.of_shape:
            continue
        shaped = () if operation is None else operation.shaped
        names = [name for place, name in enumerate(node.inputs) if name and place not in shaped]
        if passes.intersection(names):
            if operation is None or operation.passes(node.attributes):
                passes.update(node.outputs)
            else:
                blocked.update(dict.fromkeys(node.outputs, f"{node.name} ({node.kind})"))
        elif any(name in blocked for name in names):
            label = next(blocked[name] for name in names if name in blocked)
            blocked.update(dict.fromkeys(node.outputs, label))
    return passes, blocked


def _divided(
    nodes: Sequence[Node], reading: _Reading
) -> tuple[tuple[Node, ...], dict[str, jax.Array], dict[str, np.ndarray]]:
    """Tells weights that a gradient may know from what shapes follow from; turns kernels."""
    known, static = reading.known, reading.static
    params: dict[str, jax.Array] = {}
    constants: dict[str, np.ndarray] = {}
    renamed = []
    conditions = {name for node in nodes for name, _ in node.only_if}
    constants.update({name: known[name] for name in conditions if name in known})
    for node in nodes:
        operation = OPERATIONS.get(node.kind)
        names = list(node.inputs)
        for place, name in enumerate(names):
            if name not in known:
                continue
            array = known[name]
            fixed = bool(static.intersection(node.outputs)) or (
                operation is not None and place in operation.shaped
            )
            # Infinities mask, or limit nothing; among trained weights they are a fault.
            trained = operation is not None and place in operation.weights
            floating = jnp.issubdtype(array.dtype, np.floating)
            if fixed or not floating or (not trained and np.isinf(array).any()):
                names[place] = f"{name} as a constant"
                constants[names[place]] = array
            elif node.kind == "Conv" and place == 1:
                names[place] = f"{name} as a kernel"
                order = (*range(2, array.ndim), 1, 0)
                params[names[place]] = _floats(array.transpose(order))
            else:
                params[name] = _floats(array)
        renamed.append(node._replace(inputs=tuple(names)))
    return tuple(renamed), params, constants


def _floats(array: np.ndarray) -> jax.Array:
    """Returns numbers in the type in which everything is computed."""
    return jnp.asarray(array, jnp.result_type(float))


def _unsupported(node: Node, error: UserError) -> UserError:
    """Names the node that is not supported."""
    return UserError(f"the node {node.name} ({node.kind}) is not supported: {error}")


def _failed(node: Node, error: Exception) -> UserError:
    """Names the node that cannot be computed."""
    reason, *_ = str(error).splitlines() or [type(error).__name__]
    return UserError(f"the node {node.name} ({node.kind}) cannot be evaluated: {reason}")
