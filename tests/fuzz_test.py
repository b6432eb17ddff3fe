"""Mutations of valid files, the same in each run: every reader gives a result or one sentence.

About a minute in all. A mutation that a reader takes for whole is as good as one that it refuses:
what must not happen is another error, which would end in a traceback, a crash or a hang.
"""

import dataclasses
import io
import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import onnx as onnx_package
import onnx_networks
import pytest
import simulated
import torch_programs
from keras_jax import keras_on_jax
from onnx_networks import Network
from PIL import Image

from mia_jax.evidence import panels
from mia_jax.faces import images
from mia_jax.recognizer import importers, preprocessing
from mia_jax.recognizer.importers import functions, programs, torch
from mia_jax.recognizer.importers.operations import OPERATIONS
from mia_jax.runtime import checkpoints, records, storage
from mia_jax.runtime.errors import UserError
from mia_jax.study import design, links, static

WORDS = links.Links(b"s" * links.SECRET_BYTES)
RNG = np.random.default_rng(0)
TOKENS = (
    *(b"0", b"-1", b"1e999", b"99999999999999999999", b"null", b"true", b'""', b"[]", b"{}", b"["),
    *(b'{"a":', b'"\\ud800"', b"\xff", b"\0", b"NaN", b",", b"\n"),
)


def mutated(content, rng):
    """Changes some bytes, or leaves out, repeats or replaces a part."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        first = int(rng.integers(0, len(data) + 1))
        last = min(len(data), first + int(2 ** rng.uniform(0, 8)))
        match rng.integers(0, 7):
            case 0:
                del data[first:last]
            case 1:
                data[first:first] = data[first:last]
            case 2:
                data[first:last] = bytes(last - first)
            case 3:
                data[first:last] = b"\xff" * (last - first)
            case 4:
                data[first:last] = rng.bytes(last - first)
            case 5:
                data[first:last] = TOKENS[rng.integers(len(TOKENS))]
            case _ if first < len(data):
                data[first] ^= 1 << int(rng.integers(8))
    return bytes(data if rng.random() < 0.9 else data[: len(data) // 2])


def inside(content, rng):
    """Changes a file within an archive, and leaves the archive whole."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    chosen = [*files][rng.integers(len(files))]
    files[chosen] = mutated(files[chosen], rng)
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for name, each in files.items():
            archive.writestr(name, each)
    return changed.getvalue()


WHOLE = (0, 1, -1, 2, 3, 7, 1000, 2**16, 2**31, 2**40, -(2**40), 2**62)
REAL = (0.0, -1.0, 1e-9, 1e9, float("inf"), float("nan"))


def graph_changed(content, rng):
    """Changes what a graph says, and leaves it a whole file, so that it is evaluated."""
    proto = onnx_package.ModelProto.FromString(content)
    nodes, weights = proto.graph.node, proto.graph.initializer
    for _ in range(rng.integers(1, 4)):
        node = nodes[rng.integers(len(nodes))]
        given = [each for each in node.attribute if each.ints or each.type in (1, 2)]
        match rng.integers(0, 5):
            case 0 if given:
                each = given[rng.integers(len(given))]
                if each.ints:
                    each.ints[rng.integers(len(each.ints))] = WHOLE[rng.integers(len(WHOLE))]
                elif each.type == 2:
                    each.i = WHOLE[rng.integers(len(WHOLE))]
                else:
                    each.f = REAL[rng.integers(len(REAL))]
            case 1:
                node.op_type = sorted(OPERATIONS)[rng.integers(len(OPERATIONS))]
            case 2 if node.input:
                others = [name for each in nodes for name in each.output]
                others += [each.name for each in weights]
                node.input[rng.integers(len(node.input))] = others[rng.integers(len(others))]
            case 3:
                weight = weights[rng.integers(len(weights))]
                array = onnx_package.numpy_helper.to_array(weight).copy()
                if array.size:
                    values = WHOLE if array.dtype.kind == "i" else REAL
                    array.flat[rng.integers(array.size)] = values[rng.integers(len(values))]
                weight.CopyFrom(onnx_package.numpy_helper.from_array(array, weight.name))
            case _:
                sides = proto.graph.input[0].type.tensor_type.shape.dim
                sides[rng.integers(len(sides))].dim_value = WHOLE[rng.integers(len(WHOLE))]
    return proto.SerializeToString()


@dataclasses.dataclass(frozen=True)
class Person:
    name: str
    values: tuple[float, ...]
    about: dict[str, int]


def record(tmp_path):
    records.write(tmp_path / "a.json", Person("ada", (0.5, 2.0), {"a": 1}))
    return tmp_path / "a.json"


def plan(tmp_path):
    records.write(tmp_path / "plan.json", simulated.plan()[0])
    return tmp_path / "plan.json"


def sheet(tmp_path):
    made = simulated.plan()[0]
    text = {"plan": design.digest(made), "observer": WORDS.observer(2), "answers": ["agreed", "0"]}
    storage.write_json(tmp_path / "sheet.json", {"schema": 1, **text})
    return tmp_path / "sheet.json"


def judges(tmp_path):
    lines = [json.dumps({"panel": name, "question": "who?", "answer": "yes"}) for name in "abc"]
    (tmp_path / "sheet.jsonl").write_text("\n".join(lines))
    return tmp_path / "sheet.jsonl"


def read_judges(path):
    """As `experiments.panel_files` does."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return panels.read([storage.parse_json(line) for line in lines if line.strip()])
    except ValueError as error:
        raise UserError(str(error).replace("\n", " ")) from error


def how(tmp_path):
    storage.write_json(tmp_path / "how.json", {"range": 255, "mean": [0.5] * 3, "channels": "RGB"})
    return tmp_path / "how.json"


def table(tmp_path):
    storage.write_table(
        tmp_path / "metrics.csv", [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 1}]
    )
    return tmp_path / "metrics.csv"


def arrays(tmp_path):
    given = {"a": np.arange(12.0).reshape(3, 4), "names": np.array(["ada", "bob"])}
    storage.write_arrays(tmp_path / "a.npz", given)
    return tmp_path / "a.npz"


def read_and_map(path):
    storage.names_of(path)
    storage.map_array(path, "a")[1:].sum()
    return storage.read_arrays(path)


def safetensors(tmp_path):
    module = pytest.importorskip("safetensors.numpy", reason="extra torch")
    module.save_file({"a": np.arange(12, dtype=np.float32)}, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def state(tmp_path):
    module = pytest.importorskip("torch", reason="extra torch")
    pytest.importorskip("onnxscript", reason="extra torch")
    module.save({"a": module.arange(12.0)}, tmp_path / "a.pt")
    return tmp_path / "a.pt"


def onnx(tmp_path):
    net = Network()
    x = net.add("Conv", "image", net.weight(RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)))
    x = net.add("Flatten", net.add("GlobalAveragePool", net.add("Relu", x)))
    x = net.add("MatMul", x, net.weight(np.ones((4, 5), np.float32)))
    return onnx_networks.save(net.model(x, (3, 8, 8)), tmp_path / "a.onnx")


def graph(tmp_path):
    """A graph of many operations whose numbers say how large things become."""
    net = Network()
    x = net.add("MaxPool", net.conv("image", 3, 4, stride=2), kernel_shape=[2, 2])
    x = net.add("Pad", x, net.weight(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    x = net.add("Resize", x, "", net.weight(np.array([1, 1, 2, 2], np.float32)), mode="linear")
    x = net.add("Slice", x, *[net.weight(np.array([each])) for each in (0, 6, 2, 1)])
    x = net.add(
        "Split", net.add("Expand", x, net.weight(np.array([1, 4, 6, 10]))), outputs=2, axis=1
    )
    x = net.add("LRN", net.add("Concat", *x, axis=1), size=3)
    sides = net.add(
        "Slice", net.add("Shape", x), net.weight(np.array([1])), net.weight(np.array([4]))
    )
    x = net.add("Add", x, net.add("ConstantOfShape", sides))
    x = net.add(
        "AveragePool", net.add("Tile", x, net.weight(np.array([1, 1, 2, 1]))), kernel_shape=[3, 3]
    )
    x = net.add("ReduceMean", net.add("Transpose", x, perm=[0, 2, 3, 1]), axes=[1], keepdims=1)
    count = net.add("Range", *[net.weight(np.array(each)) for each in (0, 6, 1)])
    x = net.add("Gather", x, count, axis=2)
    x = net.add("Reshape", x, net.weight(np.array([0, 24])))
    return onnx_networks.save(net.model(net.dense(x, 24, 5), (3, 8, 8)), tmp_path / "a.onnx")


def program(tmp_path):
    return torch_programs.write(
        tmp_path / "a.pt2", torch_programs.members(torch_programs.program())
    )


def real_program(tmp_path):
    torch_programs.real_program(tmp_path)
    return tmp_path / "good.pt2"


def keras(tmp_path):
    module = keras_on_jax()
    image = module.Input((8, 8, 3))
    x = module.layers.GlobalAveragePooling2D()(module.layers.Conv2D(4, 3)(image))
    module.Model(image, module.layers.Dense(5)(x)).save(tmp_path / "a.keras")
    return tmp_path / "a.keras"


def archive(tmp_path):
    shape = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    exported = jax.export.export(jax.jit(lambda x: x.mean((1, 2))))(shape)
    (tmp_path / "a.jaxexport").write_bytes(exported.serialize(vjp_order=1))
    return tmp_path / "a.jaxexport"


def photograph(kind):
    def write(tmp_path):
        path = tmp_path / f"a.{kind.lower()}"
        Image.fromarray(RNG.integers(0, 255, (24, 16, 3), np.uint8)).save(path, kind)
        return path

    return write


TREE = {"a": np.arange(64, dtype=np.float32), "b": np.zeros((2, 3), np.float32)}

READERS = {
    "json": (record, lambda path: records.read(path, Person), mutated, 1000),
    "plan": (plan, lambda path: records.read(path, design.Plan), mutated, 500),
    "sheet": (
        sheet,
        lambda path: static.returned(simulated.plan()[0], WORDS, [1, 2], [path]),
        *(mutated, 100),
    ),
    "judges": (judges, read_judges, mutated, 1000),
    "preprocessing": (how, preprocessing.read, mutated, 1000),
    "table": (table, storage.read_table, mutated, 1000),
    "npz": (arrays, read_and_map, mutated, 800),
    "npz inside": (arrays, read_and_map, inside, 1000),
    "weights npz": (arrays, functions.read_arrays, mutated, 1000),
    "safetensors": (safetensors, functions.read_arrays, mutated, 1000),
    "state": (state, torch.read_state, mutated, 300),
    "onnx": (onnx, importers.load, mutated, 1000),
    "onnx evaluated": (graph, importers.load, graph_changed, 150),
    "pt2": (program, programs.copied, mutated, 1000),
    "pt2 inside": (program, programs.copied, inside, 1500),
    "pt2 to the end": (real_program, importers.load, inside, 3),
    "keras": (keras, importers.load, mutated, 60),
    "keras inside": (keras, importers.load, inside, 100),
    "jaxexport": (archive, importers.load, mutated, 3),  # Each in another process first.
    **{kind: (photograph(kind), images.read_image, mutated, 300) for kind in images.FORMATS},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_a_mutated_file_gives_a_result_or_one_sentence(name, tmp_path):
    make, read, mutate, count = READERS[name]
    path = make(tmp_path)
    whole, rng = path.read_bytes(), np.random.default_rng(7)
    read(path)
    refused = 0
    for number in range(count):
        path.write_bytes(mutate(whole, rng))
        try:
            read(path)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error), (number, str(error))
        except Exception as error:
            raise AssertionError(f"mutation {number} of {name}: {error!r}") from error
    assert refused > count / 10


@pytest.mark.filterwarnings("ignore")
def test_a_mutated_checkpoint_gives_a_result_or_one_sentence(tmp_path):
    rng, refused = np.random.default_rng(7), 0
    for number in range(25):
        home = tmp_path / str(number)
        checkpoints.save_checkpoint(home, TREE)
        files = sorted(path for path in home.rglob("*") if path.is_file())
        path = files[rng.integers(len(files))]
        path.write_bytes(mutated(path.read_bytes(), rng))
        try:
            checkpoints.restore_checkpoint(home, TREE)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused
