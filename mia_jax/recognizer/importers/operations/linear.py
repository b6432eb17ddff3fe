"""Operations of linear algebra."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from mia_jax.recognizer.importers.operations.operation import Attributes, Operation


def _gemm(attributes: Attributes, a: Any, b: Any, c: Any = None) -> Any:
    a = a.T if attributes["transA"] else a
    b = b.T if attributes["transB"] else b
    product = a @ b if attributes["alpha"] == 1 else attributes["alpha"] * (a @ b)
    return (
        product
        if c is None
        else product + (c if attributes["beta"] == 1 else attributes["beta"] * c)
    )


OPERATIONS: Mapping[str, Operation] = {
    "Einsum": Operation(
        lambda attributes, *arrays: jnp.einsum(attributes["equation"], *arrays),
        *((12, 28), {"equation": None}),
        folds=False,
    ),
    "Gemm": Operation(
        *(_gemm, (7, 9, 11, 13), dict.fromkeys(("alpha", "beta", "transA", "transB"))),
        folds=False,
        weights=(0, 1, 2),
    ),
    "MatMul": Operation(
        lambda attributes, a, b: jnp.matmul(a, b), (1, 9, 13), folds=False, weights=(0, 1)
    ),
}
