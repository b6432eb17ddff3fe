"""Graphs of ONNX made plain: functions put in, steps in order, what is not needed left out."""

import graphlib
from collections.abc import Iterable, Sequence
from typing import Any

from mia_jax.recognizer.importers.operations import OPERATIONS
from mia_jax.recognizer.importers.operations.quantization import LOWERED
from mia_jax.runtime.errors import UserError

OWN_DOMAIN = ("", "ai.onnx")
BRANCHING = "If"
_MOST_NODES = 100_000  # Of a graph, functions put in.
_DEEPEST = 100  # Functions that call one another.


def branches(node: Any) -> Iterable[Any]:
    """Goes through the graphs within a node.

    Args:
      node: `onnx.NodeProto`.

    Yields:
      `onnx.GraphProto`.
    """
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def defined(graph: Any) -> set[str]:
    """Lists the names that a graph defines.

    Args:
      graph: `onnx.GraphProto`.

    Returns:
      Names of values.
    """
    names = {each.name for each in (*graph.initializer, *graph.input)}
    names |= {each.values.name for each in graph.sparse_initializer}
    return names | {name for node in graph.node for name in node.output}


def reads(node: Any) -> list[str]:
    """Lists the names that a node reads, those within its branches too.

    Args:
      node: `onnx.NodeProto`.

    Returns:
      Names of values from outside of the node.
    """
    names = [name for name in node.input if name]
    for graph in branches(node):
        inside = [name for each in graph.node for name in reads(each)]
        own = defined(graph)
        names += [n for n in (*inside, *(each.name for each in graph.output)) if n not in own]
    return names


def sort(graph: Any) -> None:
    """Puts the nodes of a graph in an order in which each reads what is there already.

    Args:
      graph: `onnx.GraphProto`, which is changed.

    Raises:
      UserError: If they go round in a circle.
    """
    for node in graph.node:
        for branch in branches(node):
            sort(branch)
    maker = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    before = [sorted({maker[name] for name in reads(node) if name in maker}) for node in graph.node]
    if all(not earlier or earlier[-1] < place for place, earlier in enumerate(before)):
        return
    try:
        order = list(graphlib.TopologicalSorter(dict(enumerate(before))).static_order())
    except graphlib.CycleError as error:
        first = graph.node[error.args[1][0]]
        raise UserError(
            f"its nodes go round in a circle, through {first.name or first.op_type}"
        ) from error
    nodes = [graph.node[place] for place in order]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def needed(nodes: Sequence[Any], wanted: str) -> tuple[list[Any], set[str]]:
    """Leaves out the nodes that a value does not need.

    Args:
      nodes: `onnx.NodeProto`, in order.
      wanted: The name of the value.

    Returns:
      The nodes that it needs, and the names of all values that these read, and itself.
    """
    names, kept = {wanted}, []
    for node in reversed(nodes):
        if names & set(node.output):
            kept.append(node)
            names.update(reads(node))
    return kept[::-1], names


def opset(proto: Any) -> int:
    """Tells the version of the operations.

    Args:
      proto: `onnx.ModelProto`.

    Returns:
      The version.

    Raises:
      UserError: If there is none, or it is newer than the package onnx knows.
    """
    import onnx

    versions = [each.version for each in proto.opset_import if each.domain in OWN_DOMAIN]
    if not versions:
        raise UserError("it does not say of which opset its operations are")
    newest = onnx.defs.onnx_opset_version()
    if max(versions) > newest:
        raise UserError(
            f"its operations are of opset {max(versions)}, and the package onnx {onnx.__version__} "
            f"here knows those up to {newest}: update it, or export the model for an older one"
        )
    return max(versions)


def spell_out(proto: Any) -> None:
    """Writes in one way what may be written in two: the domain of ONNX's own operations, no names.

    Args:
      proto: `onnx.ModelProto`, which is changed.
    """
    proto.graph.name = proto.graph.name or "graph"  # Only the checker wants one.
    own = {each.domain: each for each in proto.opset_import}
    if "ai.onnx" in own and "" in own:
        proto.opset_import.remove(own["ai.onnx"])
    functions = [each for function in proto.functions for each in _everything(function.node)]
    imports = [each for function in proto.functions for each in function.opset_import]
    for named in (*proto.opset_import, *imports, *_all(proto.graph), *functions):
        named.domain = "" if named.domain in OWN_DOMAIN else named.domain


def _say_defaults(proto: Any) -> None:
    """Writes the default values of a function's attributes where it is called without them."""
    usual = {(each.domain, each.name): each.attribute_proto for each in proto.functions}
    bodies = [node for each in proto.functions for node in _everything(each.node)]
    for node in (*_all(proto.graph), *bodies):
        given = {attribute.name for attribute in node.attribute}
        defaults = usual.get((node.domain, node.op_type), ())
        node.attribute.extend([each for each in defaults if each.name not in given])


def inlined(proto: Any) -> Any:
    """Puts functions where they are called: the model's own, and those of the specification.

    Args:
      proto: `onnx.ModelProto`.

    Returns:
      A model without functions; what the specification writes as a function of other operations is
      written so, where it is not computed here.

    Raises:
      UserError: If the functions are too many, or call themselves.
    """
    import onnx.inliner

    if proto.functions:
        _check_functions(proto)
        _say_defaults(proto)
        proto = onnx.inliner.inline_local_functions(proto, convert_version=True)
    version = opset(proto)
    known = {*OPERATIONS, *LOWERED, BRANCHING, "Constant"}
    found = _kinds(proto)
    for kind in sorted(found - known):
        if _is_function(kind, version):
            written = onnx.inliner.inline_selected_functions(
                proto, [("", kind)], inline_schema_functions=True
            )
            if _kinds(written) <= known | found:  # Else the operation itself is refused by name.
                proto = written
    return proto


def _kinds(proto: Any) -> set[str]:
    """Lists the operations of a graph that are ONNX's own."""
    return {node.op_type for node in _all(proto.graph) if node.domain in OWN_DOMAIN}


def _all(graph: Any) -> Iterable[Any]:
    """Goes through the nodes of a graph, and of its branches."""
    return _everything(graph.node)


def _everything(nodes: Iterable[Any]) -> Iterable[Any]:
    """Goes through nodes, and those of their branches."""
    for node in nodes:
        yield node
        for branch in branches(node):
            yield from _everything(branch.node)


def _is_function(kind: str, version: int) -> bool:
    """Tells whether the specification writes an operation as a function of others."""
    import onnx

    if not onnx.defs.has(kind):
        return False
    try:
        schema: Any = onnx.defs.get_schema(kind, version, "")
    except onnx.defs.SchemaError:
        return False
    return schema.has_function or schema.has_context_dependent_function


def _check_functions(proto: Any) -> None:
    """Counts the nodes that putting functions in makes, before it is done."""
    functions = {(each.domain, each.name): each for each in proto.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[Any], depth: int) -> int:
        if depth > _DEEPEST:
            raise UserError(f"its functions call one another more than {_DEEPEST} deep")
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in functions and key not in counts:
                counts[key] = count(functions[key].node, depth + 1)
            total += counts.get(key, 1)
            total += sum(count(branch.node, depth + 1) for branch in branches(node))
        return total

    total = count(proto.graph.node, 0)
    if total > _MOST_NODES:
        raise UserError(
            f"its functions make {min(total, 10**12)} nodes of it, and at most {_MOST_NODES} are "
            "accepted"
        )
