"""The same network through every importer gives the same, and what its own run time gives."""

import dataclasses
import json
import pathlib
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import onnx_networks
import pytest
from jax._src.export import _export
from jax._src.interpreters import mlir
from keras_jax import keras_on_jax
from onnx_networks import Network

from mia_jax.recognizer import importers
from mia_jax.recognizer.importers import functions
from mia_jax.runtime import checkpoints
from mia_jax.runtime.errors import MissingError, UserError

DRAW = np.random.default_rng(0)
KERNEL = DRAW.normal(size=(3, 3, 3, 8)).astype(np.float32) / 5  # Height, width, channels, features.
SCALE, SHIFT = DRAW.uniform(0.5, 1.5, (2, 8)).astype(np.float32)
MEAN, VARIANCE = DRAW.uniform(0.1, 0.5, (2, 8)).astype(np.float32)
DENSE = DRAW.normal(size=(8, 5)).astype(np.float32)
EPSILON = 1e-3
PICTURES = DRAW.random((3, 12, 12, 3), np.float32)
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def in_jax():
    def apply_fn(params, images):
        x = jax.lax.conv_general_dilated(
            images,
            params["kernel"],
            (2, 2),
            [(1, 1)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = (x - MEAN) / jnp.sqrt(VARIANCE + EPSILON) * SCALE + SHIFT
        return jax.nn.relu(x).mean((1, 2)) @ params["dense"]

    return apply_fn, {"kernel": KERNEL, "dense": DENSE}


def expected():
    apply_fn, params = in_jax()
    return np.asarray(apply_fn(params, PICTURES))


def in_onnx(tmp_path):
    net = Network()
    x = net.add(
        *("Conv", "image", net.weight(KERNEL.transpose(3, 2, 0, 1))),
        strides=[2, 2],
        pads=[1, 1, 1, 1],
    )
    parts = [net.weight(each) for each in (SCALE, SHIFT, MEAN, VARIANCE)]
    x = net.add("Relu", net.add("BatchNormalization", x, *parts, epsilon=EPSILON))
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    model = net.model(net.add("MatMul", x, net.weight(DENSE)), (3, 12, 12))
    path = onnx_networks.save(model, tmp_path / "model.onnx")
    return importers.load(path), onnx_networks.run(model, PICTURES)


def torch_module():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: extra torch")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: extra torch")
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        torch.nn.BatchNorm2d(8, EPSILON),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 5, bias=False),
    )
    arrays = {
        "0.weight": KERNEL.transpose(3, 2, 0, 1).copy(),
        "1.weight": SCALE,
        "1.bias": SHIFT,
        "1.running_mean": MEAN,
        "1.running_var": VARIANCE,
        "1.num_batches_tracked": np.array(1),
        "5.weight": DENSE.T.copy(),
    }
    return torch, module, {name: torch.tensor(array) for name, array in arrays.items()}


def in_torch(tmp_path, single=False):
    torch, module, state = torch_module()
    module.load_state_dict(state)
    images = torch.tensor(PICTURES.transpose(0, 3, 1, 2).copy())
    logits = module.eval()(images).detach().numpy()
    batch = None if single else ({0: torch.export.Dim("n")},)
    program = torch.export.export(module, (images[:1] if single else images,), dynamic_shapes=batch)
    torch.export.save(program, tmp_path / "model.pt2")
    return importers.load(tmp_path / "model.pt2"), logits


def in_torch_for_one_picture(tmp_path):
    return in_torch(tmp_path, single=True)


def of_torch_module(tmp_path, kind=".safetensors"):
    torch, module, state = torch_module()
    module.load_state_dict(state)
    images = torch.tensor(PICTURES.transpose(0, 3, 1, 2).copy())
    logits = module.eval()(images).detach().numpy()
    path = tmp_path / f"state{kind}"
    if kind == ".pt":
        torch.save({"state_dict": state}, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)
    imported = functions.load(lambda: torch_module()[1], "module", (12, 12, 3), path)
    return imported, logits


def of_torch_state(tmp_path):
    return of_torch_module(tmp_path, ".pt")


def in_keras(tmp_path):
    keras = keras_on_jax()
    image = keras.Input((12, 12, 3))
    x = keras.layers.ZeroPadding2D(1)(image)
    x = keras.layers.Conv2D(8, 3, 2, use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(epsilon=EPSILON)(x))
    x = keras.layers.Dense(5, use_bias=False)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x)
    model.set_weights([KERNEL, SCALE, SHIFT, MEAN, VARIANCE, DENSE])
    model.save(tmp_path / "model.keras")
    return importers.load(tmp_path / "model.keras"), np.asarray(model(PICTURES))


def test_a_model_of_keras_with_random_layers_is_the_same_each_time(tmp_path):
    keras = keras_on_jax()
    image = keras.Input((12, 12, 3))
    x = keras.layers.Dropout(0.5)(keras.layers.RandomFlip()(image))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    model.save(tmp_path / "model.keras")
    first, again = (importers.load(tmp_path / "model.keras") for _ in range(2))
    assert checkpoints.digest(first.params) == checkpoints.digest(again.params)
    expected = model(PICTURES, training=False)
    np.testing.assert_allclose(first.apply_fn(first.params, PICTURES), expected, rtol=1e-4)


def as_archive(tmp_path, batch="n"):
    apply_fn, params = in_jax()
    (count,) = jax.export.symbolic_shape(batch)
    shape = jax.ShapeDtypeStruct((count, 12, 12, 3), jnp.float32)
    exported = jax.export.export(jax.jit(lambda images: apply_fn(params, images)))(shape)
    path = tmp_path / "model.jaxexport"
    path.write_bytes(exported.serialize(vjp_order=1))
    calls = [exported.call(each[None]) for each in PICTURES]
    return importers.load(path), np.concatenate(calls)


def as_archive_for_one_picture(tmp_path):
    return as_archive(tmp_path, "1")


def as_function(tmp_path):
    np.savez(tmp_path / "weights.npz", **in_jax()[1])

    def make(arrays):
        return in_jax()[0], dict(arrays)

    imported = functions.load(make, "make", (12, 12, 3), tmp_path / "weights.npz")
    return imported, expected()


WAYS = (
    in_onnx,
    in_torch,
    in_torch_for_one_picture,
    of_torch_module,
    of_torch_state,
    in_keras,
    as_archive,
    as_archive_for_one_picture,
    as_function,
)


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def made(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("models"))


def test_every_importer_gives_the_same(made):
    imported, logits = made
    assert imported.image_shape in ((12, 12, 3), (None, None, None))
    given = jax.jit(imported.apply_fn)(imported.params, PICTURES)
    np.testing.assert_allclose(given, logits, **TOLERANCE)
    np.testing.assert_allclose(given, expected(), **TOLERANCE)


def test_an_imported_model_can_be_attacked_side_by_side(made):
    """The gradient under vmap, as the attack asks for it, is that of finite differences."""
    imported, _ = made
    groups = jnp.stack([PICTURES, PICTURES[::-1]])
    direction = np.random.default_rng(1).normal(size=groups.shape).astype(np.float32)

    def score(params, images):
        return jnp.sum(imported.apply_fn(params, images)[:, 2])

    values = jax.jit(jax.vmap(jax.value_and_grad(score, argnums=1), in_axes=(None, 0)))
    _, gradient = values(imported.params, groups)
    step = 1e-2
    ahead, behind = (
        values(imported.params, groups + sign * step * direction)[0] for sign in (1, -1)
    )
    slope = jnp.sum(gradient * direction, axis=(1, 2, 3, 4))
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=2e-2, atol=2e-2)


def write(path, content=b"nothing"):
    path.write_bytes(content)
    return path


def torch_pickle(tmp_path):
    torch, module, _ = torch_module()
    torch.save(module, tmp_path / "model.pt")
    return functions.load(lambda: module, "module", (12, 12, 3), tmp_path / "model.pt")


def other_state(tmp_path):
    torch, module, state = torch_module()
    torch.save({**state, "5.weight": torch.zeros(3, 3)}, tmp_path / "model.pt")
    return functions.load(lambda: module, "module", (12, 12, 3), tmp_path / "model.pt")


def lacking_state(tmp_path):
    torch, module, state = torch_module()
    state["fc.weight"] = state.pop("5.weight")
    torch.save({f"module.{name}": each for name, each in state.items()}, tmp_path / "model.pt")
    return functions.load(lambda: module, "module", (12, 12, 3), tmp_path / "model.pt")


def two_states(tmp_path):
    torch, module, state = torch_module()
    torch.save({"generator": state, "critic": state}, tmp_path / "model.pt")
    return functions.load(lambda: module, "module", (12, 12, 3), tmp_path / "model.pt")


def no_state(tmp_path):
    torch, module, _ = torch_module()
    torch.save({"epoch": 7}, tmp_path / "model.pt")
    return functions.load(lambda: module, "module", (12, 12, 3), tmp_path / "model.pt")


def legacy_pickle(tmp_path):
    torch, module, _ = torch_module()
    torch.save(module, tmp_path / "model.pth", _use_new_zipfile_serialization=False)
    return functions.load(lambda: module, "module", (12, 12, 3), tmp_path / "model.pth")


def of_function(call):
    """A module of PyTorch that is one function of the pictures."""
    torch, _, _ = torch_module()

    class Called(torch.nn.Module):
        def forward(self, x):
            return call(torch, x)

    return functions.load(Called, "module", (12, 12, 3))


def failing_module(tmp_path):
    return of_function(lambda torch, x: x.flatten(1) @ torch.zeros(7, 2))


def looking_module(tmp_path):
    return of_function(lambda torch, x: x.mean((2, 3)) if x.sum() > 1 else -x.mean((2, 3)))


def unwritable_module(tmp_path):
    return of_function(lambda torch, x: torch.special.airy_ai(x).mean((2, 3)))


WRAPPED = {
    "DataParallel": lambda state: {f"module.{name}": each for name, each in state.items()},
    "compiled, in a checkpoint": lambda state: {
        "epoch": 7,
        "model": {f"_orig_mod.module.{name}": each for name, each in state.items()},
    },
    "Lightning": lambda state: {
        "state_dict": {f"model.{name}": each for name, each in state.items()},
        "optimizer_states": [{"state": {}}],
    },
    "a state_dict beside an average of it": lambda state: {
        "state_dict": state,
        "ema": {name: 0 * each for name, each in state.items()},
    },
    "of a release that counted no batches": lambda state: {
        name: each for name, each in state.items() if not name.endswith("num_batches_tracked")
    },
}


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("name", WRAPPED)
def test_what_wraps_weights_or_their_names_is_taken_off(name, parallel, tmp_path):
    torch, module, state = torch_module()
    torch.save(WRAPPED[name](state), tmp_path / "model.pt")
    given = torch.nn.DataParallel(module) if parallel else module
    found = functions.load(lambda: given, "module", (12, 12, 3), tmp_path / "model.pt")
    np.testing.assert_allclose(found.apply_fn(found.params, PICTURES), expected(), **TOLERANCE)


def pickled_program(tmp_path):
    in_torch(tmp_path)
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "evil.pt2", "w") as archive:
        for name, content in members.items():
            if name.endswith("weights_config.json"):
                config = json.loads(content)
                next(iter(config["config"].values()))["use_pickle"] = True
                content = json.dumps(config).encode()
            archive.writestr(name, content)
    return importers.load(tmp_path / "evil.pt2")


def truncated_program(tmp_path):
    in_torch(tmp_path)
    content = (tmp_path / "model.pt2").read_bytes()
    return importers.load(write(tmp_path / "half.pt2", content[: len(content) // 2]))


def empty_file_of_keras(tmp_path):
    keras_on_jax()
    return importers.load(write(tmp_path / "a.keras"))


def two_outputs_of_keras(tmp_path):
    keras = keras_on_jax()
    image = keras.Input((12, 12, 3))
    x = keras.layers.Flatten()(image)
    keras.Model(image, [x, x]).save(tmp_path / "model.keras")
    return importers.load(tmp_path / "model.keras")


def code_of_keras(tmp_path):
    keras = keras_on_jax()
    image = keras.Input((12, 12, 3))
    keras.Model(image, keras.layers.Lambda(lambda x: x[:, 0, :, 0])(image)).save(
        tmp_path / "model.keras"
    )
    return importers.load(tmp_path / "model.keras")


def archive_without_gradient(tmp_path):
    shape = jax.ShapeDtypeStruct((1, 12, 12, 3), jnp.float32)
    exported = jax.export.export(jax.jit(lambda images: images.mean((1, 2))))(shape)
    return importers.load(write(tmp_path / "model.jaxexport", exported.serialize()))


def archive_that_calls(target, backward=False):
    """An archive whose function, or whose gradient alone, calls a function of the process."""

    def call(images):
        shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
        return jax.ffi.ffi_call(target, shape, has_side_effect=True)(images, index=np.uint64(7))

    @jax.custom_vjp
    def layer(images):
        return images if backward else call(images)

    layer.defvjp(
        lambda images: (images if backward else call(images), None),
        lambda _, gradient: (call(gradient) if backward else gradient,),
    )

    def archive(tmp_path):
        shape = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
        exported = jax.export.export(
            jax.jit(lambda images: layer(images).mean((1, 2))),
            disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(target)],
        )(shape)
        return importers.load(write(tmp_path / "a.jaxexport", exported.serialize(vjp_order=1)))

    return archive


def archive_of_a_large_array(tmp_path):
    def apply(images):
        return images.mean((1, 2)) + jnp.zeros((2**15, 2**15)).sum()

    shape = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    exported = jax.export.export(jax.jit(apply))(shape)
    return importers.load(write(tmp_path / "a.jaxexport", exported.serialize(vjp_order=1)))


def archive_of_text(old, new):
    """An archive whose function somebody wrote by hand."""

    def archive(tmp_path):
        shape = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
        made = jax.export.export(jax.jit(lambda images: images.mean((1, 2))))(shape)
        text = made.mlir_module()
        assert old in text
        with mlir.make_ir_context():
            module = mlir.ir.Module.parse(text.replace(old, new))
            written = _export._module_to_bytecode(module)
        changed = dataclasses.replace(made, mlir_module_serialized=written)
        return importers.load(write(tmp_path / "a.jaxexport", changed.serialize(vjp_order=1)))

    return archive


def archive_for_eight_devices(tmp_path):
    shape = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    made = jax.export.export(jax.jit(lambda images: images.mean((1, 2))))(shape)
    content = dataclasses.replace(made, nr_devices=8).serialize(vjp_order=1)
    return importers.load(write(tmp_path / "a.jaxexport", content))


def archive_that_needs_much(tmp_path):
    """Forty arrays, each of an acceptable size, of which all are needed to the end."""

    def apply(images):
        parts = [jnp.sort(jnp.full((2**26,), images.sum() + n)) for n in range(20)]
        return images.mean((1, 2)) + sum(part * parts[-1] for part in parts).max()

    shape = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    made = jax.export.export(jax.jit(apply))(shape)
    return importers.load(write(tmp_path / "a.jaxexport", made.serialize(vjp_order=1)))


def keras_in_large_pieces(tmp_path):
    """HDF5 unpacks a gigabyte for fifteen weights."""
    h5py = pytest.importorskip("h5py", reason="extra keras")
    keras = keras_on_jax()
    image = keras.Input((12, 12, 3))
    dense = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(image))
    keras.Model(image, dense).save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "a.h5").write_bytes(files["model.weights.h5"])
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["layers/dense/vars/0"]
        facts = {"maxshape": (None, None), "chunks": (2**14, 2**14), "compression": "gzip"}
        file.create_dataset("layers/dense/vars/0", (3, 5), "f4", **facts)
    files["model.weights.h5"] = (tmp_path / "a.h5").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return importers.load(tmp_path / "a.keras")


DIVIDED = "stablehlo.divide %0, %1"
ALONE = f"""%9 = stablehlo.custom_call @Sharding() : () -> tensor<1x3xf32>
    %2 = {DIVIDED.replace("%0", "%9")}"""
ALL = f"""%9 = "stablehlo.all_reduce"(%0) <{{
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}}> ({{
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %c = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %c : tensor<f32>
    }}) : (tensor<1x3xf32>) -> tensor<1x3xf32>
    %2 = {DIVIDED.replace("%0", "%9")}"""
QUOTED = f"""%9 = stablehlo.custom_call @"xla ffi(python"(%0) : (tensor<1x3xf32>) -> tensor<1x3xf32>
    %2 = {DIVIDED.replace("%0", "%9")}"""


def changed_keras(change, name="a.keras"):
    """A model of Keras whose configuration somebody changed."""

    def load(tmp_path):
        keras = keras_on_jax()
        image = keras.Input((12, 12, 3))
        x = keras.layers.UpSampling2D(1)(image)
        x = keras.layers.GlobalAveragePooling2D()(x)
        keras.Model(image, keras.layers.Dense(5)(x)).save(tmp_path / "model.keras")
        with zipfile.ZipFile(tmp_path / "model.keras") as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(files["config.json"])
        files["config.json"] = json.dumps(change(config) or config).encode()
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for each, content in files.items():
                archive.writestr(each, content)
        return importers.load(tmp_path / name)

    return load


def layer_of_keras(number, **given):
    return changed_keras(lambda config: config["config"]["layers"][number]["config"].update(given))


REFUSED = {
    archive_that_calls("xla_ffi_python_cpu_callback"): (
        "a.jaxexport calls xla_ffi_python_cpu_callback, which may run code: .* --trust_model"
    ),
    archive_that_calls("xla_python_cpu_callback", True): "calls xla_python_cpu_callback, which",
    archive_of_text(f"%2 = {DIVIDED}", ALONE): r"no whole archive of jax.export \(jaxlib crashes",
    archive_of_text(f"%2 = {DIVIDED}", ALL): "calls all_reduce, which",
    archive_of_text(f"%2 = {DIVIDED}", QUOTED): "calls one without a name, which may run code",
    archive_for_eight_devices: "cannot be evaluated .*exported for 8 devices",
    archive_that_needs_much: "needs [0-9]+ bytes of memory for one picture: at most 4294967296",
    keras_in_large_pieces: "a.keras packs 15 weights in pieces of 268435456",
    changed_keras(
        lambda config: {
            **{"module": "keras", "class_name": "Sequential", "registered_name": None},
            "config": {"name": "empty", "layers": []},
        }
    ): "a.keras cannot be evaluated .*no defined inputs",
    archive_of_a_large_array: "asks for an array of 32768x32768 numbers: at most 268435456",
    layer_of_keras(3, units=10**9): "asks for an array of 1000000000 numbers",
    layer_of_keras(3, units=10**7): "declares 40000000 weights, and holds [0-9]+ bytes",
    layer_of_keras(1, size=[10**5, 10**5]): "asks for an array of .* at most 268435456",
    changed_keras(lambda config: config["config"].update(layers=7)): "cannot be read by Keras",
    changed_keras(lambda config: [config]): "cannot be read by Keras",
    torch_pickle: "holds no plain tensors, or .* save the state_dict",
    other_state: r"model.pt does not fit module: it has other shapes 5.weight \(3x3 for 5x8\)",
    lacking_state: "lacks 5.weight; it has more than it, such as fc.weight",
    two_states: "no state_dict, tensors by name, and holds several of them, generator, critic",
    no_state: "no state_dict, tensors by name, and holds none",
    legacy_pickle: "holds no plain tensors, or is no whole file: .* not the model",
    failing_module: r"module fails on pictures of 12x12x3: it raises RuntimeError",
    looking_module: r"module answers pictures of 12x12x3, but torch.export cannot follow it",
    unwritable_module: r"module cannot be written as ONNX",
    pickled_program: "evil.pt2 holds pickled objects .*weights_config.json",
    truncated_program: "half.pt2 is no whole program of torch.export",
    two_outputs_of_keras: "returns 2 arrays: a recognizer returns one",
    code_of_keras: "cannot be read by Keras without its own code",
    archive_without_gradient: r"has no gradient: write it with serialize\(vjp_order=1\)",
    empty_file_of_keras: "a.keras is no whole file of Keras 3",
    lambda path: importers.load(write(path / "a.jaxexport")): "no whole archive of jax.export",
    lambda path: importers.load(write(path / "a.pth")): "weights and no network: .*--weights=FILE",
    lambda path: importers.load(write(path / "a.pkl")): "a pickle may run any code",
    lambda path: importers.load(write(path / "a.h5")): "save the model as .keras",
    lambda path: importers.load(write(path / "a.txt")): "models come as .onnx, .pt2, .keras",
    lambda path: functions.load(lambda: 7, "f", (8, 8, 3)): "f returned a int: a tuple",
    lambda path: functions.read_arrays(write(path / "a.npz")): "no whole file of arrays",
}


@pytest.mark.parametrize("broken", REFUSED, ids=lambda each: each.__name__)
def test_what_is_broken_is_refused_in_one_sentence(broken, tmp_path, capfd):
    with pytest.raises(UserError, match=REFUSED[broken]) as caught:
        broken(tmp_path)
    assert "\n" not in str(caught.value)
    for word in ("\x1b", "weights_only", "unpickle", "WeightsUnpickler", "TORCH_"):  # PyTorch's.
        assert word not in str(caught.value)
    assert "def forward" not in "".join(capfd.readouterr())


def test_a_file_in_a_model_of_keras_stays_in_it(tmp_path):
    """Neither above the folder for what a layer keeps beside its weights, nor at another place."""
    keras = keras_on_jax()
    image = keras.Input((12, 12, 3))
    dense = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(image))
    keras.Model(image, dense).save(tmp_path / "model.keras")
    outside = tmp_path / "outside"
    with zipfile.ZipFile(tmp_path / "model.keras", "a") as archive:
        for name in ("assets/../../outside", "../outside", str(outside), "assets/layer/a"):
            archive.writestr(name, "written")
    try:
        importers.load(tmp_path / "model.keras")
    except UserError as error:
        assert "\n" not in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def header(text, length=None):
    content = text.encode()
    return (len(content) if length is None else length).to_bytes(8, "little") + content


def test_an_archive_on_which_jaxlib_crashes_is_refused(tmp_path, monkeypatch):
    """Some damaged ones end the process that reads them: that is another process."""
    monkeypatch.setattr(importers.exported, "_COMPILE", "import os; os.kill(os.getpid(), 11)")
    with pytest.raises(UserError, match=r"a.jaxexport is no whole archive .*jaxlib crashes on it"):
        importers.load(write(tmp_path / "a.jaxexport"))
    monkeypatch.setattr(importers.exported, "_COMPILE", "while True: pass")
    monkeypatch.setattr(importers.exported, "_PATIENCE", 1)
    with pytest.raises(UserError, match=r"a.jaxexport cannot be read within 1 seconds"):
        importers.load(tmp_path / "a.jaxexport")


HEADERS = {
    "long": header("{}", 2**62),
    "beyond": header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    "many": header('{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]}}') + bytes(4),
    "negative": header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}') + bytes(4),
    "odd": header('{"a":{"dtype":"O","shape":[1],"data_offsets":[0,4]}}') + bytes(4),
    "deep": header("[" * 10000),
    "empty": b"",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_safetensors_is_compared_with_the_file(name, tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed: extra torch")
    with pytest.raises(UserError, match=r"a\.safetensors is no whole file of arrays"):
        functions.read_arrays(write(tmp_path / "a.safetensors", HEADERS[name]))


def test_code_in_a_model_of_keras_does_not_run(tmp_path):
    """Of the module that the configuration names, and of a layer that is a function."""
    marker = tmp_path / "marker"
    keras = keras_on_jax()
    image = keras.Input((12, 12, 3))
    path, shape = str(marker), (12, 12, 3)
    layer = keras.layers.Lambda(lambda x: (pathlib.Path(path).mkdir(), x)[1], output_shape=shape)
    keras.Model(image, layer(image)).save(tmp_path / "model.keras")
    marker.rmdir() if marker.exists() else None
    with pytest.raises(UserError, match="cannot be read by Keras without its own code"):
        importers.load(tmp_path / "model.keras")
    named = {"module": "pathlib", "class_name": "Path", "config": {}, "registered_name": "Path"}
    with pytest.raises(UserError, match="cannot be read by Keras without its own code"):
        changed_keras(lambda config: named)(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("kind", importers.IMPORTERS)
def test_a_missing_file_is_named(kind, tmp_path):
    if kind == ".pt2":
        torch_module()
    if kind == ".keras":
        keras_on_jax()
    with pytest.raises(MissingError, match=f"model{kind} does not exist"):
        importers.load(tmp_path / f"model{kind}")
