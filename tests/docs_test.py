"""README and docs say what the files of results say, and their examples run."""

import importlib.util
import pathlib
import re
import shlex

import numpy as np
import pytest

from mia_jax import evidence, faces

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]


def load_generate():
    specification = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


generate = load_generate()


def blocks(page, language):
    text = (ROOT / page).read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [content for kind, content in found if kind == language]


def run(code, capsys):
    exec(compile(code, "example", "exec"), {})
    return capsys.readouterr().out.split()


@pytest.mark.parametrize("page", NAMES)
def test_tables_are_those_of_the_result_files(page):
    text = (ROOT / page).read_text()
    assert generate.generated(text) == text, "run python docs/generate.py"
    assert ("<!-- generated" in text) == (page in generate.PAGES)


@pytest.mark.parametrize("name", generate.RUNS)
def test_results_can_be_traced(name):
    _, recipe = generate.RUNS[name]
    for run in generate.pooled(name).runs.values():
        origin = run.provenance
        assert re.fullmatch(r"[0-9a-f]{40}", origin.commit)
        assert origin.clean
        assert {"jax", "mia_jax", "numpy", "python"} <= set(origin.versions)
        assert run.attack.name == recipe
        target = run.recognizers["target"]
        noise = target.settings and target.settings.augmentation.noise
        assert noise == (0.6 if "_noise_" in name else 0.0)
    attacked = sum(run.recognizers["target"].classes for run in generate.pooled(name).runs.values())
    assert len(generate.pooled(name).attacks) == attacked  # Everybody who is registered.


def test_a_number_that_is_changed_by_hand_is_found():
    page = ROOT / "docs/results.md"
    text = page.read_text()
    table = text[text.index("<!-- generated: orl") :]
    figure = re.search(r"\d\.\d\d\d", table)[0]
    changed = text.replace(figure, "7.777")
    assert generate.generated(changed) != changed


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


def test_the_two_commands_are_one_line_each():
    main, test = blocks("README.md", "bash")[:2]
    assert main.count("\n") == test.count("\n") == 1
    assert "--workdir=runs/orl" in shlex.split(main)
    assert "pytest" in shlex.split(test)


def test_the_example_of_an_own_model_runs_and_rebuilds_its_class(capsys):
    (example,) = blocks("README.md", "python")
    assert sum(bool(line.strip()) for line in example.splitlines()) < 15
    *shape, score = run(example, capsys)
    assert "".join(shape) == "(100,32,32,1)"
    assert float(score) > 0.9


def test_the_example_of_an_own_prior_rebuilds_its_class(capsys):
    (example,) = blocks("docs/add_an_attack.md", "python")
    assert float(run(example, capsys)[0]) > 0.5


def test_the_example_of_an_own_judge_knows_real_people():
    example = next(
        code for code in blocks("docs/attack_your_model.md", "python") if "def embed" in code
    )
    scope = {}
    exec(compile(example, "example", "exec"), scope)
    loaded = faces.load_orl()
    embedder = evidence.own_embedder("my_judge:embed", scope["embed"], loaded.images.shape[1:])
    photographs = {name: loaded.images[loaded.indices_of(name)] for name in loaded.names}
    judge = evidence.embedder_judge(embedder, [(n, p[:7]) for n, p in photographs.items()])
    right = [
        np.argmax(judge.match(judge.features(each[7:])), axis=1) == place
        for place, each in enumerate(photographs.values())
    ]
    assert np.mean(right) > 0.8


@pytest.mark.parametrize("page", NAMES)
def test_every_link_leads_somewhere(page):
    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / link).exists(), link
