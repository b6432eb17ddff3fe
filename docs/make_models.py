"""Makes models to audit, as somebody else would: with PyTorch, Keras and ONNX, on ORL or a folder.

For example: python docs/make_models.py --output=runs/models/orl

<output>/gallery/<person>/    photographs of the registered people, and of some for the judges alone
<output>/public/              photographs of others: the attacker's
<output>/labels.txt           the registered people in the order of the classes
<output>/classifier.pt2       a classifier of PyTorch, by torch.export
<output>/classifier.onnx      the same in ONNX
<output>/smooth.onnx          one trained with label smoothing
<output>/rounded.onnx         the classifier, its probabilities rounded to two digits
<output>/classifier.keras     a classifier of Keras
<output>/embedder.onnx        an embedder, whose templates are enrolled from photographs

Needs the extras torch, keras and, without --data_dir, orl.
"""

import itertools
import os
import pathlib
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import numpy as np
import torch
from absl import app, flags
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from mia_jax import faces
from mia_jax.faces.protocol import shuffled
from mia_jax.runtime.errors import UserError

_OUTPUT = flags.DEFINE_string("output", "runs/models", "Where to.")
_DATA = flags.DEFINE_string("data_dir", None, "A folder for each person; by default ORL.")
_PUBLIC = flags.DEFINE_string("public_dir", None, "Public faces; by default of people set aside.")
_SIZE = flags.DEFINE_integer("size", 64, "Side of the photographs.")
_PEOPLE = flags.DEFINE_integer("people", 20, "Registered people.")
_EPOCHS = flags.DEFINE_integer("epochs", 40, "Of training.")
_KINDS = flags.DEFINE_list("kinds", ["torch", "smooth", "embedder", "keras"], "Which to make.")
_FEATURES = 64


class Faces(torch.nn.Module):
    """Four convolutions, batch normalization and PReLU; returns features, or logits of them."""

    def __init__(self, channels: int, classes: int, cosine: bool = False) -> None:
        """Draws fresh weights."""
        super().__init__()
        widths = [channels, 16, 32, 64, 64]
        layers: list[torch.nn.Module] = []
        for one, other in itertools.pairwise(widths):
            layers += [
                torch.nn.Conv2d(one, other, 3, 2, 1, bias=False),
                torch.nn.BatchNorm2d(other),
                torch.nn.PReLU(other),
            ]
        side = _SIZE.value // 16
        features = torch.nn.Linear(64 * side * side, _FEATURES)
        self.features = torch.nn.Sequential(*layers, torch.nn.Flatten(), features)
        self.last = torch.nn.Linear(_FEATURES, classes, bias=not cosine)
        self.cosine = cosine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns logits: of a cosine classifier, scaled similarities."""
        x = self.features((x - 0.5) / 0.5)
        if self.cosine:
            weights = torch.nn.functional.normalize(self.last.weight)
            return 16 * torch.nn.functional.normalize(x) @ weights.T
        return self.last(torch.relu(x))


class Embedder(torch.nn.Module):
    """Features of length 1."""

    def __init__(self, trained: Faces) -> None:
        """Takes a trained network."""
        super().__init__()
        self.trained = trained

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns `[n, features]`."""
        return torch.nn.functional.normalize(self.trained.features((x - 0.5) / 0.5))


def fit(module: Faces, images: np.ndarray, labels: np.ndarray, smoothing: float = 0.0) -> Faces:
    """Trains on photographs `[n, height, width, channels]`, shifted, turned over and brightened."""
    torch.manual_seed(0)
    x = torch.tensor(images.transpose(0, 3, 1, 2).copy())
    y = torch.tensor(labels)
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3, weight_decay=1e-2)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
    for _ in range(_EPOCHS.value):
        module.train()
        for few in torch.randperm(len(x)).split(32):
            if len(few) < 2:
                continue
            batch = torch.nn.functional.pad(x[few], (4, 4, 4, 4), mode="replicate")
            down, across = torch.randint(0, 9, (2,)).tolist()
            batch = batch[..., down : down + x.shape[2], across : across + x.shape[3]]
            batch = batch.flip(-1) if torch.rand(()) < 0.5 else batch
            batch = (batch * (0.8 + 0.4 * torch.rand(len(few), 1, 1, 1))).clamp(0, 1)
            optimizer.zero_grad()
            loss(module(batch), y[few]).backward()
            optimizer.step()
    return module.eval()


def accuracy(module: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Returns the fraction of photographs that a classifier names right."""
    with torch.no_grad():
        answers = module(torch.tensor(images.transpose(0, 3, 1, 2).copy())).argmax(1).numpy()
    return float((answers == labels).mean())


def program(module: torch.nn.Module, channels: int) -> torch.export.ExportedProgram:
    """Exports a module for any number of pictures."""
    example = (torch.zeros(2, channels, _SIZE.value, _SIZE.value),)
    return torch.export.export(module, example, dynamic_shapes=({0: torch.export.Dim("n")},))


def write_onnx(module: torch.nn.Module, channels: int, path: pathlib.Path) -> Any:
    """Writes a module as ONNX, in one file."""
    written = torch.onnx.export(program(module, channels), dynamo=True, verbose=False)
    written.save(path)
    return written.model_proto


def rounded(model: Any) -> bytes:
    """Adds a softmax, and rounds what it gives to two digits."""
    (output,) = model.graph.output
    hundred = numpy_helper.from_array(np.float32(100), "hundred")
    model.graph.initializer.append(hundred)
    model.graph.node.extend(
        [
            helper.make_node("Softmax", [output.name], ["p"], "softmax", axis=-1),
            helper.make_node("Mul", ["p", "hundred"], ["percent"], "percent"),
            helper.make_node("Round", ["percent"], ["whole"], "round"),
            helper.make_node("Div", ["whole", "hundred"], ["rounded"], "rounded"),
        ]
    )
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("rounded", TensorProto.FLOAT, None))
    return model.SerializeToString()


def in_keras(images: np.ndarray, labels: np.ndarray, classes: int) -> Any:
    """Trains a classifier of Keras, for pictures in [0, 255], as Keras reads them."""
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input(images.shape[1:])
    x = keras.layers.Rescaling(1 / 127.5, -1)(image)
    x = keras.layers.RandomTranslation(0.06, 0.06, fill_mode="nearest")(x)
    x = keras.layers.RandomFlip("horizontal")(x)
    for width in (16, 32, 64, 64):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(x))
    x = keras.layers.Dense(classes)(keras.layers.Dense(_FEATURES, "relu")(x))
    model = keras.Model(image, x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    model.fit(255 * images, labels, 32, _EPOCHS.value, verbose=0)
    return model


def save(folder: pathlib.Path, images: np.ndarray) -> None:
    """Writes photographs as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        faces_picture(image).save(folder / f"{number}.png")


def faces_picture(image: np.ndarray) -> Image.Image:
    """Turns pixels `[height, width, channels]` in [0, 1] into a picture."""
    levels = np.round(255 * image).astype(np.uint8)
    return Image.fromarray(levels if levels.shape[-1] == 3 else levels[..., 0])


def main(_: list[str]) -> None:
    """Divides the people, writes their photographs, and makes the models."""
    home = pathlib.Path(_OUTPUT.value)
    if _DATA.value:
        loaded = faces.load_folder(_DATA.value, image_size=_SIZE.value)
    else:
        loaded = faces.load_orl(image_size=_SIZE.value)
    order = shuffled(0, loaded.names, "models")
    if len(order) < _PEOPLE.value + 2:
        raise UserError(f"--people={_PEOPLE.value} are too many of {len(order)}")
    registered, rest = sorted(order[: _PEOPLE.value]), order[_PEOPLE.value :]
    aside = [] if _PUBLIC.value else rest[len(rest) // 2 :]
    photographs = {name: loaded.images[loaded.indices_of(name)] for name in loaded.names}
    for name in set(loaded.names) - {*aside}:
        save(home / "gallery" / name, photographs[name])
    for name in aside:
        save(home / "public" / name, photographs[name])
    (home / "labels.txt").write_text("\n".join(registered) + "\n")
    parts = {
        name: np.array_split(photographs[name], [round(0.7 * len(photographs[name]))])
        for name in photographs
    }

    def joined(names: list[str], part: int) -> tuple[np.ndarray, np.ndarray]:
        sizes = [len(parts[name][part]) for name in names]
        images = np.concatenate([parts[name][part] for name in names])
        return images, np.repeat(np.arange(len(names)), sizes)

    (train, labels), (test, answers) = joined(registered, 0), joined(registered, 1)
    channels, classes = train.shape[-1], len(registered)
    if "torch" in _KINDS.value:
        plain = fit(Faces(channels, classes), train, labels)
        print(f"PyTorch: {accuracy(plain, test, answers):.3f} of the test photographs", flush=True)
        torch.export.save(program(plain, channels), home / "classifier.pt2")
        proto = write_onnx(plain, channels, home / "classifier.onnx")
        (home / "rounded.onnx").write_bytes(rounded(proto))
    if "smooth" in _KINDS.value:
        smooth = fit(Faces(channels, classes), train, labels, 0.2)
        print(f"label smoothing: {accuracy(smooth, test, answers):.3f}", flush=True)
        write_onnx(smooth, channels, home / "smooth.onnx")
    if "embedder" in _KINDS.value:
        everybody = registered + aside  # It learns of others too, as embedders do.
        both = joined(everybody, 0)
        cosine = fit(Faces(channels, len(everybody), cosine=True), *both)
        print(f"embedder, as a classifier: {accuracy(cosine, test, answers):.3f}", flush=True)
        write_onnx(Embedder(cosine), channels, home / "embedder.onnx")
    if "keras" in _KINDS.value:
        model = in_keras(train, labels, classes)
        right = np.mean(np.argmax(model.predict(255 * test, verbose=0), axis=1) == answers)
        print(f"Keras: {right:.3f}", flush=True)
        model.save(home / "classifier.keras")
        (home / "classifier.keras.json").write_text('{"range": 255}\n')


if __name__ == "__main__":
    app.run(main)
