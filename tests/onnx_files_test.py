"""Weights beside a model are read where they may lie, and nowhere else."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_untidy import network, pictures, pooled, run

from mia_jax.recognizer import importers
from mia_jax.runtime.errors import UserError


def with_weights_beside(folder, name="model.onnx.data"):
    """A model whose weights lie in a file beside it."""
    model = network(lambda net: pooled(net))
    for each in model.graph.initializer:  # However small they are.
        each.raw_data = numpy_helper.to_array(each).tobytes()
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location=name, size_threshold=0)
    return path


def in_a_hub(tmp_path):
    """As hubs keep files: links with the files' names, to files named after their digests."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots" / "main").mkdir(parents=True)
    path = with_weights_beside(tmp_path / "snapshots" / "main")
    for each in (path, path.with_name("model.onnx.data")):
        blob = tmp_path / "blobs" / f"digest of {each.name}"
        each.rename(blob)
        each.symlink_to(f"../../blobs/{blob.name}")
    return path


@pytest.mark.parametrize("place", [with_weights_beside, in_a_hub])
def test_weights_beside_a_model_are_read(place, tmp_path):
    imported = importers.load(place(tmp_path))
    expected = run(network(lambda net: pooled(net)), pictures())
    np.testing.assert_allclose(
        imported.apply_fn(imported.params, pictures()), expected, rtol=1e-4, atol=1e-5
    )


def beyond(tmp_path):
    """A link beside the model that leads out of its folder."""
    (tmp_path / "inner").mkdir()
    path = with_weights_beside(tmp_path / "inner")
    path.with_name("model.onnx.data").rename(tmp_path / "secret")
    path.with_name("model.onnx.data").symlink_to(tmp_path / "secret")
    return path, "is a link"


def upward(tmp_path):
    """A location that climbs."""
    (tmp_path / "inner").mkdir()
    path = with_weights_beside(tmp_path / "inner")
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        tensor.external_data[0].value = "../secret"
    path.write_bytes(proto.SerializeToString())
    (tmp_path / "secret").write_bytes(bytes(10**4))
    return path, "lies in another folder"


def short(tmp_path):
    path = with_weights_beside(tmp_path)
    path.with_name("model.onnx.data").write_bytes(b"few")
    return path, "needs 60 bytes of .* which has 3"


@pytest.mark.parametrize("place", [beyond, upward, short])
def test_weights_elsewhere_are_refused(place, tmp_path):
    path, said = place(tmp_path)
    with pytest.raises(UserError, match=said):
        importers.load(path)
