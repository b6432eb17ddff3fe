"""Keras on its JAX backend, which it takes from the environment once."""

import os

import pytest


def keras_on_jax():
    os.environ["KERAS_BACKEND"] = "jax"
    return pytest.importorskip("keras", reason="Keras is not installed: extra keras")
