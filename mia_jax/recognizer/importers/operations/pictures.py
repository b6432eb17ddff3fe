"""Operations on pictures: convolution, pooling, and sampling at given places."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mia_jax.recognizer.importers import windows
from mia_jax.recognizer.importers.operations.operation import Attributes, Layout, Operation
from mia_jax.runtime.errors import UserError


def _global(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes an operation of a function that reduces all sides of a picture."""
    return lambda attributes, x: function(x, tuple(range(1, x.ndim - 1)), keepdims=True)


def _global_norm(attributes: Attributes, x: Any) -> Any:
    whole = {**attributes, "kernel_shape": list(x.shape[1:-1])}
    return windows.power_pool(whole, x)


def _sample(attributes: Attributes, x: Any, grid: Any) -> Any:
    """Samples `[n, channels, height, width]` at places from -1 to 1, x before y."""
    if x.ndim != 4:
        raise UserError(f"it samples {x.ndim - 2} dimensions: only pictures are supported")
    corners = bool(attributes["align_corners"])
    places = []
    for axis, side in enumerate(x.shape[:1:-1]):
        place = (grid[..., axis] + 1) / 2
        places.append(place * (side - 1) if corners else place * side - 0.5)
    padding = attributes["padding_mode"]
    # About the centers of the outermost pixels, or about their edges.
    mirror = "mirror" if corners else "reflect"
    mode = {"zeros": "constant", "border": "nearest", "reflection": mirror}[padding]
    order = 0 if attributes["mode"] == "nearest" else 1

    def of_channel(channel: Any, columns: Any, rows: Any) -> Any:
        return jax.scipy.ndimage.map_coordinates(channel, [rows, columns], order, mode)

    of_picture = jax.vmap(of_channel, (0, None, None))
    return jax.vmap(of_picture)(jnp.asarray(x), *places)


_WINDOW = dict.fromkeys(("auto_pad", "dilations", "kernel_shape", "pads", "strides"))
_POOL = {**_WINDOW, "ceil_mode": None}
_SAMPLE = {
    "align_corners": None,
    "mode": ("bilinear", "linear", "nearest"),
    "padding_mode": ("zeros", "border", "reflection"),
}


def _on_pictures(
    compute: Any, *versions: int, attributes: Mapping[str, Any] | None = None, **fields: Any
) -> Operation:
    return Operation(
        *(compute, versions, attributes or {}), layout=Layout.LAST, folds=False, **fields
    )


OPERATIONS: Mapping[str, Operation] = {
    "AveragePool": _on_pictures(
        *(windows.average_pool, 7, 10, 11, 19, 22),
        attributes={**_POOL, "count_include_pad": None},
    ),
    "Conv": _on_pictures(
        *(windows.convolve, 1, 11, 22), attributes={**_WINDOW, "group": None}, weights=(1, 2)
    ),
    "ConvTranspose": _on_pictures(
        *(windows.convolve_transposed, 1, 11, 22),
        attributes={**_WINDOW, "group": None, "output_padding": None, "output_shape": None},
        weights=(1, 2),
    ),
    "GlobalAveragePool": _on_pictures(_global(jnp.mean), 1, 22),
    "GlobalLpPool": _on_pictures(_global_norm, 2, attributes={"p": range(1, 17)}),
    "GlobalMaxPool": _on_pictures(_global(jnp.max), 1, 22),
    "GridSample": Operation(_sample, (16, 20, 22), _SAMPLE, folds=False),
    "LpPool": _on_pictures(
        *(windows.power_pool, 2, 11, 18, 22), attributes={**_POOL, "p": range(1, 17)}
    ),
    "MaxPool": _on_pictures(windows.max_pool, 1, 8, 10, 11, 12, 22, attributes=_POOL),
}
