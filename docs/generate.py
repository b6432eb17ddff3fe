"""Writes the tables of README and docs from docs/results, and the modules in CONTRIBUTING.

    python docs/generate.py

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`. Each file in docs/results is
an `evaluation.json` or what `experiments.benchmark --json` wrote, with its versions, commit and
flags in it.
"""

import functools
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import grimp

from mia_jax.evidence.results import Evaluation, Judgement, Measure, Rates
from mia_jax.runtime import records

DASH = "\N{EN DASH}"
ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
PAGES = ("README.md", "CONTRIBUTING.md", "docs/results.md", "docs/large_audits.md")
ROOMS = ("report", "evidence", "attack", "recognizer", "faces", "runtime")
_BLOCK = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.S)

ORL = {"orl_best": "`best`", "orl_paper": "`paper`"}
LFW = {"lfw_best": "`best`", "lfw_paper": "`paper`"}
ABLATION = {
    "orl_best": "`best`",
    "ablation_margin": "`--margin=inf`: as much lead as there is",
    "ablation_waves": "`--waves=0`: eigenfaces alone",
    "ablation_views": "`--views_per_iteration=0`: no random views",
    "ablation_prior": "`--prior=0`: no Gaussian prior",
    "ablation_loss": "`--loss=infomax`: cross-entropy",
}
NOISE = {
    "orl_best": "0, `best`",
    "orl_paper": "0, `paper`",
    "noise_best": "0.6, `best`",
    "noise_paper": "0.6, `paper`",
}
SEEDS = {"orl_best": "0", "seed1_best": "1", "seed2_best": "2"}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Writes a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@functools.cache
def evaluation(name: str) -> Evaluation:
    """Reads a run's evaluation."""
    return records.read(RESULTS / f"{name}.json", Evaluation)


@functools.cache
def benchmark(name: str) -> dict[str, Any]:
    """Reads what the benchmark measured."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def leader(name: str) -> Judgement:
    """Returns what the first evaluator of a run says."""
    found = evaluation(name)
    return next(each for judge, each in found.judges.items() if judge in found.recognizers)


def number(measure: Measure | None, digits: int, interval: bool = False) -> str:
    """Writes a mean, with its interval where that is asked for."""
    if measure is None:
        return ""
    text = f"{measure.value:.{digits}f}"
    if interval and measure.interval:
        low, high = measure.interval
        text += f" ({low:.{digits}f}{DASH}{high:.{digits}f})"
    return text


def figures(rates: Rates) -> list[str]:
    """Writes the five figures that every table of results has."""
    return [
        number(rates.rank1, 3, interval=True),
        number(rates.mean_score, 3, interval=True),
        number(rates.psnr, 1),
        number(rates.ssim, 2),
        number(rates.feature_distance, 1),
    ]


FIGURES = ("rank-1", "mean score", "PSNR, dB", "SSIM", "feature distance")


def accuracies(name: str) -> str:
    """Writes how many test photographs the recognizers name right."""
    return " / ".join(
        f"{facts.test_accuracy:.3f} ({facts.test_accuracy_interval[0]:.3f}{DASH}"
        f"{facts.test_accuracy_interval[1]:.3f})"
        for facts in evaluation(name).recognizers.values()
    )


def against_controls(runs: dict[str, str]) -> str:
    """Writes runs on the same recognizers, and what is reached without the person."""
    rows = [[f"clones, {title}", *figures(leader(name).mean)] for name, title in runs.items()]
    for name, title in runs.items():
        controls = leader(name).controls
        rows.append([f"null: seeds of {title}, not attacked", *figures(controls.seeds)])
        if controls.others:
            rows.append([f"null: clones of {title} aimed at others", *figures(controls.others)])
    first = leader(next(iter(runs)))
    rows.append(["null: the mean face", *figures(first.controls.mean_face)])
    real = f"ceiling: {first.ceiling_photographs} real test photographs"
    rows.append([real, *figures(first.ceiling)])
    title = f"chance {first.chance.rank1:.3f}"
    return table((title, *FIGURES), rows)


def side_by_side(title: str, runs: dict[str, str]) -> str:
    """Writes a line for each run, with the accuracy of its recognizers."""
    rows = [
        [text, accuracies(name), *figures(leader(name).mean)]
        for name, text in runs.items()
        if (RESULTS / f"{name}.json").exists()
    ]
    return table((title, "test accuracy, target / evaluator", *FIGURES), rows)


def by_person(runs: dict[str, str]) -> str:
    """Writes a line for each attacked person, the runs side by side."""
    people = leader(next(iter(runs))).people

    def each(pick: Callable[[Any], Measure | None], digits: int, person: str) -> str:
        return " / ".join(number(pick(leader(name).people[person]), digits) for name in runs)

    rows = [
        [
            person,
            each(lambda seen: seen.clones.rank1, 2, person),
            each(lambda seen: seen.clones.mean_score, 3, person),
            each(lambda seen: seen.clones.psnr, 1, person),
            each(lambda seen: seen.controls.seeds.rank1, 2, person),
            each(lambda seen: seen.controls.others and seen.controls.others.rank1, 2, person),
        ]
        for person in people
    ]
    header = ("person", "rank-1", "mean score", "PSNR, dB", "seeds, rank-1", "others, rank-1")
    return table(header, rows)


def origins() -> str:
    """Writes where each file of results comes from, with the flags that are not those of the first.

    The first is the README's command.
    """
    common = evaluation("orl_best").provenance.flags
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        origin = data.get("provenance", data)
        changed = {
            name: value
            for name, value in origin.get("flags", origin.get("settings")).items()
            if value is not None and common.get(name) != value
        }
        tree = {True: "clean", False: "not clean", None: "unknown"}[origin["clean"]]
        flags = " ".join(f"`--{name}={value}`" for name, value in changed.items())
        versions = f"jax {origin['versions']['jax']}"
        commit = f"`{(origin['commit'] or 'unknown')[:10]}`, {tree}"
        rows.append([path.stem, commit, versions, flags or "the README's command"])
    return table(("file", "commit, tree", "versions", "flags that differ"), rows)


def step() -> str:
    """Writes the time of one iteration of the attack."""
    rows = [
        [
            name.removeprefix("channels_"),
            f"{row['mia_jax_ms']:.0f}",
            f"{row['torch_ms']:.0f}",
            f"{row['ratio']:.2f}",
            f"{row['floor_ms']:.0f}",
            f"{row['first_iteration_s']:.1f}",
        ]
        for name, row in benchmark("benchmark")["step"].items()
    ]
    header = ("channels", "mia_jax, ms", "PyTorch, ms", "ratio", "floor, ms", "first after, s")
    return table(header, rows)


def peers() -> str:
    """Writes the Adversarial Robustness Toolbox's times."""
    row = benchmark("benchmark")["peers"]
    rows = []
    for labels, title in (("one_label", "1"), ("five_labels", "5")):
        ours = f"{row[f'mia_jax_{labels}_ms']:.0f}"
        for suffix, helped in (("", "as users run it"), ("_helped", "helped")):
            art = f"art_{labels}{suffix}"
            rows.append(
                [title, helped, ours, f"{row[f'{art}_ms']:.0f}", f"{row[f'{art}_ratio']:.1f}"]
            )
    return table(("labels", "ART", "mia_jax, ms", "ART, ms", "ratio"), rows)


def train() -> str:
    """Writes the time of a training step."""
    rows = []
    for name, row in benchmark("benchmark")["train"].items():
        _, channels, _, classes = name.split("_")
        milliseconds = (f"{row['mia_jax_ms']:.0f}", f"{row['torch_ms']:.0f}")
        views = f"{row['mia_jax_augmented_ms']:.0f}"
        rows.append([channels, f"{int(classes):,}", *milliseconds, f"{row['ratio']:.2f}", views])
    header = ("channels", "classes", "mia_jax, ms", "PyTorch, ms", "ratio", "with views, ms")
    return table(header, rows)


def modules() -> str:
    """Writes the rooms, and for each module what it takes from other rooms."""
    graph = grimp.build_graph("mia_jax", cache_dir=None)
    lines = []
    for room in ROOMS:
        package = f"mia_jax.{room}"
        lines.append(room)
        for module in sorted(graph.find_descendants(package)):
            names = sorted(graph.find_modules_directly_imported_by(module))
            taken = [name.removeprefix("mia_jax.") for name in names]
            name = module.removeprefix(f"{package}.")
            lines.append(f"  {name:<24} {', '.join(taken)}".rstrip())
    return "```\n" + "\n".join(lines) + "\n```\n"


TABLES: dict[str, Callable[[], str]] = {
    "orl": lambda: against_controls(ORL),
    "lfw": lambda: against_controls(LFW),
    "people": lambda: by_person(ORL),
    "ablation": lambda: side_by_side("one change at a time", ABLATION),
    "noise": lambda: side_by_side("`--training_noise`, recipe", NOISE),
    "seeds": lambda: side_by_side("`--seed`", SEEDS),
    "accuracy": lambda: side_by_side("data, recipe", {"orl_best": "ORL", "lfw_best": "LFW"}),
    "origins": origins,
    "step": step,
    "peers": peers,
    "train": train,
    "modules": modules,
}


def generated(text: str) -> str:
    """Returns a page with all of its tables made anew."""
    return _BLOCK.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}{match[3]}", text)


def main() -> None:
    """Writes every page."""
    for page in PAGES:
        path = ROOT / page
        path.write_text(generated(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
