"""Weights beside a model in ONNX are read from its own folder, and not through links."""

import os

import numpy as np
import onnx
import pytest
from onnx_networks import Network

from mia_jax.recognizer import importers
from mia_jax.runtime.errors import UserError


def model(location):
    """A model whose dense layer lies in another file."""
    net = Network()
    kernel = np.arange(96, dtype=np.float32).reshape(48, 2)
    proto = net.model(
        net.add("MatMul", net.add("Flatten", "image"), net.weight(kernel)), (3, 4, 4), outputs=None
    )
    for tensor in proto.graph.initializer:
        if tensor.dims == [48, 2]:
            onnx.external_data_helper.set_external_data(tensor, location)
            tensor.ClearField("raw_data")
    return proto, kernel


def save(tmp_path, location):
    (tmp_path / "model").mkdir()
    proto, kernel = model(location)
    path = tmp_path / "model" / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    (tmp_path / "secret").write_bytes(kernel.tobytes())
    return path


def test_weights_in_its_own_folder_are_read(tmp_path):
    path = save(tmp_path, "sub/weights")
    (tmp_path / "model" / "sub").mkdir()
    (tmp_path / "model" / "sub" / "weights").write_bytes((tmp_path / "secret").read_bytes())
    found = importers.load(path)
    shown = found.apply_fn(found.params, np.ones((1, 4, 4, 3), np.float32))
    np.testing.assert_allclose(shown[0], [2256, 2304])


def linked(path, tmp_path):
    (path.parent / "weights").symlink_to(tmp_path / "secret")


def hard_linked(path, tmp_path):
    os.link(tmp_path / "secret", path.parent / "weights")


def linked_folder(path, tmp_path):
    (path.parent / "sub").symlink_to(tmp_path)


def huge(path, tmp_path):
    with (path.parent / "weights").open("wb") as file:
        file.truncate(2**40)


def fifo(path, tmp_path):
    os.mkfifo(path.parent / "weights")


CASES = {
    "elsewhere": ("../secret", None, "lies in another folder"),
    "absolute": ("/etc/passwd", None, "lies in another folder"),
    "device": ("/dev/zero", None, "lies in another folder"),
    "back": ("sub\\..\\..\\secret", None, "lies in another folder"),
    "nowhere": ("", None, "lies in another folder"),
    "missing": ("weights", None, "is missing"),
    "link": ("weights", linked, "is a link"),
    "hard link": ("weights", hard_linked, "has another name elsewhere"),
    "folder that is a link": ("sub/secret", linked_folder, "is a link"),
    "sparse file": ("weights", huge, "has 1099511627776 bytes: at most"),
    "fifo": ("weights", fifo, "is missing"),
}


@pytest.mark.parametrize("name", CASES)
def test_other_files_are_not_read(name, tmp_path):
    location, make, words = CASES[name]
    path = save(tmp_path, location)
    if make:
        make(path, tmp_path)
    with pytest.raises(UserError, match=rf"model.onnx keeps weights in .* {words}"):
        importers.load(path)


def test_a_graph_that_leads_back_to_itself_is_refused(tmp_path):
    net = Network()
    x = net.add("Relu", "image")
    proto = net.model(net.add("Relu", x), (3, 4, 4), outputs=None)
    proto.graph.node[0].input[0] = proto.graph.node[1].output[0]
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match=r"model.onnx is no whole ONNX model"):
        importers.load(tmp_path / "model.onnx")


def test_functions_that_call_each_other_are_not_unfolded(tmp_path):
    """Sixty that call the next one twice would be 2**60 steps."""
    net = Network()
    proto = net.model(net.add("Relu", "image"), (3, 4, 4), outputs=None)
    helper = onnx.helper
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for number in range(60):
        last = number == 59
        kind, domain = ("Relu", "") if last else (f"f{number + 1}", "own")
        nodes = [
            helper.make_node(kind, [one], [other], domain=domain)
            for one, other in (("x", "y"), ("y", "z"))
        ]
        proto.functions.append(
            helper.make_function("own", f"f{number}", ["x"], ["z"], nodes, imports)
        )
    proto.graph.node[0].op_type, proto.graph.node[0].domain = "f0", "own"
    proto.opset_import.append(helper.make_opsetid("own", 1))
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match=r"its functions make 1000000000000 nodes"):
        importers.load(tmp_path / "model.onnx")


def test_weights_within_a_node_are_looked_at_as_well(tmp_path):
    path = save(tmp_path, "../secret")
    proto = onnx.load(path, load_external_data=False)
    (tensor,) = (each for each in proto.graph.initializer if each.dims == [48, 2])
    constant = onnx.helper.make_node("Constant", [], [tensor.name])
    constant.attribute.append(onnx.helper.make_attribute("value", tensor))
    proto.graph.initializer.remove(tensor)
    proto.graph.node.insert(0, constant)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match="lies in another folder"):
        importers.load(path)
