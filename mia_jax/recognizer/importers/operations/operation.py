"""What an operation of ONNX is here: what it computes, and of which versions and attributes."""

import dataclasses
import enum
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from mia_jax.runtime.errors import UserError

Attributes = Mapping[str, Any]
Compute = Callable[..., Any]


class Layout(enum.Enum):
    """In which order of axes an operation can be computed."""

    PLAIN = enum.auto()  # Only as ONNX has them.
    ANY = enum.auto()  # The same whatever their order.
    LAST = enum.auto()  # Only with the channels of the first input last.
    ALONG = enum.auto()  # In any order, if the attribute "axis" is moved.
    OVER = enum.auto()  # In any order, if the axes that are reduced are moved.


def _always(attributes: Attributes) -> bool:
    """Says that a gradient passes."""
    return True


@dataclasses.dataclass(frozen=True)
class Operation:
    """What is computed of an operation.

    Attributes:
      compute: From the attributes, with the specification's defaults, "opset" and "outputs", their
        number, and the inputs, None for one left out, to the output, or a tuple of several; None
        for what is only computed of constants, by the package onnx.
      versions: The versions of the specification that it computes, by the opset that brought each.
      attributes: Those that it computes, each with the values accepted, None for any. Every other
        one is refused, unless it has the specification's default.
      outputs: How many outputs it computes, the first ones.
      shaped: Places of inputs whose numbers a shape follows from: they cannot depend on the
        pictures.
      layout: In which order of axes.
      folds: Whether it is computed at once, by the package onnx, where all inputs are constants.
      of_shape: Whether it asks for nothing but the shape of its input.
      passes: From the attributes to whether a gradient passes to the inputs.
      weights: Places of inputs that training has made: infinity there is a fault.
    """

    compute: Compute | None
    versions: Collection[int]
    attributes: Mapping[str, Collection[Any] | None] = dataclasses.field(default_factory=dict)
    outputs: int = 1
    shaped: Collection[int] = ()
    layout: Layout = Layout.PLAIN
    folds: bool = True
    of_shape: bool = False
    passes: Callable[[Attributes], bool] = _always
    weights: Collection[int] = ()


def no_gradient(attributes: Attributes) -> bool:
    """Says that no gradient passes: the derivative is 0 wherever there is one."""
    return False


def complete(
    kind: str, operation: Operation, given: Attributes, opset: int, schema: Any
) -> dict[str, Any]:
    """Adds the specification's defaults to a node's attributes, and checks all of them.

    Args:
      kind: The name of the operation.
      operation: What is computed of it.
      given: The attributes that the file has.
      opset: The version of the operations.
      schema: `onnx.defs.OpSchema` of the operation at that version.

    Returns:
      All attributes that have a value.

    Raises:
      UserError: If the version, an attribute or its value is not computed.
    """
    if schema.since_version not in operation.versions:
        known = ", ".join(str(version) for version in sorted(operation.versions))
        raise UserError(
            f"{kind} as opset {opset} has it (since {schema.since_version}) is not supported, "
            f"only as since {known}"
        )
    found = {}
    for name, about in schema.attributes.items():
        default = _value(about.default_value) if about.default_value.name else None
        value = given.get(name, default)
        accepted = operation.attributes.get(name, ())
        if name in operation.attributes:
            if accepted is not None and value is not None and value not in accepted:
                raise UserError(f"{name}={value} is not supported, only {spell(accepted)}")
        elif name in given and (default is None or not np.array_equal(value, default)):
            only = f", only {default}" if default is not None else ""
            raise UserError(f"the attribute {name}={value} is not supported{only}")
        if value is not None:
            found[name] = value
    unknown = sorted(set(given) - set(schema.attributes))
    if unknown:
        raise UserError(f"opset {opset} knows no attribute {unknown[0]} of it")
    return found


def _value(attribute: Any) -> Any:
    """Reads a default."""
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def spell(accepted: Collection[Any]) -> str:
    """Writes the accepted values of an attribute."""
    if isinstance(accepted, range):
        return f"{accepted[0]} to {accepted[-1]}"
    return ", ".join(str(value) for value in accepted)
