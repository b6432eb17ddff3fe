"""Writes the tables of README and docs from docs/results, and the modules in CONTRIBUTING.

    python docs/generate.py

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`. Each file in docs/results is
what `experiments.pool` (`audit_*.json` of a single audit), `experiments.game`,
`experiments.calibrate` (`priors_*.json`), `experiments.compare` (`comparison_*.json`) or
`experiments.benchmark --json` wrote, with versions, commit and flags in it; or
`experiments.audit --beside` (`beside_*.json`), of two that have them.
"""

import functools
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import grimp

from mia_jax.evidence import embedders, results, statistics
from mia_jax.evidence.beside import Beside
from mia_jax.evidence.calibration import Calibration
from mia_jax.evidence.comparison import Comparison
from mia_jax.evidence.game import Games
from mia_jax.evidence.pooling import Line, Pooled
from mia_jax.evidence.results import Measure
from mia_jax.report import calibration, comparison, formats, verdicts
from mia_jax.runtime import records

DASH = "\N{EN DASH}"
ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
PAGES = ("README.md", "CONTRIBUTING.md", "docs/results.md", "docs/calibrate.md")
ROOMS = ("study", "report", "evidence", "attack", "recognizer", "faces", "runtime")
_BLOCK = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.S)

EVALUATOR, RESIDUAL, DLIB = "evaluator", "resnet", embedders.DLIB
SHOWN = "identified / narrowed down"
READINGS = {"tenth": "set in the first tenth", "first": "set first"}
DATA = {"orl": "ORL", "lfw": "LFW"}
RECIPES = ("best", "paper")
VICTIMS = {
    f"{data}{noise}": f"{title}, {victim}"
    for data, title in DATA.items()
    for noise, victim in (("", "ordinary"), ("_noise", "noise 0.6"))
}
STRANGERS = ("best",)  # Recipes of an attacker who has 3,000 photographs of strangers.
RUNS = {
    f"{victim}_{recipe}": (title, recipe) for victim, title in VICTIMS.items() for recipe in RECIPES
} | {
    "orl_paper_rate_10": (VICTIMS["orl"], "paper"),
    **{
        f"lfw_strangers_{recipe}": (f"{VICTIMS['lfw']}; 3,000 strangers", recipe)
        for recipe in STRANGERS
    },
}
KINDS = {
    "seeds": "null: seeds of `{}`, not attacked",
    "others": "null: clones of `{}` aimed at others",
}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Writes a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@functools.cache
def pooled(name: str) -> Pooled:
    """Reads several runs as one."""
    return records.read(RESULTS / f"{name}.json", Pooled)


@functools.cache
def benchmark(name: str) -> dict[str, Any]:
    """Reads what the benchmark measured."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def number(measure: Measure | None, digits: int, interval: bool = False) -> str:
    """Writes a mean, with its interval where that is asked for."""
    if measure is None:
        return ""
    text = f"{measure.value:.{digits}f}"
    if interval and measure.interval:
        low, high = measure.interval
        text += f" ({low:.{digits}f}{DASH}{high:.{digits}f})"
    return text


HEADER = (
    f"{EVALUATOR}: rank-1",
    f"{RESIDUAL}: rank-1",
    "dlib: rank-1",
    "dlib: median rank",
    "dlib, sets: rank-1",
    "dlib, sets: median rank",
    "faces found",
    "PSNR, dB",
)


def figures(name: str, kind: str) -> list[str]:
    """Writes what all judges say of one kind of image, and the pixel measure."""
    judges = pooled(name).judges
    relatives = [judges[judge].images[kind].rank1 for judge in (EVALUATOR, RESIDUAL)]
    strange = judges[DLIB].images[kind]
    return [
        *(number(rank1, 2, interval=True) for rank1 in relatives),
        number(strange.rank1, 2, interval=True),
        f"{strange.median_rank:g}",
        number(strange.set_rank1, 2, interval=True),
        f"{strange.set_rank:g}",
        number(strange.found, 2),
        number(strange.psnr, 1),
    ]


def how(name: str) -> str:
    """Writes the recipe of stored runs, and what was done otherwise then."""
    attack = next(iter(pooled(name).runs.values())).attack
    if attack.name == "paper" and attack.arguments["rate"] == 10:
        return "`paper` at a rate of 10, which diverged"
    if attack.name == "best" and not attack.arguments.get("standardized"):
        return "`best`, leads in logits"
    return f"`{attack.name}`"


def of_judges(prefix: str, recipes: Sequence[str] = RECIPES) -> str:
    """Writes what the judges say of clones, of all that knows nobody, and of chance."""
    names = {f"{prefix}_{recipe}": recipe for recipe in recipes}
    rows = [[f"clones, {how(name)}", *figures(name, "clones")] for name in names]
    for name, recipe in names.items():
        rows += [[text.format(recipe), *figures(name, kind)] for kind, text in KINDS.items()]
    first = next(iter(names))
    rows.append(["null: the mean face", *figures(first, "mean_face")])
    relative, residual, strange = (
        pooled(first).judges[judge].classes for judge in (EVALUATOR, RESIDUAL, DLIB)
    )
    middle = f"{(strange + 1) / 2:g}"
    guesses = [f"{1 / classes:.2f}" for classes in (relative, residual, strange, strange)]
    rows.append(["chance", *guesses[:3], middle, guesses[3], middle, "", ""])
    rows.append(["ceiling: real test photographs", *figures(first, "photographs")])
    return table(("", *HEADER), rows)


def summary() -> str:
    """Writes a line for each data set, victim and recipe: the judges side by side."""
    rows = []
    for name, (title, _) in RUNS.items():
        rows.append([title, how(name), *figures(name, "clones")[:7], shown(pooled(name))])
    return table(("data, victim", "recipe", *HEADER[:7], SHOWN), rows)


def shown(found: Pooled) -> str:
    """Writes how many of all attacks have which verdict that shows something."""
    counts = [found.levels.get(each, 0) for each in (results.IDENTIFIED, results.NARROWED_DOWN)]
    return f"{' / '.join(map(str, counts))} of {len(found.attacks)}"


def goals() -> str:
    """Writes what a stranger says, beside what was hoped for."""

    def reached(name: str, sets: bool, faces: bool = False) -> str:
        seen = pooled(name).judges[DLIB].images["clones"]
        first, rank = (seen.set_rank1, seen.set_rank) if sets else (seen.rank1, seen.median_rank)
        found = f", faces found {number(seen.found, 2)}" if faces else ""
        return f"{number(first, 2, interval=True)} / {rank:g}{found}"

    def evaluated(name: str) -> str:
        return number(pooled(name).judges[EVALUATOR].images["clones"].rank1, 2, interval=True)

    own, many = "lfw_best", "lfw_strangers_best"
    tried = records.read(RESULTS / "priors_lfw_target.json", Calibration)

    def generated(candidate: str) -> str:
        seen = tried.rows[candidate].figures[DLIB]
        rank, first = seen.median_rank.value, number(seen.rank1, 2, interval=True)
        return f"{first} / {rank:g}, faces found {number(seen.found, 2)}"

    hoped = "0.40 / 2, faces found 0.95"
    rows = [
        ["LFW, single clones", "0.70 / 1", reached(own, False), reached(many, False)],
        ["LFW, sets", "0.85 / 1", reached(own, True), reached(many, True)],
        ["LFW, photographs, 4 of each", hoped, "", generated("photographs_margin_20")],
        ["the same, retouched", hoped, "", generated("retouched")],
        ["ORL, single clones", "0.30 / 5, faces found 0.9", reached("orl_best", False, True), ""],
        ["LFW, evaluator: rank-1", "0.95", evaluated(own), evaluated(many)],
        ["ORL, evaluator: rank-1", "0.95", evaluated("orl_best"), ""],
    ]
    return table(("dlib: rank-1 / median rank", "goal", "own faces", "3,000 strangers"), rows)


def accuracy() -> str:
    """Writes how many test photographs the recognizers name right, over all trainings."""
    rows = []
    for victim, title in VICTIMS.items():
        runs, row = pooled(f"{victim}_best").runs.values(), [title]
        for role in ("target", EVALUATOR, RESIDUAL):
            facts = [run.recognizers[role] for run in runs]
            photographs = sum(each.test_photographs for each in facts)
            hits = sum(each.test_accuracy * each.test_photographs for each in facts)
            interval = statistics.wilson_interval(hits / photographs, photographs)
            row.append(number(Measure(hits / photographs, interval), 3, interval=True))
        rows.append(row)
    return table(("data, victim", "target", EVALUATOR, RESIDUAL), rows)


def acceptance() -> str:
    """Writes the share of images that a judge accepts at 1% false accepts."""
    kinds = {
        "clones": "clones",
        "sets": "sets of clones",
        "seeds": "seeds",
        "mean_face": "mean face",
        "others": "clones of others",
        "photographs": "real photographs",
    }
    rows = []
    for prefix, title in DATA.items():
        for recipe in RECIPES:
            for judge, found in pooled(f"{prefix}_{recipe}").judges.items():
                accepted = [f"{found.accepted[kind]:.2f}" for kind in kinds]
                rows.append([f"{title}, {how(f'{prefix}_{recipe}')}", judge, *accepted])
    return table(("data, recipe", "judge", *kinds.values()), rows)


def by_person(prefix: str) -> str:
    """Writes a line for each attack of `best`, by the rank that the stranger gives to the set."""
    lines = sorted(pooled(f"{prefix}_best").attacks, key=lambda line: line.set_rank[DLIB])

    def row(line: Line) -> list[str]:
        known = line.rank1.get(EVALUATOR)
        return [
            f"{line.person}, {line.run}",
            str(line.training_photographs),
            "" if known is None else f"{known:.2f}",
            f"{line.rank1[DLIB]:.2f}",
            f"{line.median_rank[DLIB]:g}",
            f"{line.set_rank[DLIB]:g}",
            "" if line.p_value is None else formats.number(line.p_value),
            verdicts.LEVELS[line.level],
        ]

    header = (
        "person, run",
        "training photographs",
        f"{EVALUATOR}: rank-1",
        "dlib: rank-1",
        "dlib: median rank",
        "dlib: rank of the set",
        "p, corrected",
        "verdict",
    )
    return table(header, map(row, lines))


def together() -> str:
    """Writes the tests over all people at once, run by run."""
    rows = []
    for name, (title, _) in RUNS.items():
        values = [run.overall_p_value for run in pooled(name).runs.values()]
        written = ", ".join("" if value is None else f"{value:.4f}" for value in values)
        rows.append([title, how(name), written])
    return table(("data, victim", "recipe", "p of each run"), rows)


def game(shown: Sequence[str]) -> str:
    """Writes the leakage game: success with and without the person, by judge and reading."""
    found = records.read(RESULTS / "game.json", Games)
    rows = []
    for photographs, each in found.games.items():
        for judge, readings in each.figures.items():
            for reading in shown:
                title, figures = READINGS[reading], readings[reading]
                low, high = figures.advantage.interval
                rows.append(
                    [
                        photographs,
                        judge,
                        title,
                        number(figures.with_person, 2, interval=True),
                        number(figures.nearest, 2, interval=True),
                        number(figures.stand_in, 2),
                        f"{figures.advantage.value:.2f} ({low:.2f} to {high:.2f})",
                        formats.number(figures.advantage.p_value),
                        f"{figures.ideal:.2f}",
                    ]
                )
    header = (
        "photographs",
        "judge",
        "success",
        "with the person",
        "without: nearest class",
        "without: stand-in",
        "advantage",
        "p",
        "ideal world",
    )
    return table(header, rows)


def priors() -> str:
    """Writes the candidates of every calibration there is, as its first stranger sees them."""
    rows = []
    for path in sorted(RESULTS.glob("priors_*.json")):
        found = records.read(path, Calibration)
        title = path.stem.removeprefix("priors_").replace("_", " ")
        cells = calibration.rows(found, calibration.strangers(found)[0])
        rows += [[title, f"`{name}`", *rest] for name, *rest in cells]
    return table(("data, victims", *calibration.HEADER), rows) if rows else ""


# The systems that the paper names, by its references; what is younger by its authors.
SYSTEMS = {
    "mi_face_known": "Fredrikson 2015 (15), with a known part",
    "best_known": "the same, with this project's prior",
    "mi_face": "Fredrikson 2015, Hidano (23, 24): without the known part",
    "paper": "Khosravy 2021: the paper",
    "best": "this project",
    "poincare": "PPA's loss",
    "logit_and_features": "LOMMA's loss",
    "top_margin_and_features": "Diff-MI's loss",
    "seed_of_generator": "Khosravy 2020 (26)",
    "seed_of_genetic": "31 to 35",
    "seed_of_mendelian": "31 to 35, Mendelian",
    "seed_of_evolution": "control of 31 to 35",
    "filter_median": "filter, as a control",
    "filter_total_variation": "filter, as a control",
    "filter_morphology": "28, 29: stand-in",
    "filter_inhibition": "30: stand-in",
    "gamin": "Aivodji 2019 (21)",
    "extraction": "Tramer 2016 (17), then `best`",
    "extraction_of_labels": "LOKT, in small",
    "random_steps": "Razzhigaev 2021",
    "boundary": "BREP-MI, Kahla 2022",
    "genetic": "31 to 35, without weights",
    "mendelian": "31 to 35, Mendelian, without weights",
}


@functools.cache
def methods_on(name: str) -> Comparison:
    """Reads all methods on the same people."""
    return records.read(RESULTS / f"comparison_{name}.json", Comparison)


def compared(name: str) -> str:
    """Writes all methods on the same people, beside the systems that they stand for."""
    found = methods_on(name)
    header = comparison.header(found)
    stranger, *others = found.judges
    shown = [
        *("method", "the attacker needs"),
        *(f"{stranger}: {each}" for each in ("rank-1", "median rank", "sets: rank-1")),
        *(f"{each}: rank-1" for each in others if each == EVALUATOR),
        *("faces found", "diversity", "error where hidden", "queries a person"),
        *("the copy agrees", "gradients a person", "seconds"),
    ]
    places = [header.index(each) for each in shown]
    rows = []
    for row in comparison.rows(found):
        cells = [row[place] for place in places]
        known = row[0] in found.rows
        rows.append([f"`{cells[0]}`" if known else cells[0], SYSTEMS.get(row[0], ""), *cells[1:]])
    return table((shown[0], "stands for", *shown[1:]), rows)


def winners(name: str) -> str:
    """Writes which method wins under which threat model."""
    return "".join(f"- {sentence}\n" for sentence in comparison.sentences(methods_on(name)))


def audits() -> str:
    """Writes what every audited model gives away, beside what is reached without attacking it."""
    rows = []
    for path in sorted(RESULTS.glob("audit_*.json")):
        found = pooled(path.stem)
        (run,) = found.runs.values()
        judge = found.judges[DLIB]
        _, data, model = path.stem.split("_", 2)
        target = run.recognizers["target"]
        known = Measure(target.test_accuracy, target.test_accuracy_interval)
        clones = judge.images["clones"]
        p = run.overall_p_value
        rows.append(
            [
                f"{data.upper()}, {judge.attacks} people of {judge.classes}",
                model.replace("_", " "),
                number(known, 2, interval=True),
                str(run.attack.arguments.get("scenario", "weights")),
                str(run.attack.restarts),
                number(clones.rank1, 2, interval=True),
                *(number(judge.images[kind].rank1, 2) for kind in ("seeds", "others")),
                f"{clones.median_rank:g}",
                f"{clones.set_rank:g}",
                number(clones.found, 2),
                shown(found),
                "" if p is None else formats.number(p, 4),
            ]
        )
    header = (
        *("data", "model", "gallery named right", "the attacker has", "clones of each"),
        *("dlib: rank-1", "of seeds", "of clones of others", "median rank", "sets: median rank"),
        *("faces found", SHOWN, "p over all"),
    )
    return table(header, rows)


def protections() -> str:
    """Writes which of two audited models gives away less of the same people."""
    rows = []
    for path in sorted(RESULTS.glob("beside_*.json")):
        found = records.read(path, Beside)
        _, data, model = path.stem.split("_", 2)
        each = found.judges[DLIB]
        change, ends = each.difference.value, each.difference.interval or ()
        rows.append(
            [
                f"{data.upper()}, {each.people} people of {each.classes}",
                model.replace("_", " "),
                found.other.split("_", 1)[1].replace("_", " "),
                f"{each.here:.1f}",
                f"{each.there:.1f}",
                f"{formats.number(change, 1)} ({' to '.join(formats.number(e, 1) for e in ends)})",
                formats.number(each.p_value, 3),
            ]
        )
    header = ("data", "model", "beside", "mean rank", "of the other", "difference", "p")
    return table(header, rows)


def origins() -> str:
    """Writes where each file of results comes from, with the flags that are not those of the first.

    A pooled file has several origins; one that compares two others has theirs.
    """
    common = next(iter(pooled("orl_best").runs.values())).provenance.flags
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        if path.stem.startswith("beside_"):
            continue
        data = json.loads(path.read_text(encoding="utf-8"))
        parts = data.get("runs", {path.stem: data})
        for name, part in parts.items():
            origin = part.get("provenance", part)
            changed = {
                flag: value
                for flag, value in origin.get("flags", origin.get("settings")).items()
                if value is not None and common.get(flag) != value
            }
            tree = {True: "clean", False: "not clean", None: "unknown"}[origin["clean"]]
            flags = " ".join(f"`--{flag}={value}`" for flag, value in changed.items())
            versions = f"jax {origin['versions']['jax']}"
            commit = f"`{(origin['commit'] or 'unknown')[:10]}`, {tree}"
            rows.append(
                [path.stem, name, commit, versions, flags or "as the first run of orl_best"]
            )
    return table(("file", "run", "commit, tree", "versions", "flags that differ"), rows)


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


def imported() -> str:
    """Writes the time of one iteration on networks that PyTorch made, and of the way forward."""
    rows = [
        [
            {"resnet_18": "ResNet-18", "mobile_face_net": "MobileFaceNet"}[name],
            f"{row['mia_jax_ms']:.0f}",
            f"{row['torch_ms']:.0f}",
            f"{row['ratio']:.2f}",
            f"{row['forward_ms']:.0f}",
            f"{row['onnxruntime_ms']:.0f}",
            f"{row['forward_ratio']:.2f}",
            f"{row['gradient_ratio']:.1f}",
            f"{row['first_iteration_s']:.1f}",
        ]
        for name, row in benchmark("benchmark_imported")["imported"].items()
    ]
    header = (
        *("network", "iteration, ms", "PyTorch, ms", "ratio", "forward, ms", "onnxruntime, ms"),
        *("ratio", "iteration / onnxruntime", "first after, s"),
    )
    return table(header, rows)


def speed_of_priors() -> str:
    """Writes what each prior costs beside the recognizer."""
    rows = []
    for name, row in benchmark("benchmark_priors")["priors"].items():
        alone = row["prior_ms"] is not None
        rows.append(
            [
                f"`{name}`",
                f"{row['ms']:.2f}",
                f"{row['floor_ratio']:.1f}",
                f"{row['prior_ms']:.2f}" if alone else "",
                f"{100 * row['prior_share']:.0f}%" if alone else "",
                f"{row['prior_floor_ratio']:.1f}" if alone else "",
            ]
        )
    header = ("prior", "ms", "/ floor", "prior alone, ms", "its share", "prior / its floor")
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


def errors_of_verdicts() -> str:
    """Writes how often simulated runs find a leak, before and after the tests were mended."""
    found = benchmark("verdicts")
    rows = []
    for name, row in found["verdicts"].items():
        for title, each in (("before", found["before"][name]), ("now", row)):
            figures = ("none_people", "none_any", "one_people", "one_any", "all_people", "all_any")
            rows.append([name, title, *(f"{each[figure]:.3f}" for figure in figures)])
    header = (
        *("sets x gallery x restarts", "tests"),
        *("no leak: somebody found", "anything found"),
        *("one leaks: found", "anything found"),
        *("all leak: found, of the people", "anything found"),
    )
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
    "orl": lambda: of_judges("orl"),
    "lfw": lambda: of_judges("lfw"),
    "orl_noise": lambda: of_judges("orl_noise"),
    "lfw_noise": lambda: of_judges("lfw_noise"),
    "summary": summary,
    "goals": goals,
    "accuracy": accuracy,
    "acceptance": acceptance,
    "orl_people": lambda: by_person("orl"),
    "lfw_people": lambda: by_person("lfw"),
    "lfw_strangers": lambda: of_judges("lfw_strangers", STRANGERS),
    "lfw_strangers_people": lambda: by_person("lfw_strangers"),
    "together": together,
    "priors": priors,
    "comparison_orl": lambda: compared("orl"),
    "comparison_orl_in_words": lambda: winners("orl"),
    "comparison_orl_pixels": lambda: compared("orl_pixels"),
    "comparison_lfw": lambda: compared("lfw"),
    "comparison_lfw_in_words": lambda: winners("lfw"),
    "audits": audits,
    "protections": protections,
    "game": lambda: game(tuple(READINGS)),
    "game_in_short": lambda: game(("tenth",)),
    "origins": origins,
    "step": step,
    "imported": imported,
    "speed_of_priors": speed_of_priors,
    "peers": peers,
    "train": train,
    "errors_of_verdicts": errors_of_verdicts,
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
