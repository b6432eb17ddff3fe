"""Runs the calibration as a user does, on the real ORL faces made small: resumed, refused."""

import dataclasses
import json
import shlex
from types import SimpleNamespace

import pytest
from absl import flags
from absl.testing import flagsaver
from binaries import succeed

from experiments import calibrate, candidates, experiment, panel, recipe, scenario_flags, trials
from mia_jax.evidence.calibration import Calibration, Trial
from mia_jax.evidence.results import AttackFacts
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

# Ten classes, as the shadow has: what is compiled for one serves the other.
TRAIN = (
    "--image_size=16",
    "--target_classes=10",
    "--max_epochs=4",
    "--evaluate_every=2",
    "--batch_size=8",
)
JUDGE = "tests.own_judge:embed"
# Of 70 faces there are no 1,000 eigenfaces.
TINY = (
    "--candidates=paper,best_1000_components",
    "--restarts=2",
    "--shadows=1",
    "--judges=evaluators",
    f"--judge={JUDGE}",
)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A work directory with a target, and what calibrating by shadows logged and printed."""
    workdir = tmp_path_factory.mktemp("runs") / "orl"
    succeed("train", f"--workdir={workdir}", *TRAIN)
    return workdir, succeed("calibrate", f"--workdir={workdir}", *TINY)


def test_shadows_choose(calibrated):
    workdir, said = calibrated
    home = workdir / "calibration"
    found = records.read(home / "shadows.json", Calibration)
    assert (found.kind, list(found.victims)) == ("shadows", ["shadow_0"])
    assert found.left_out == ("best_1000_components",)
    assert "best_1000_components is left out: components=1000" in said.stderr
    assert list(found.rows) == [found.choice] == ["paper"]
    assert "The shadows choose paper: --recipe=paper" in said.stderr
    assert {line.split()[0] for line in said.stdout.splitlines()[1:]} == {
        *("candidate", *found.rows, "chance")
    }

    outside = json.loads((workdir / "protocol.json").read_text())
    inside = json.loads((home / "shadow_0" / "protocol.json").read_text())
    theirs = {*inside["protocol"]["classes"]["target"], *inside["protocol"]["auxiliary"]}
    assert theirs == {*outside["protocol"]["auxiliary"]}
    assert list(found.judges) == [JUDGE]
    assert (found.judges[JUDGE].people, found.judges[JUDGE].shares) == (len(theirs), ())
    target = records.read(workdir / "target" / "settings.json", type(settings(found)))
    assert settings(found) == target
    (path,) = (home / "shadow_0" / "trials").iterdir()
    each = records.read(path, Trial)
    assert {*each.readings[JUDGE]} == {*inside["protocol"]["classes"]["target"]}
    assert {len(reading.ranks) for reading in each.readings[JUDGE].values()} == {2}
    assert each.seconds_per_clone > 0


def settings(found):
    (victim,) = found.victims.values()
    return victim.recognizer.settings


def test_what_is_done_is_not_done_again(calibrated):
    workdir, first = calibrated
    paths = [path for path in (workdir / "calibration").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in paths if path.name != "shadows.json"}
    again = succeed("calibrate", f"--workdir={workdir}", *TINY)
    assert again.stdout == first.stdout
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_trials_of_other_settings_weights_or_judges_do_not_mix(tmp_path):
    facts = AttackFacts("paper", {"rate": 10.0}, 4, 0, 1, 100)
    home = WorkDirectory(tmp_path)
    keys = [
        (facts, "abc", {"dlib": None}),
        (dataclasses.replace(facts, restarts=5), "abc", {"dlib": None}),
        (dataclasses.replace(facts, arguments={"rate": 9.0}), "abc", {"dlib": None}),
        (facts, "abd", {"dlib": None}),
        (facts, "abc", {"dlib": None, "evaluator": "123"}),
        (facts, "abc", {"dlib": None, "evaluator": "124"}),
    ]
    paths = [trials.path_of(home, "shadow_0", "paper", *key) for key in keys]
    assert len({*paths}) == len(keys)
    assert {path.parent for path in paths} == {tmp_path / "calibration" / "shadow_0" / "trials"}
    assert trials.path_of(home, "shadow_0", "paper", *keys[0]) == paths[0]


def test_the_target_is_reported_and_chooses_nothing(calibrated):
    workdir, _ = calibrated
    asked = ("--victims=target", "--target_seeds=2", "--candidates=paper", "--restarts=3")
    judges = ("--judges=evaluators", f"--judge={JUDGE}")
    said = succeed("calibrate", f"--workdir={workdir}", *asked, *judges)
    assert "The shadows choose" not in said.stderr
    found = records.read(workdir / "calibration" / "target.json", Calibration)
    assert (found.kind, found.choice, list(found.victims)) == (
        *("target", None),
        ["target_0", "target_1"],
    )
    strange, relative = (found.rows["paper"].figures[judge] for judge in (JUDGE, "evaluator"))
    assert found.judges[JUDGE].people == 40
    assert "people" in found.judges["evaluator"].shares
    roles = json.loads((workdir / "protocol.json").read_text())["protocol"]
    assert strange.attacks == 2 * len(roles["classes"]["target"])
    assert relative.attacks == len(roles["targeted"])  # Of the first seed only.
    assert (workdir / "calibration" / "target_1" / "target" / "recognizer.json").exists()
    assert not (workdir / "calibration" / "target_0" / "target").exists()


def test_without_an_experiment_there_is_nothing_to_calibrate(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "work_directory", lambda: WorkDirectory(tmp_path))
    flags.FLAGS.mark_as_parsed()
    with pytest.raises(UserError, match="holds no experiment yet"):
        calibrate.main()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"recipe": "best"}, "--recipe has no effect here: --candidates names whole recipes"),
        ({"margin": 3.0}, "--margin has no effect here"),
        ({"max_epochs": 3}, "--max_epochs has no effect here"),
        ({"target_seeds": 2}, "--target_seeds has no effect here: it is for --victims=target"),
        ({"victims": "target", "shadows": 2}, "--shadows has no effect here"),
    ],
)
def test_a_flag_without_effect_is_refused(given, words):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(**given), pytest.raises(UserError, match=words):
        for name in given:
            flags.FLAGS[name].present = 1
        calibrate.check_flags()


def test_an_unknown_candidate_is_refused():
    with pytest.raises(UserError, match="--candidates=bestest is no candidate: choose from paper"):
        candidates.chosen(["best", "bestest"])
    assert list(candidates.chosen(["best"])) == ["best"]
    assert candidates.chosen([]) == candidates.CANDIDATES


def test_without_a_stranger_nobody_can_judge(monkeypatch):
    monkeypatch.setattr(panel, "from_flags", lambda *_: panel.Wanted((), ("evaluator",)))
    with pytest.raises(UserError, match="needs a judge who is a stranger"):
        calibrate.judging(None, None)


@pytest.mark.parametrize("name", candidates.CANDIDATES)
def test_the_flags_of_a_candidate_ask_for_it(monkeypatch, name):
    """Whoever gives them to the other binaries gets the same arguments, whatever the faces."""
    monkeypatch.setattr(recipe.mobile_stylegan_files, "installed", lambda: True)
    wanted = candidates.CANDIDATES[name]
    given = dict(
        word.removeprefix("--").partition("=")[::2]
        for word in shlex.split(candidates.as_flags(wanted))
    )
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver():
        for flag, value in given.items():
            flags.FLAGS[flag].parse(value or "true")
        found = scenario_flags.from_flags()
    assert described(found) == described(wanted)


def test_every_candidate_is_another():
    told = [str(described(each)) for each in candidates.CANDIDATES.values()]
    assert len({*told}) == len(told)


@pytest.mark.parametrize(("name", "times"), [("best", 1), ("best_features_2", 2)])
def test_features_are_fitted_to_each_victim_and_all_else_once(monkeypatch, tmp_path, name, times):
    auxiliary, fitted = object(), []
    cast = [
        SimpleNamespace(
            name=f"shadow_{number}",
            plan=None,
            home=None,
            world=SimpleNamespace(attacked=SimpleNamespace(params={}), auxiliary=auxiliary),
        )
        for number in range(2)
    ]
    facts = AttackFacts("best", {}, 2, 0, 1, 60)
    monkeypatch.setattr(trials, "fit", lambda *each: fitted.append(each) or each)
    monkeypatch.setattr(trials, "clone", lambda victim, how: ({}, 1.0))
    monkeypatch.setattr(trials.attack, "facts_of", lambda *_: facts)
    monkeypatch.setattr(trials.panel, "digests_of", lambda *_: {})
    monkeypatch.setattr(trials.victims, "panel_of", lambda *_: None)
    found = trials.try_candidate(
        *(WorkDirectory(tmp_path), name, candidates.CANDIDATES[name], cast, None), lambda _: []
    )
    assert len(found) == 2
    assert [victim.name for *_, victim in fitted] == ["shadow_0", "shadow_1"][:times]


def described(wanted):
    """All that a candidate asks for, with few faces and with many."""
    sizes = (100, 3000)
    return wanted.recipe.name, [wanted.recipe.described(n) for n in sizes], wanted.described()
