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

from mia_jax.evidence import embedders, results
from mia_jax.evidence.results import Evaluation, Judgement, Measure, Rates
from mia_jax.runtime import records

DASH = "\N{EN DASH}"
ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
PAGES = ("README.md", "CONTRIBUTING.md", "docs/results.md")
ROOMS = ("report", "evidence", "attack", "recognizer", "faces", "runtime")
_BLOCK = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.S)

WORDS = {
    results.RECOGNIZABLE: "recognizable to strangers",
    results.NAMED: "named by its relative only",
    results.NO_EVIDENCE: "no evidence",
}
ORL = {"orl_best": "`best`", "orl_paper": "`paper`"}
LFW = {"lfw_best": "`best`", "lfw_paper": "`paper`"}
NOISE = {
    "orl_best": "0, `best`",
    "orl_paper": "0, `paper`",
    "noise_best": "0.6, `best`",
    "noise_paper": "0.6, `paper`",
}


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


def evaluator(name: str) -> Judgement:
    """Returns what the first evaluator of a run says."""
    found = evaluation(name)
    return next(each for judge, each in found.judges.items() if judge in found.recognizers)


def stranger(name: str) -> Judgement:
    """Returns what dlib's face embedder says of a run."""
    return evaluation(name).judges[embedders.DLIB]


def number(measure: Measure | None, digits: int, interval: bool = False) -> str:
    """Writes a mean, with its interval where that is asked for."""
    if measure is None:
        return ""
    text = f"{measure.value:.{digits}f}"
    if interval and measure.interval:
        low, high = measure.interval
        text += f" ({low:.{digits}f}{DASH}{high:.{digits}f})"
    return text


def figures(name: str, pick: Callable[[Judgement], Rates]) -> list[str]:
    """Writes what the evaluator and the stranger say of one group of images, and pixel measures."""
    relative, strange = pick(evaluator(name)), pick(stranger(name))
    return [
        number(relative.rank1, 3, interval=True),
        number(relative.mean_score, 3),
        number(strange.rank1, 3, interval=True),
        f"{strange.median_rank:g}",
        number(relative.psnr, 1),
        number(relative.ssim, 2),
    ]


FIGURES = (
    "evaluator: rank-1",
    "evaluator: score",
    "dlib: rank-1",
    "dlib: median rank",
    "PSNR, dB",
    "SSIM",
)


def accuracies(name: str) -> str:
    """Writes how many test photographs the recognizers name right."""
    return " / ".join(
        f"{facts.test_accuracy:.3f} ({facts.test_accuracy_interval[0]:.3f}{DASH}"
        f"{facts.test_accuracy_interval[1]:.3f})"
        for facts in evaluation(name).recognizers.values()
    )


def against_controls(runs: dict[str, str]) -> str:
    """Writes runs on the same recognizers, and what is reached without the person."""
    rows = [
        [f"clones, {title}", *figures(name, lambda judgement: judgement.mean)]
        for name, title in runs.items()
    ]
    for name, title in runs.items():
        seeds = figures(name, lambda judgement: judgement.controls.seeds)
        others = figures(name, lambda judgement: judgement.controls.others or judgement.mean)
        rows.append([f"null: seeds of {title}, not attacked", *seeds])
        rows.append([f"null: clones of {title} aimed at others", *others])
    first = next(iter(runs))
    mean_face = figures(first, lambda judgement: judgement.controls.mean_face)
    rows.append(["null: the mean face", *mean_face])
    relative, strange = evaluator(first), stranger(first)
    middle = (strange.classes + 1) / 2
    guess = (f"{relative.chance.rank1:.3f}", "", f"{strange.chance.rank1:.3f}", f"{middle:g}")
    rows.append([f"chance, of {relative.classes} / {strange.classes}", *guess, "", ""])
    real = f"ceiling: {relative.ceiling_photographs} real test photographs"
    rows.append([real, *figures(first, lambda judgement: judgement.ceiling)])
    return table(("", *FIGURES), rows)


def side_by_side(title: str, runs: dict[str, str]) -> str:
    """Writes a line for each run, with the accuracy of its recognizers."""
    rows = [
        [text, accuracies(name), *figures(name, lambda judgement: judgement.mean)]
        for name, text in runs.items()
    ]
    return table((title, "test accuracy, target / evaluator", *FIGURES), rows)


def accuracy(runs: dict[str, str]) -> str:
    """Writes the accuracy of recognizers alone."""
    rows = []
    for name, title in runs.items():
        target = next(iter(evaluation(name).recognizers.values()))
        photographs = f"{target.training_photographs} of {target.classes} people"
        rows.append([title, photographs, *accuracies(name).split(" / ")])
    return table(("data", "photographs that train the target", "target", "evaluator"), rows)


def by_person(runs: dict[str, str]) -> str:
    """Writes a line for each attacked person, the runs side by side."""

    def each(write: Callable[[str], str]) -> str:
        return " / ".join(map(write, runs))

    def row(person: str) -> list[str]:
        def rank1(judge: Callable[[str], Judgement]) -> str:
            return each(lambda name: number(judge(name).people[person].clones.rank1, 2))

        return [
            person,
            rank1(evaluator),
            rank1(stranger),
            each(lambda name: f"{stranger(name).people[person].clones.median_rank:g}"),
            each(lambda name: str(stranger(name).people[person].set_rank)),
            each(lambda name: number(evaluator(name).people[person].clones.psnr, 1)),
            each(lambda name: WORDS[evaluation(name).verdict[person].level]),
        ]

    header = (
        "person",
        "evaluator: rank-1",
        "dlib: rank-1",
        "dlib: median rank",
        "dlib: rank of all clones together",
        "PSNR, dB",
        "verdict",
    )
    return table(header, map(row, evaluation(next(iter(runs))).verdict))


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
    "noise": lambda: side_by_side("`--training_noise`, recipe", NOISE),
    "accuracy": lambda: accuracy({"orl_best": "ORL", "lfw_best": "LFW"}),
    "lfw_people": lambda: by_person(LFW),
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
