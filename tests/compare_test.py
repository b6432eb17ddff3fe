"""Runs the comparison as a user does, on the real ORL faces made small: resumed, refused."""

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from binaries import succeed

from experiments import compare, methods
from experiments.scenarios import SCENARIOS
from mia_jax.evidence import comparison
from mia_jax.evidence.comparison import Comparison
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import UserError

JUDGE = "tests.own_judge:embed"
TINY = (
    *("--methods=mi_face_known,paper,differences", "--queries=300", "--identities=0:3"),
    *("--judges=evaluators", f"--judge={JUDGE}"),
)


def test_every_method_has_its_row_and_what_is_done_is_not_done_again(tmp_path):
    workdir = tmp_path / "orl"
    settings = ("--image_size=16", "--target_classes=10", "--max_epochs=2", "--batch_size=8")
    for role in ("target", "evaluator"):
        succeed("train", f"--workdir={workdir}", f"--role={role}", *settings)
    said = succeed("compare", f"--workdir={workdir}", *TINY)
    home = workdir / "compare"
    found = records.read(home / "comparison.json", Comparison)
    assert list(found.rows) == ["mi_face_known", "paper", "differences"]
    assert list(found.nulls) == [
        *(comparison.MEAN_FACE, comparison.SEEDS, comparison.OTHERS, comparison.KNOWN_PART)
    ]
    assert found.left_out == {}
    assert (len(found.people), found.restarts) == (3, 2)
    asked = found.rows["differences"]
    assert (asked.queries, asked.gradients) == (2 + 2 * 80 + 2, 0)
    assert (found.rows["paper"].queries, found.rows["paper"].gradients) == (0, 200)
    # Both rest on the same known pixels; nothing there is known of the null row's middle.
    known = found.nulls[comparison.KNOWN_PART].hidden_error.value
    assert known == pytest.approx(found.nulls[comparison.MEAN_FACE].hidden_error.value, rel=1e-5)
    assert found.ceiling.hidden_error.value < known
    text = (home / "comparison.md").read_text()
    assert text.strip() in said.stdout
    assert "best clone" in (home / "comparison.html").read_text()

    one = ("--scenario=confidences", "--recipe=best", "--queries=300", "--leading=40")
    asked = succeed("attack", f"--workdir={workdir}", *one, "--restarts=2", "--identities=0:1")
    assert "164 queries" in asked.stderr
    (clones,) = (workdir / "clones").glob("*.npz")
    name = clones.stem
    (stored,) = home.glob("differences-*.npz")
    # The method alone makes what it makes in the table.
    np.testing.assert_allclose(
        storage.map_array(clones, "clones"),
        storage.map_array(stored, "clones")[found.people.index(name)],
        atol=1e-4,
    )

    before = {path: path.stat().st_mtime_ns for path in home.glob("*-*.*")}
    assert len(before) == 2 * 3 + 1  # And the null rows.
    again = succeed("compare", f"--workdir={workdir}", *TINY)
    assert again.stdout == said.stdout
    assert before == {path: path.stat().st_mtime_ns for path in home.glob("*-*.*")}


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_is_of_a_scenario_and_another_than_the_others(name):
    wanted = methods.METHODS[name]
    assert wanted.scenario in SCENARIOS
    same = [n for n, other in methods.METHODS.items() if other == wanted]
    assert same == [name]


def test_an_unknown_method_is_refused():
    with pytest.raises(UserError, match="--methods=bestest is unknown: choose from mi_face_known"):
        methods.chosen(["best", "bestest"])
    assert list(methods.chosen(["best"])) == ["best"]
    assert methods.chosen([]) == methods.METHODS


@pytest.mark.parametrize("given", [{"recipe": "best"}, {"strategy": "cma_es"}])
def test_a_flag_without_effect_is_refused(given):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(**given):
        for name in given:
            flags.FLAGS[name].present = 1
        with pytest.raises(UserError, match="has no effect here: --methods names whole methods"):
            compare.check_flags()
