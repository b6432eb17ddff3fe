"""A gallery of people, public faces, and models that know the people, to test the audit."""

import functools

import numpy as np
import onnx_networks
from onnx_networks import Network
from PIL import Image

from mia_jax import faces

SIDE, PEOPLE = 16, 6


def tints():
    """Colors in which red and blue cannot change places: `[40, 1, 1, 1, 3]`."""
    return np.random.default_rng(3).uniform(0.3, 1, (40, 1, 1, 1, 3))


@functools.cache
def photographs():
    """ORL made small and tinted, each person in a color of their own: `[40, 10, 16, 16, 3]`."""
    loaded = faces.load_orl(image_size=SIDE)
    gray = loaded.images.reshape(40, 10, SIDE, SIDE, 1)
    return np.round(255 * gray * tints()).astype(np.uint8)


def write(root):
    """Writes `gallery`, with a folder for each of six people, and `public`, flat."""
    for person, pictures in enumerate(photographs()):
        for number, picture in enumerate(pictures):
            folder = root / "gallery" / f"p{person}" if person < PEOPLE else root / "public"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{person}_{number}.png")
    return root


@functools.cache
def weights(count=PEOPLE):
    """A linear classifier of the first people's first seven photographs, by ridge regression."""
    x = photographs()[:count, :7].reshape(count * 7, -1) / 255.0
    y = np.repeat(np.eye(count), 7, axis=0)
    mean = x.mean(axis=0)
    centered = x - mean
    kernel = centered.T @ np.linalg.solve(centered @ centered.T + 3 * np.eye(len(x)), y)
    return (20 * kernel).astype(np.float32), (-20 * mean @ kernel).astype(np.float32)


def classifier(softmax=False, rows=None, nan=False, kind="linear", **options):
    """The classifier in ONNX, which takes RGB in [0, 1], channels last."""
    net = Network()
    kernel, bias = weights()
    if nan:
        kernel = np.where(np.arange(kernel.shape[0])[:, None] == 3, np.nan, kernel)
    if rows is not None:
        kernel, bias = kernel[:, rows], bias[rows]
    ends = net.weight(np.float32(0)), net.weight(np.float32(1))
    x = net.add("Flatten", net.add("Clip", "image", *ends))
    x = net.add("Gemm", x, net.weight(kernel.astype(np.float32)), net.weight(bias))
    x = net.add("Softmax", x, axis=-1) if softmax else x
    if kind == "rounded":
        hundred = net.weight(np.float32(100))
        x = net.add("Div", net.add("Round", net.add("Mul", x, hundred)), hundred)
    x = net.add("Sigmoid", x) if kind == "sigmoid" else x
    x = net.add("LogSoftmax", x, axis=1) if kind == "logarithms" else x
    x = net.add("Bernoulli", x) if kind == "strange" else x
    x = net.add("Reshape", x, net.weight(np.array([-1, 3, 2]))) if kind == "detector" else x
    x = net.add("Mul", x, net.weight(np.float32(0))) if kind == "blind" else x
    return net.model(x, image=(SIDE, SIDE, 3), outputs=None, **options)


def asked(pictures):
    """The classifier as a service would be: confidences by NumPy alone."""
    kernel, bias = weights()
    logits = np.asarray(pictures).clip(0, 1).reshape(len(pictures), -1) @ kernel + bias
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def of_colors():
    """A classifier that looks at nothing but the mean color."""
    net = Network()
    colors = tints()[:PEOPLE].reshape(PEOPLE, 3)
    units = 30 * colors / np.linalg.norm(colors, axis=1, keepdims=True)
    x = net.add("LpNormalization", net.add("ReduceMean", "image", axes=[1, 2], keepdims=0), axis=1)
    x = net.add("MatMul", x, net.weight(units.T.astype(np.float32)))
    return net.model(x, (SIDE, SIDE, 3), outputs=None)


def embedder(raw=False):
    """Features along the directions in which the people differ, of length 1; raw, mixed, of any."""
    net = Network()
    kernel, bias = weights()
    x = net.add("Gemm", net.add("Flatten", "image"), net.weight(kernel), net.weight(bias))
    if raw:
        mix = np.random.default_rng(5).normal(size=(PEOPLE, 12)).astype(np.float32)
        return net.model(net.add("MatMul", x, net.weight(mix)), (SIDE, SIDE, 3), outputs=None)
    return net.model(net.add("LpNormalization", x, axis=1), (SIDE, SIDE, 3), outputs=None)


save = onnx_networks.save
