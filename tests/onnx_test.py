"""Models in ONNX give what onnxruntime gives."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx_networks
import pytest
from onnx_networks import NETWORKS

from mia_jax.recognizer.importers import onnx as importer

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def pictures(n=2, side=16, channels=3, seed=0):
    return np.random.default_rng(seed).random((n, side, side, channels), np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_onnxruntime_gives(name, tmp_path):
    model, images = NETWORKS[name](), pictures()
    imported = importer.load(onnx_networks.save(model, tmp_path / "network.onnx"))
    assert imported.image_shape == (16, 16, 3)
    logits = jax.jit(imported.apply_fn)(imported.params, images)
    np.testing.assert_allclose(logits, onnx_networks.run(model, images), **TOLERANCE)


@pytest.mark.parametrize("name", NETWORKS)
def test_its_gradient_is_that_of_finite_differences(name):
    draw, step = np.random.default_rng(1), 1e-6
    with jax.enable_x64(True):
        imported = importer.convert(NETWORKS[name](), name)
        params = {k: v.astype(jnp.float64) for k, v in imported.params.items()}
        images = draw.random((1, 16, 16, 3))
        outputs = jax.eval_shape(imported.apply_fn, params, images).shape
        weights, direction = draw.normal(size=outputs), draw.normal(size=images.shape)
        value_and_gradient = jax.jit(
            jax.value_and_grad(lambda x: jnp.sum(imported.apply_fn(params, x) * weights))
        )
        _, gradient = value_and_gradient(images)
        ahead, behind = (value_and_gradient(images + s * direction)[0] for s in (step, -step))
    expected = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-4)
