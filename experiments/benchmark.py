"""Measures speed and memory against PyTorch, ART and the arithmetic floor.

For example: python -m experiments.benchmark --suite=step,peers --json=benchmark.json

All that a suite compares takes turns, round by round, so that whatever else the machine does hits
all alike. Each `_ms` is the median over the rounds and each `_best_ms` the least; each ratio is the
median of the ratios within a round, not the ratio of medians. An iteration of our attack is timed
as the difference of two attacks of different length, so that start and final scoring do not count.
PyTorch and ART compute on CPU. Leave the machine idle meanwhile: taking turns is not enough, since
PyTorch's threads wait for each other and lose several times as much to other work as XLA's.

step    one iteration of --restarts of the paper's attack, --chunk at a time on each device (by
        default a core), and of the same in PyTorch; ratio is mia_jax / torch, below 1 where we
        are faster. floor_ms is what the CNN's forward pass and image gradient take at the speed
        of a large matrix product; floor_ratio is mia_jax / floor. first_iteration_s is tracing,
        compiling and two iterations.
imported  as step, but of a ResNet-18 and a MobileFaceNet of 128 features that PyTorch made, written
        as ONNX and read by an importer, of --channels=3 unless that says 1; all have fresh weights,
        which makes no difference to the time. forward_ms and onnxruntime_ms are the way forward of
        --restarts images, forward_ratio is the first by the second, and gradient_ratio the attack's
        iteration by the second.
priors  one restart's iteration of an attack with each prior, --restarts in chunks as in step: Adam,
        the margin, one random view, of --channels=1 unless that says 3. prior_ms is the same attack
        on an objective that costs nothing: decoding, its gradient and the update of the point.
        Operations of the decoder and its gradient are those that XLA's cost analysis counts before
        it optimizes; the CNN's are counted as in step. floor_ratio is of the whole to its floor,
        prior_floor_ratio of the prior to its own; priors that are a sum of few images or look
        pixels up are hardly any arithmetic, so that theirs says little. The auxiliary faces and
        landmarks are synthetic, and vae and the readout of photorealistic are barely fitted: none
        of this makes a difference to the time. Of photorealistic, a CPU runs the cut generator.
train   one training step, batch of 32, on 14 and on --classes classes; ratio as above, without
        augmentation
peers   one iteration of ART's MIFace for one person, and for five in one batch, as users run it
        (PyTorch's default layout) and helped (channels last, and frozen weights, which spares it
        gradients that it drops); the ratios are art / mia_jax, above 1 where we are faster. Of
        --channels=3 unless that says 1.
scale   --chunk restarts of a small CNN on each of 1, 2, 4 and 8 virtual devices. They share the
        same cores: ideal is a time in proportion to the devices, an efficiency of 1.
        restarts_per_second counts those that advance by one iteration.
memory  peak resident memory of attacks of a small CNN with 200, 2,000 and 20,000 restarts, their
        results written chunk by chunk and joined as experiments.attack does; bounded if the most
        restarts take at most 64 MiB more than the least.
verdicts  no time: how often the tests of significance find a leak in --trials simulated runs
        without one, and in a quarter as many with a leak of one person, or of everybody.
"""

import contextlib
import os
import pathlib
import platform
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
from absl import flags

from experiments import console, devices, path_flags, provenance
from experiments.benchmarks import imported, priors, rivals, scale, speed, timing, verdicts
from mia_jax.runtime import storage
from mia_jax.runtime.errors import UserError

for _name in ("platform", "image_size", "channels"):  # Those of the other binaries that count here.
    flags.declare_key_flag(_name)
for _module in (timing, speed, verdicts):
    flags.adopt_module_key_flags(_module)
_SUITE = flags.DEFINE_list(
    "suite",
    "step",
    "What to measure: step, imported, priors, train, peers, scale, memory, verdicts.",
)
_JSON = path_flags.define("json", None, "File to write all figures to.")

SUITES: dict[str, Callable[[], Any]] = {
    "step": speed.measure_step,
    "imported": imported.measure_imported,
    "priors": priors.measure_priors,
    "train": speed.measure_train,
    "peers": speed.measure_peers,
    "scale": scale.measure_scale,
    "memory": scale.measure_memory,
    "verdicts": verdicts.measure_verdicts,
}


def about() -> dict[str, Any]:
    """Describes how and where the figures were measured."""
    origin = provenance.provenance()
    versions = dict(origin.versions)
    for package in ("torch", "onnxruntime", "adversarial-robustness-toolbox"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, IndexError):
        information = pathlib.Path("/proc/cpuinfo").read_text()
        processor = information.split("model name")[1].split("\n")[0].strip("\t :")
    settings = (
        "suite",
        "rounds",
        "iterations",
        "classes",
        "restarts",
        "chunk",
        "image_size",
        "trials",
    )
    return {
        "definitions": (__doc__ or "").splitlines(),
        "settings": {name: flags.FLAGS[name].value for name in settings},
        "versions": versions,
        "commit": origin.commit,
        "clean": origin.clean,
        "processor": processor,
        "cores": devices.cores(),
        "devices": jax.device_count(),
        "device": jax.devices()[0].device_kind,
        "load_average": os.getloadavg()[0],  # At the start, over a minute; 0 is an idle machine.
    }


def show(suite: str, figures: Any) -> None:
    """Prints a table, a line for each figure."""
    if isinstance(figures, list):
        figures = {f"devices_{row['devices']}": row for row in figures}
    if not all(isinstance(column, dict) for column in figures.values()):
        figures = {"": figures}
    text = lambda value: f"{value:.4g}" if isinstance(value, float) else str(value)  # noqa: E731
    widths = [max(len(title), 12) for title in figures]
    rows = [(f"\n{suite:<28}", *figures)]
    for name in next(iter(figures.values())):
        rows.append((f"{name:<28}", *[text(column[name]) for column in figures.values()]))
    for name, *cells in rows:
        print(name, *[cell.rjust(width) for cell, width in zip(cells, widths, strict=True)])


def main() -> None:
    """Measures the suites that the flags ask for."""
    if not _SUITE.value or not set(_SUITE.value) <= set(SUITES):
        raise UserError(f"--suite={','.join(_SUITE.value)}: choose among {', '.join(SUITES)}")
    for suite in rivals.PACKAGES.keys() & set(_SUITE.value):
        rivals.need(suite)
    if _JSON.value:
        path = pathlib.Path(_JSON.value)
        if path.is_dir():
            raise UserError(f"--json={path} is a directory: name a file")
        storage.check_writable(path.parent)
    devices.start()
    if {"step", "train"} & set(_SUITE.value) and not rivals.has_torch():
        print("PyTorch is not installed, so it is not compared: pip install -e '.[benchmark]'")
    result = about()
    for suite in _SUITE.value:
        result[suite] = SUITES[suite]()
        show(suite, result[suite])
        if _JSON.value:
            storage.write_json(path, result)
    if "memory" in result and not result["memory"]["bounded"]:
        raise UserError(
            f"{scale.MANY_RESTARTS[-1]} restarts took over {scale.MOST_MIB} MiB more memory than "
            f"{scale.MANY_RESTARTS[0]}: see the table"
        )


if __name__ == "__main__":
    console.run(main)
