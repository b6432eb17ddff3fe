"""Reads the constants of a network that was saved for OpenVINO, without its run time.

Such a network is two files: an XML graph of layers and edges, and a binary file to which its
constants point. A generator's own module knows what it looks for and translates it.
"""

import collections
import math
import pathlib
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

import numpy as np

from mia_jax.runtime.errors import MissingError, UserError

_TYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4"}


class Node(NamedTuple):
    """One layer of the graph.

    Attributes:
      kind: What it computes, such as `MatMul` or `Const`.
      name: Its name in the network that was saved.
      inputs: Identities of the layers it reads, in the order of its ports.
      readers: Identities of the layers that read it.
      value: A constant's array; None for every other kind.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    readers: tuple[str, ...]
    value: np.ndarray | None


def read(graph: pathlib.Path, constants: pathlib.Path) -> dict[str, Node]:
    """Reads a network.

    Args:
      graph: The XML file.
      constants: The binary file.

    Returns:
      The layers by their identities, each after those it reads.

    Raises:
      MissingError: If a file is not there.
      UserError: If a file is damaged: no XML, layers without what they need, or constants beyond
        the end of the binary file.
    """
    for path in (graph, constants):
        if not path.is_file():
            raise MissingError(f"{path} is missing")
    raw = constants.read_bytes()
    try:
        root = ElementTree.parse(graph).getroot()
        layers, edges = root.findall("layers/layer"), root.findall("edges/edge")
        inputs: dict[str, dict[int, str]] = collections.defaultdict(dict)
        readers: dict[str, list[str]] = collections.defaultdict(list)
        for edge in edges:
            source, reader = edge.attrib["from-layer"], edge.attrib["to-layer"]
            inputs[reader][int(edge.attrib["to-port"])] = source
            readers[source].append(reader)
        found = {}
        for layer in layers:
            own = layer.attrib["id"]
            sources = tuple(source for _, source in sorted(inputs[own].items()))
            value = _constant(layer, raw) if layer.attrib["type"] == "Const" else None
            found[own] = Node(
                layer.attrib["type"], layer.attrib["name"], sources, tuple(readers[own]), value
            )
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise UserError(f"{graph} or {constants.name} is damaged ({error})") from error
    if not found:
        raise UserError(f"{graph} is damaged (it has no layers)")
    return found


def _constant(layer: ElementTree.Element, raw: bytes) -> np.ndarray:
    """Returns a constant's array."""
    data = layer.find("data")
    if data is None:
        raise ValueError(f"the constant {layer.attrib['name']} has no data")
    kind = np.dtype(_TYPES[data.attrib["element_type"]])
    shape = [int(size) for size in data.attrib["shape"].split(",") if size.strip()]
    return np.frombuffer(raw, kind, math.prod(shape), int(data.attrib["offset"])).reshape(shape)
