"""Programs of torch.export: what PyTorch writes in short, which tests change, and a real one."""

import json
import zipfile

import pytest

LEAF = {"type": None, "context": None, "children_spec": []}
SYMBOL = "Symbol('s1', positive=True, integer=True)"


def payload(file, sides):
    meta = {
        "dtype": 7,
        "sizes": [{"as_int": side} for side in sides],
        "requires_grad": False,
        "device": {"type": "cpu", "index": None},
        "strides": [{"as_int": 1} for _ in sides],
        "storage_offset": {"as_int": 0},
        "layout": 7,
    }
    return {"path_name": file, "is_param": True, "use_pickle": False, "tensor_meta": meta}


def spec(tree):
    return json.dumps([1, tree])


def program():
    """What PyTorch writes of a network of one layer, in short."""
    tensor = payload("", (3,))["tensor_meta"] | {
        "sizes": [{"as_expr": {"expr_str": SYMBOL, "hint": {"as_int": 2}}}, {"as_int": 3}]
    }
    node = {
        "target": "torch.ops.aten.relu.default",
        "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}, "kind": 1}],
        "outputs": [{"as_tensor": {"name": "relu"}}],
        "metadata": {"stack_trace": 'File "/home/someone/net.py"', "torch_fn": "relu;relu"},
        "name": "relu",
    }
    graph = {
        "inputs": [{"as_tensor": {"name": "x"}}],
        "outputs": [{"as_tensor": {"name": "relu"}}],
        "nodes": [node],
        "tensor_values": {"x": tensor, "relu": tensor},
        "sym_int_values": {},
        "sym_bool_values": {},
    }
    signature = {
        "inputs": [],
        "outputs": [],
        "in_spec": spec({"type": "builtins.tuple", "context": "null", "children_spec": [LEAF]}),
        "out_spec": spec(LEAF),
        "forward_arg_names": ["x"],
    }
    return {
        "graph_module": {
            "graph": graph,
            "signature": {"input_specs": [], "output_specs": []},
            "module_call_graph": [{"fqn": "", "signature": signature}],
            "metadata": {},
            "treespec_namedtuple_fields": {},
        },
        "opset_version": {"aten": 10},
        "range_constraints": {"s1": {"min_val": 0, "max_val": None}},
        "schema_version": {"major": 8, "minor": 20},
        "verifiers": ["TRAINING"],
        "torch_version": "2.13.0+cpu",
        "guards_code": [],
    }


def members(model):
    """The files of an archive."""
    return {
        "models/model.json": json.dumps(model).encode(),
        "data/weights/weight_0": bytes(12),
        "data/weights/model_weights_config.json": json.dumps(
            {"config": {"0.weight": payload("weight_0", (3,))}}
        ).encode(),
        "data/constants/model_constants_config.json": b'{"config": {}}',
        "data/sample_inputs/model.pt": b"a pickle",
        "archive_format": b"pt2",
        "archive_version": b"0",
        ".data/version": b"6\n",
        "byteorder": b"little",
    }


def write(path, files, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(f"net/{name}", content)
    return path


def real_program(tmp_path):
    """A program that PyTorch wrote, as the files of its archive."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: extra torch")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: extra torch")
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).eval()
    example = (torch.zeros(2, 3, 4, 4),)
    program = torch.export.export(module, example, dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, tmp_path / "good.pt2")
    with zipfile.ZipFile(tmp_path / "good.pt2") as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
