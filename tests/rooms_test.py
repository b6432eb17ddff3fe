"""Data flows one way: no import points back, and none runs in a circle."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
LINT = [str(pathlib.Path(sys.executable).with_name("lint-imports")), "--no-cache"]


def lint(root):
    return subprocess.run(LINT, cwd=root, capture_output=True, text=True, timeout=120)


def test_no_arrow_points_back():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("faces", "from mia_jax.attack import inversion"),
        ("runtime", "from mia_jax.recognizer import network"),
        ("attack", "from mia_jax.evidence import judges"),
        ("evidence", "import experiments.options"),
        ("report", "from mia_jax.study import design"),
    ],
)
def test_an_arrow_that_points_back_is_found(tmp_path, room, line):
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for package in ("mia_jax", "experiments"):
        for path in (ROOT / package).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text())
    (tmp_path / "mia_jax" / room / "wrong.py").write_text(f"{line}\n")
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout
    assert "wrong" in result.stdout
