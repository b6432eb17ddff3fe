"""A program of PyTorch that could run anything is refused before PyTorch reads it."""

import io
import json
import zipfile

import pytest
from torch_programs import LEAF, SYMBOL, members, payload, program, real_program, spec, write

from mia_jax.recognizer import importers
from mia_jax.recognizer.importers import programs
from mia_jax.runtime.errors import UserError


def test_a_plain_program_is_copied_without_what_pytorch_does_not_need(tmp_path):
    files = members(program()) | {"extra/notes.txt": b"never passed on"}
    with zipfile.ZipFile(programs.copied(write(tmp_path / "a.pt2", files))) as clean:
        found = {name.partition("/")[2]: clean.read(name) for name in clean.namelist()}
    assert found.keys() == members(program()).keys()
    assert found["data/weights/weight_0"] == bytes(12)
    assert found["data/sample_inputs/model.pt"] == b""
    assert b"someone" not in found["models/model.json"]
    copied = json.loads(found["models/model.json"])
    assert copied["graph_module"]["graph"]["nodes"][0]["metadata"] == {}
    assert copied["range_constraints"] == program()["range_constraints"]


EXPRESSIONS = {
    SYMBOL: True,
    f"Add({SYMBOL}, Integer(-1))": True,
    f"Mul(Integer(4), Max(Integer(1), FloorDiv({SYMBOL}, Integer(2))))": True,
    "2*s0 + 3 - s1//2": True,
    "-s0": True,
    "Min(s0, 7)": True,
    "__import__('os').system('true')": False,
    "Symbol('s0', positive=__import__('os'))": False,
    'Symbol("s0\'); import os")': False,
    # sympy drops line ends before it reads: what was a comment is none then.
    "Symbol('a\\\n') # ')+__import__('os').getpid() #\n": False,
    "s0 # \n+open('x')": False,
    "s0\n": False,
    "Symbol('s0', positive='yes')": False,
    "s0.func": False,
    "(lambda: 1)()": False,
    "[s0 for s0 in ()]": False,
    "eval('1')": False,
    "__builtins__": False,
    "'text'": False,
    "2**s0": False,
    "Pow(10, Pow(10, 10))": False,
    "9" * 5000: False,
    "9" * 30: False,
    "(" * 900 + "1" + ")" * 900: False,
    "-" * 1900 + "1": False,
    "s0 +": False,
    "": False,
}


@pytest.mark.parametrize("text", EXPRESSIONS, ids=lambda text: text[:40])
def test_expressions_are_arithmetic_of_symbols_and_integers(text, tmp_path):
    model = program()
    model["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = text
    path = write(tmp_path / "a.pt2", members(model))
    if EXPRESSIONS[text]:
        programs.copied(path)
        return
    with pytest.raises(UserError, match=r"a.pt2 has an expression that may run code .*trust_model"):
        programs.copied(path)


def graph(model):
    return model["graph_module"]["graph"]


def call(model):
    return model["graph_module"]["module_call_graph"][0]["signature"]


def node(**given):
    return lambda model: graph(model)["nodes"][0].update(given)


def argument(**given):
    return lambda model: graph(model)["nodes"][0]["inputs"][0].update(arg=given)


def tree(kind, context):
    return spec({"type": kind, "context": json.dumps(context), "children_spec": []})


ENUM = {"__enum__": True, "fqn": "antigravity:x", "name": "x"}
HOSTILE = {
    "guard": (lambda model: model.update(guards_code=["open('x', 'w')"]), "a guard"),
    "module of torch": (node(target="torch.hub.load"), "an operator"),
    "load": (node(target="torch.load"), "an operator"),
    "library": (node(target="torch.ops.load_library"), "an operator"),
    "file": (node(target="torch.ops.aten.from_file.default"), "an operator"),
    "save": (node(target="torch.ops.aten.save.default"), "an operator"),
    "print": (node(target="torch.ops.aten._print.default"), "an operator"),
    "loader": (node(target="torch.ops.aten.__loader__.exec_module"), "an operator"),
    "class": (node(target="torch.ops.aten.relu.__class__"), "an operator"),
    "deep": (node(target="torch.ops.aten.relu.default.redispatch"), "an operator"),
    "other namespace": (node(target="torch.ops.inductor.accumulate_grad_.default"), "an operator"),
    "call": (node(target="_operator.call"), "an operator"),
    "methodcaller": (node(target="_operator.methodcaller"), "an operator"),
    "math": (node(target="math.__loader__"), "an operator"),
    "extension": (node(target="#custom:op"), "an operator"),
    "plain word": (node(target="exec"), "an operator"),
    "operator argument": (argument(as_operator="torch.load"), "an operator"),
    "object": (argument(as_custom_obj={"name": "a", "class_fqn": "b"}), "an object"),
    "name": (
        lambda model: graph(model)["inputs"][0]["as_tensor"].update(name="x=open('y')"),
        "a name",
    ),
    "key": (lambda model: graph(model)["tensor_values"].update({"x;import os": {}}), "a name"),
    "argument name": (
        lambda model: call(model).update(forward_arg_names=["x=open('y')"]),
        "a name",
    ),
    "text": (argument(as_string='a"); import os; ("'), "a name"),
    "module of a tree": (
        lambda model: call(model).update(
            in_spec=tree("collections.defaultdict", {"default_factory_module": "antigravity"})
        ),
        "a tree of arguments",
    ),
    "enum of a tree": (
        lambda model: call(model).update(in_spec=tree("builtins.dict", [ENUM])),
        "a tree of arguments",
    ),
    "enum beside a tree": (
        lambda model: call(model).update(out_spec=spec(LEAF | ENUM)),
        "a tree of arguments",
    ),
    "code in a tree": (
        lambda model: call(model).update(in_spec=tree("builtins.dict", ["x=open('y')"])),
        "a tree of arguments",
    ),
    "type": (
        lambda model: model["graph_module"].update(treespec_namedtuple_fields={"a": {}}),
        "arguments of a type",
    ),
    "number": (argument(as_int=2**70), "a number"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_else_may_run_is_refused_by_name(name, tmp_path):
    change, words = HOSTILE[name]
    model = program()
    change(model)
    with pytest.raises(UserError, match=f"a.pt2 has {words} that may run code") as caught:
        programs.copied(write(tmp_path / "a.pt2", members(model)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def config(**given):
    return json.dumps({"config": {"w": payload("weight_0", (3,)) | given}}).encode()


def weights(**given):
    return {"data/weights/model_weights_config.json": config(**given)}


FILES = {
    "pickle": (weights(use_pickle=True), "holds pickled objects .*weights_config.json"),
    "custom object": ({"data/constants/custom_obj_0": b""}, "holds pickled objects .*custom_obj_0"),
    "opaque object": ({"data/constants/opaque_obj_0": b""}, "holds pickled objects"),
    "machine code": ({"data/aotinductor/model/a.so": b""}, "holds machine code"),
    "elsewhere": (weights(path_name="../../x"), "has a name that may run code"),
    "nowhere": (weights(path_name="weight_7"), "lacks 'weight_7', which"),
    "empty tensor": (
        weights(tensor_meta=payload("", (10**6, 10**6))["tensor_meta"]),
        "asks for an array of 1000000x1000000 numbers",
    ),
    "larger tensor": (
        weights(tensor_meta=payload("", (1000, 1000))["tensor_meta"]),
        "declares 1000000 numbers of w, and holds fewer bytes",
    ),
    "negative tensor": (weights(tensor_meta=payload("", (-1,))["tensor_meta"]), "declares -1"),
    "old": ({"models/model.json": None}, "it lacks models/model.json.*PyTorch 2.9"),
    "no JSON": ({"models/model.json": b"{"}, "is no whole program"),
    "list": ({"models/model.json": b"[]"}, "is no whole program"),
    "odd configuration": (
        {"data/weights/model_weights_config.json": b'{"config": [1]}'},
        "is no whole program",
    ),
    "no configuration": (
        {"data/weights/model_weights_config.json": b"7"},
        "is no whole program",
    ),
    "deep": ({"models/model.json": b"[" * 100000}, "is no whole program"),
    "deep program": (
        {"models/model.json": b'{"graph_module":{"a":' + b"[" * 900 + b"]" * 900 + b"}}"},
        "is no whole program",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_an_odd_archive_is_refused_in_one_sentence(name, tmp_path):
    files, words = FILES[name]
    files = members(program()) | files
    path = write(tmp_path / "a.pt2", {n: each for n, each in files.items() if each is not None})
    with pytest.raises(UserError, match=words) as caught:
        programs.copied(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"as_ints": [100000, 100000]},
        {"as_int": 10**10},
        {"as_sym_ints": [{"as_int": 2**20}, {"as_int": 2**20}]},
    ],
    ids=["full", "arange", "full of symbols"],
)
def test_arrays_that_no_recognizer_needs_are_refused(given, tmp_path):
    model = program()
    argument(**given)(model)
    node(target="torch.ops.aten.arange.default")(model)
    with pytest.raises(UserError, match=r"asks for an array of .* at most 268435456"):
        programs.copied(write(tmp_path / "a.pt2", members(model)))


def test_what_is_compressed_or_there_twice_is_bounded(tmp_path):
    files = members(program()) | {"extra/zeros": bytes(2**20)}
    programs.copied(write(tmp_path / "a.pt2", files, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(tmp_path / "twice.pt2", "w") as archive, pytest.warns(UserWarning):
        for content in members(program()).values():
            archive.writestr("net/models/model.json", content)
    with pytest.raises(UserError, match=r"twice.pt2 holds a file twice"):
        programs.copied(tmp_path / "twice.pt2")


def run_expression(model, code):
    sizes = graph(model)["tensor_values"]["input"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = code


def run_guard(model, code):
    model["guards_code"] = [f"{code} is not None"]


def run_name(model, code):
    call(model)["forward_arg_names"] = [f"input={code}"]


def run_tree(model, code):
    context = {
        "default_factory_module": "sprung",
        "default_factory_name": "trap",
        "dict_context": [],
    }
    call(model)["in_spec"] = tree("collections.defaultdict", context)


@pytest.mark.parametrize("way", [run_expression, run_guard, run_name, run_tree])
def test_no_payload_in_a_real_program_runs(way, tmp_path, monkeypatch):
    """The payload writes a marker, where the file is not looked at first: with trust, it may."""
    files = real_program(tmp_path)
    marker = tmp_path / "marker"
    (tmp_path / "sprung.py").write_text(f"open({str(marker)!r}, 'w')\ntrap = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = json.loads(files["models/model.json"])
    way(model, f"__import__('pathlib').Path({str(marker)!r}).touch()")
    files["models/model.json"] = json.dumps(model).encode()
    path = write(tmp_path / "evil.pt2", files)
    with pytest.raises(UserError, match=r"evil.pt2 has .* that may run code"):
        importers.load(path)
    assert not marker.exists()


def test_a_program_that_is_trusted_is_read_as_it_is(tmp_path):
    files = real_program(tmp_path)
    model = json.loads(files["models/model.json"])
    model["guards_code"] = ["True"]
    files["models/model.json"] = json.dumps(model).encode()
    path = write(tmp_path / "own.pt2", files)
    with pytest.raises(UserError, match="a guard"):
        importers.load(path)
    assert importers.load(path, trust=True).image_shape == (4, 4, 3)


def test_pytorch_reads_the_copy(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: extra torch")
    real_program(tmp_path)
    copy = programs.copied(tmp_path / "good.pt2")
    assert isinstance(copy, io.BytesIO)
    given = torch.arange(96.0).reshape(2, 3, 4, 4)
    both = [
        torch.export.load(each).module()(given).detach().numpy()
        for each in (copy, tmp_path / "good.pt2")
    ]
    assert (both[0] == both[1]).all()
