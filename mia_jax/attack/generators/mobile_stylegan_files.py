"""The weights of MobileStyleGAN, from the files that the package random-face carries.

Only the files are read: the package (PyPI, 2021.7.21.1) and its run time OpenVINO are not imported.
Install it without its dependencies: `pip install --no-deps random-face==2021.7.21.1`. Its license
file is Apache-2.0, but the network was distilled from NVIDIA's StyleGAN2, trained on the
photographs of FFHQ, and the licenses of both exclude commercial use: an extra, for research only.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.attack.generators import openvino
from mia_jax.attack.generators.mobile_stylegan import Affine, Block, Layer, Network
from mia_jax.runtime import packages
from mia_jax.runtime.errors import MissingError, UserError

PACKAGE, VERSION = "random-face", "2021.7.21.1"
_INSTALL = f"pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}"


def installed() -> bool:
    """Tells whether the package that carries the generator is installed."""
    return packages.files(PACKAGE) is not None


def load(directory: pathlib.Path | None = None) -> Network:
    """Reads the generator from the files of the package.

    Args:
      directory: Where `MappingNetwork` and `SynthesisNetwork` are, `.xml` and `.bin` each; None for
        those of the installed package.

    Returns:
      The weights.

    Raises:
      MissingError: If the package is not installed, or a file is missing.
      UserError: If a file is damaged.
    """
    if directory is None:
        directory = _directory()
    try:
        mapping, synthesis = (
            openvino.read(directory / f"{name}.xml", directory / f"{name}.bin")
            for name in ("MappingNetwork", "SynthesisNetwork")
        )
    except UserError as error:
        raise type(error)(f"{error}: {_INSTALL}") from error
    try:
        return _translate(mapping, synthesis)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise UserError(
            f"{directory} does not hold the generator of {PACKAGE} {VERSION} ({error}): {_INSTALL}"
        ) from error


def _directory() -> pathlib.Path:
    """Finds the files of the installed package, without importing it."""
    found = packages.files(PACKAGE)
    if found is None:
        raise MissingError(
            f"the photorealistic generator needs the files of {PACKAGE}, which is not installed: "
            f"pip install --no-deps {PACKAGE}=={VERSION} (for research only: the data it was "
            "trained on exclude commercial use)"
        )
    if "SynthesisNetwork.xml" not in found:
        raise MissingError(f"the package {PACKAGE} lacks SynthesisNetwork.xml: {_INSTALL}")
    return found["SynthesisNetwork.xml"].parent


def _translate(mapping: dict[str, openvino.Node], synthesis: dict[str, openvino.Node]) -> Network:
    """Finds the weights in the two graphs, by the names of some and by what reads them."""
    places = {node.name: place for place, node in synthesis.items()}

    def node(place: str) -> openvino.Node:
        return synthesis[place]

    def constant(place: str) -> jax.Array:
        value = node(place).value
        if value is None:
            raise ValueError(f"{node(place).name} is no constant")
        return jnp.asarray(value, jnp.float32)

    def reader(place: str, kind: str) -> openvino.Node:
        return next(node(each) for each in node(place).readers if node(each).kind == kind)

    def affine_style(name: str, scaled: bool) -> Affine:
        weight, bias = (places[f"{name}.modulation.{part}"] for part in ("weight", "bias"))
        scale = jnp.ones(())
        if scaled:  # A scalar multiplies the style, once it has the shape of the features.
            style = places[reader(bias, "Add").name]
            product = reader(places[reader(style, "Reshape").name], "Multiply")
            scale = constant(product.inputs[1]).ravel()[0]
        return Affine(constant(weight).T * scale, constant(bias)[0] * scale)

    def convolution(name: str) -> tuple[Affine, jax.Array, jax.Array, jax.Array]:
        """Returns the factors of a style, the kernel, the noise and the bias."""
        bias = places[f"{name}.bias"]
        noisy = node(reader(bias, "Add").inputs[0])
        kernel = constant(node(noisy.inputs[0]).inputs[1]).transpose(2, 3, 1, 0)
        noise = constant(noisy.inputs[1])[0].transpose(1, 2, 0)
        return affine_style(f"{name}.conv", scaled=True), kernel, noise, constant(bias).ravel()

    def block(name: str) -> Block:
        style, kernel, noise, bias = convolution(name)
        depthwise = constant(places[f"{name}.conv.weight_dw"])[:, 0, 0].transpose(1, 2, 0)
        return Block(style, depthwise, kernel[0, 0], noise, bias)

    def layer(name: str) -> Layer:
        up = affine_style(f"{name}.up", scaled=False)
        return Layer(up, block(f"{name}.conv1"), block(f"{name}.conv2"))

    count = sum(name.endswith(".up.modulation.weight") for name in places)
    last = f"m.layers.{count - 1}.to_img"
    return Network(
        _translate_mapping(mapping),
        _convolve_constant(
            constant(places["m.input.input"])[0].transpose(1, 2, 0), *convolution("m.conv1")
        ),
        tuple(layer(f"m.layers.{number}") for number in range(count)),
        affine_style(f"{last}.conv", scaled=True),
        Affine(
            constant(places[f"{last}.conv.weight"])[:, :, 0, 0].T,
            constant(places[f"{last}.bias"]).ravel(),
        ),
    )


def _convolve_constant(
    x: jax.Array, style: Affine, kernel: jax.Array, noise: jax.Array, bias: jax.Array
) -> Affine:
    """Returns the convolution of a constant `[side, side, channels]` as a map of the style."""
    side = len(x)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    each = sum(  # Of each channel by itself: [channels, side, side, features].
        np.einsum("hwc,cf->chwf", padded[i : i + side, j : j + side], kernel[i, j])
        for i, j in np.ndindex(3, 3)
    )
    flat = np.reshape(each, (x.shape[-1], -1))
    weight, shift = np.asarray(style.weight) @ flat, np.asarray(style.bias) @ flat
    return Affine(jnp.asarray(weight), jnp.asarray(shift + np.ravel(noise + bias)))


def _translate_mapping(graph: dict[str, openvino.Node]) -> tuple[Affine, ...]:
    """Finds the weights of the mapping, in its order; each bias is reshaped before it is added."""
    found = []
    for product in graph.values():
        if product.kind == "MatMul":
            weight = graph[product.inputs[1]].value
            total = next(graph[place] for place in product.readers if graph[place].kind == "Add")
            bias = graph[graph[total.inputs[1]].inputs[0]].value
            if weight is None or bias is None:
                raise ValueError(f"{product.name} has no weights")
            found.append(Affine(jnp.asarray(weight.T), jnp.asarray(bias)))
    return tuple(found)
