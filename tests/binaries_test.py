"""Runs the binaries as a user does: as processes, on the real ORL faces made small."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from binaries import ROOT, SECONDS, Running, refuse, run, succeed
from PIL import Image

from mia_jax.evidence import verdict
from mia_jax.evidence.results import Evaluation
from mia_jax.runtime import records

# 12 people with 6 photographs that train: 9 steps an epoch, a look at 18, 36 and 54.
TINY = (
    "--image_size=16",
    "--targeted=2",
    "--max_epochs=6",
    "--evaluate_every=2",
    "--batch_size=8",
)
# dlib takes ten seconds to start and to see 400 photographs; `own_judge` stands in for it.
FAST = ("--judges=evaluators", "--judge=tests.own_judge:embed")
ATTACK = ("--restarts=4", "--chunk=2", "--iterations=5")


def kill_at(words, number, *flags):
    """Runs `reproduce` and sends a signal as soon as it logs the words."""
    with Running("reproduce", *flags) as process:
        process.wait_for(words)
        process.signal(number)
        return process.end()


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """A finished work directory of the whole experiment."""
    workdir = tmp_path_factory.mktemp("runs") / "orl"
    succeed("reproduce", f"--workdir={workdir}", *TINY, *ATTACK, *FAST)
    return workdir


def test_reproduce_leaves_what_other_tools_read(experiment):
    result = records.read(experiment / "evaluation.json", Evaluation)
    roles = json.loads((experiment / "protocol.json").read_text())["protocol"]
    assert list(result.people) == roles["targeted"]
    assert list(result.judges) == ["tests.own_judge:embed", "evaluator"]
    own, judgement = result.judges.values()
    assert (own.classes, own.shares) == (40, ())
    assert own.ceiling.rank1.value > 0.8
    assert list(result.verdict) == list(result.people)
    assert {each.p_value is None for each in result.verdict.values()} == {False}
    for name, row in judgement.people.items():
        with np.load(experiment / "clones" / f"{name}.npz", allow_pickle=False) as stored:
            assert stored["clones"].shape == (4, 16, 16, 1)
            assert stored["seed"].shape == (4, 16, 16, 1)
            assert 0 <= stored["clones"].min() <= stored["clones"].max() <= 1
            np.testing.assert_allclose(
                stored["target_score"].mean(), row.clones.mean_target_score.value, rtol=1e-4
            )
            assert json.loads(str(stored["recipe"]))["name"] == "paper"
            assert str(stored["weights"]) == result.recognizers["target"].digest
        assert row.clones.cmc[-1] == 1
        assert row.clones.rank1.value == row.clones.cmc[0]
        assert row.controls.others is not None
        low, high = row.clones.mean_score.interval
        assert low <= row.clones.mean_score.value <= high
    assert result.provenance.flags["recipe"] == "paper"
    assert "seconds" not in (experiment / "evaluation.json").read_text()
    assert json.loads((experiment / "seconds.json").read_text())["attack"] > 0
    for role in ("target", "evaluator"):
        assert (experiment / role / "checkpoint").is_dir()
        assert (experiment / role / "metrics.csv").read_text().startswith("step,training_loss")
        assert list((experiment / role).glob("events.out.tfevents.*"))
        assert not (experiment / role / "training").exists()
    assert not list((experiment / "clones" / "parts").iterdir())
    assert len(list((experiment / "figures").glob("*.png"))) == 8
    assert "data:image/png;base64," in (experiment / "report.html").read_text()


def test_finished_stages_are_skipped(experiment):
    before = {p: p.stat().st_mtime_ns for p in experiment.rglob("*") if p.is_file()}
    succeed("reproduce", f"--workdir={experiment}", *TINY, *ATTACK, *FAST)
    assert before == {p: p.stat().st_mtime_ns for p in experiment.rglob("*") if p.is_file()}


def test_killed_in_each_stage_it_ends_with_the_same_bytes(experiment, tmp_path):
    flags = (f"--workdir={tmp_path}", *TINY, *ATTACK, *FAST)
    for words in ("target step 36", "evaluator step 18", "is done", "is scored"):
        assert kill_at(words, signal.SIGKILL, *flags).returncode == -signal.SIGKILL
        assert not (tmp_path / "report.html").exists()
        if words == "is done":
            targeted = json.loads((tmp_path / "protocol.json").read_text())["protocol"]["targeted"]
            manifest = json.loads((tmp_path / "clones" / "manifest.json").read_text())
            assert targeted[0] in manifest["complete"]
        (tmp_path / "clones").mkdir(exist_ok=True)
        (tmp_path / "clones" / ".writing-abc").touch()  # As if it had died while writing.
    succeed("reproduce", *flags)
    assert not list(tmp_path.rglob(".writing-*"))
    same = [*experiment.glob("clones/*.npz"), *experiment.glob("*/metrics.csv")]
    same += [*experiment.glob("figures/*.png"), *experiment.glob("*/recognizer.json")]
    same += [experiment / name for name in ("protocol.json", "evaluation.json")]
    same += [experiment / "clones" / "manifest.json"]
    assert len(same) > 10
    for path in same:
        assert path.read_bytes() == (tmp_path / path.relative_to(experiment)).read_bytes(), path


def test_sigterm_ends_with_one_sentence(tmp_path):
    ended = kill_at("target step 18", signal.SIGTERM, f"--workdir={tmp_path}", *TINY, *ATTACK)
    assert ended.returncode == 130
    assert "run the same command again" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "binary",
    [path.stem for path in sorted(ROOT.glob("experiments/*.py")) if "__main__" in path.read_text()],
)
def test_each_binary_starts(binary):
    """As a user starts it, with all of its imports."""
    command = [sys.executable, "-m", f"experiments.{binary}", "--help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert f"For example: python -m experiments.{binary}" in said.stdout, said.stderr


@pytest.mark.parametrize(
    ("binary", "flags", "words"),
    [
        ("train", ["--image_size=32"], "--image_size=32 contradicts"),
        ("train", ["--max_epochs=6", "--batch_size=9"], "trained with other settings"),
        ("train", ["--residual=nobody"], "--residual=nobody is no recognizer here"),
        ("train", [*TINY, "--residual=evaluator"], "trained with other settings"),
        ("train", ["--role=nobody"], "--role=nobody is no recognizer here"),
        ("attack", ["--recipe=best", *ATTACK], "was made with recipe=paper"),
        ("attack", ["--identities=nobody", *ATTACK], "identity 'nobody' is not registered"),
        ("attack", ["--rate=0", *ATTACK], "--rate=0.0"),
        ("attack", ["--components=5", *ATTACK], "--components is only for --recipe=best or "),
        ("attack", ["--prior=0", *ATTACK], "--prior is only for --recipe=best"),
        ("attack", ["--margin=5", *ATTACK], "--margin is only for --loss=max_margin"),
        ("attack", ["--platform=tpu", *ATTACK], "--platform=tpu has no device here"),
        pytest.param(
            "attack",
            ["--platform=gpu", *ATTACK],
            "--platform=gpu has no device here",
            marks=pytest.mark.skipif(bool(shutil.which("nvidia-smi")), reason="there is one here"),
        ),
        ("attack", ["surplus"], "'surplus' is not a flag"),
        ("evaluate", ["--judge=nowhere:embed"], "--judge=nowhere:embed cannot be imported"),
        ("evaluate", ["--judges=arcface"], "--judges=arcface is no judge"),
        (
            "evaluate",
            ["--judges=evaluators", "--fail_on=identified"],
            "--fail_on=identified needs a judge that shares nothing with the target",
        ),
    ],
)
def test_a_mistake_is_one_sentence(experiment, binary, flags, words):
    assert words in refuse(binary, f"--workdir={experiment}", *flags)


def test_a_study_with_observers_comes_from_the_clones(experiment):
    workdir = f"--workdir={experiment}"
    succeed("quiz", "export", workdir, "--static", "--observers=2", "--clones=3")
    home = experiment / "quiz"
    assert len(list((home / "static").glob("observer-*.html"))) == 2
    people = json.loads((home / "plan.json").read_text())["plan"]["people"]
    roles = json.loads((experiment / "protocol.json").read_text())["protocol"]
    assert sorted(people) == sorted(roles["targeted"])
    succeed("quiz", "panels", workdir)
    assert len(list((home / "panels").glob("*.png"))) == 2 * (2 + 3 + 3)
    before = (experiment / "report.html").read_text()
    result = succeed("quiz", "score", workdir)
    assert "0 observers began" in result.stderr
    assert "What observers see" in (experiment / "report.html").read_text()
    (home / "results.json").unlink()
    (experiment / "report.html").write_text(before)
    assert "--clones=2 contradicts" in refuse("quiz", "serve", workdir, "--clones=2")


@pytest.mark.parametrize(
    ("binary", "words"),
    [
        ("train", "--dataset=folder needs --data_dir"),
        ("attack", "holds no experiment yet"),
        ("evaluate", "holds no experiment yet"),
    ],
)
def test_what_is_missing_is_named(tmp_path, binary, words):
    flags = ["--dataset=folder"] if binary == "train" else []
    assert words in refuse(binary, f"--workdir={tmp_path}", *flags)


def test_workdir_is_needed_and_must_be_a_directory(tmp_path):
    assert "--workdir is needed" in refuse("attack")
    (tmp_path / "file").touch()
    assert "is a file" in refuse("attack", f"--workdir={tmp_path / 'file'}")


def test_unknown_flag_and_help():
    result = run("attack", "--recipee=best")
    assert result.returncode != 0
    assert "Unknown command line flag 'recipee'" in result.stderr
    assert "Traceback" not in result.stderr
    result = run("attack", "--help")
    assert "--recipe" in result.stdout
    assert "--workdir" in run("attack", "--helpfull").stdout


def test_a_checkpoint_that_does_not_fit_is_named(experiment, tmp_path):
    subprocess.run(["cp", "-r", str(experiment), str(tmp_path / "copy")], check=True)
    about = tmp_path / "copy" / "target" / "recognizer.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"classes": 99}))
    for path in (tmp_path / "copy" / "clones").glob("*.npz"):
        path.unlink()
    said = refuse("attack", f"--workdir={tmp_path / 'copy'}", *ATTACK)
    assert "does not fit the model" in said
    assert "L7" in said


def test_a_release_check_ends_with_its_own_exit_code(experiment):
    """The finished run with another conclusion, written by hand; nothing is evaluated again."""
    path = experiment / "evaluation.json"
    text = path.read_text()
    flags = (f"--workdir={experiment}", *TINY, *ATTACK, *FAST)
    found = records.read(path, Evaluation)
    quiet = {n: dataclasses.replace(e, level="not_shown") for n, e in found.verdict.items()}
    leak = dataclasses.replace(
        found, verdict=quiet, conclusion=verdict.conclude(quiet.values(), 0.0167, 0.0167, None)
    )
    try:
        records.write(path, leak)
        asked = "--fail_on=identified,leak,inconclusive"
        for more, code in (((), 0), ((asked,), 4), (("--fail_on=identified,inconclusive",), 0)):
            result = run("reproduce", *flags, *more)
            assert result.returncode == code, result.stderr[-2000:]
            words = "reproduce: The model leaks: over all 2 people at once"
            assert (words in result.stderr) == (code == 4)
            assert ("--fail_on=leak would end with exit code 4" in result.stderr) == (code == 0)
    finally:
        path.write_text(text)


def test_the_target_cannot_be_its_own_evaluator(experiment, tmp_path):
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(experiment), str(copy)], check=True)
    subprocess.run(["rm", "-r", str(copy / "evaluator")], check=True)
    subprocess.run(["cp", "-r", str(copy / "target"), str(copy / "evaluator")], check=True)
    said = refuse("evaluate", f"--workdir={copy}", "--judges=evaluators")
    assert "same weights as the target" in said


def test_folder_with_broken_images(tmp_path):
    rng = np.random.default_rng(0)
    for person in range(6):
        directory = tmp_path / "faces" / f"person {person}"
        directory.mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 255, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(directory / f"{i}.png")
    (directory / "broken.jpg").write_bytes(b"not a picture")
    (directory / "empty.png").touch()
    flags = [
        "--dataset=folder",
        f"--data_dir={tmp_path / 'faces'}",
        "--image_size=16",
        "--targeted=1",
        "--max_epochs=2",
        "--evaluate_every=1",
        "--role=target",
    ]
    said = refuse("train", f"--workdir={tmp_path / 'strict'}", *flags, "--strict_images")
    assert "broken.jpg" in said
    result = succeed("train", f"--workdir={tmp_path / 'first'}", *flags)
    warnings = [line for line in result.stderr.splitlines() if "broken.jpg" in line]
    assert len(warnings) == 1
    assert "empty.png" in warnings[0]
    for name in ("1.png", "2.png"):
        (directory / name).write_bytes(b"")
    said = refuse("train", f"--workdir={tmp_path / 'second'}", *flags)
    assert "person 5" in said
    assert "--min_images" in said


def test_two_evaluators_with_photographs_of_their_own_and_the_best_recipe(tmp_path):
    """The strongest recipe, all people, both networks and a stranger, to the end and once more.

    The attacker's faces are dark and come from elsewhere.
    """
    public, tmp_path = tmp_path / "public", tmp_path / "run"
    (public / "more").mkdir(parents=True)
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 60, (24, 20, 18))):
        folder = public / "more" if number % 2 else public
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    flags = (
        f"--workdir={tmp_path}",
        f"--auxiliary_dir={public}",
        "--recipe=best",
        "--components=20",
        "--waves=4",
        "--evaluators=first,second",
        "--evaluator_photographs=disjoint",
        "--residual=target,second",
        "--identities=all",
        *FAST,
        *TINY,
        *ATTACK,
    )
    succeed("reproduce", *flags)
    result = records.read(tmp_path / "evaluation.json", Evaluation)
    assert list(result.judges) == ["tests.own_judge:embed", "first", "second"]
    roles = json.loads((tmp_path / "protocol.json").read_text())["protocol"]
    assert {*result.people} == {*roles["classes"]["target"]} > {*roles["targeted"]}
    stranger, *evaluators = result.judges.values()
    assert list(stranger.people) == list(result.people)
    assert all(list(judgement.people) == roles["targeted"] for judgement in evaluators)
    assert result.conclusion.p_value is not None
    assert list(result.recognizers) == ["target", "first", "second"]
    assert len({facts.digest for facts in result.recognizers.values()}) == 3
    for judgement in evaluators:
        assert "photographs" not in judgement.shares
        assert "people" in judgement.shares
    assert [facts.settings.architecture for facts in result.recognizers.values()] == [
        "resnet",
        "cnn",
        "resnet",
    ]
    for name, judgement in zip(("first", "second"), evaluators, strict=True):
        assert ("architecture" in judgement.shares) == (name == "second")
    assert result.attack.name == "best"
    assert result.attack.arguments["components"] == 20
    for name in roles["targeted"]:
        own = [set(roles["training"][role][name]) for role in ("target", "first", "second")]
        assert own[0].isdisjoint(own[1])
        assert own[1] == own[2]
    assert "already" in succeed("reproduce", *flags).stderr

    facts = result.dataset
    assert (facts.auxiliary_people, facts.auxiliary_photographs) == (None, 24)
    assert result.attack.arguments["auxiliary"] == "public"
    assert "24 photographs in the folder public" in (tmp_path / "report.html").read_text()
    for name in result.people:
        with np.load(tmp_path / "clones" / f"{name}.npz", allow_pickle=False) as stored:
            assert 0.05 < stored["seed"].mean() < 0.2  # The people of ORL are lighter.
    elsewhere = f"--auxiliary_dir={public / 'more'}"
    assert f"{elsewhere} contradicts" in refuse("attack", f"--workdir={tmp_path}", elsewhere)
    (public / "0.png").unlink()
    said = refuse("evaluate", f"--workdir={tmp_path}")
    assert f"public holds 23 photographs, not the 24 for which {tmp_path}" in said


def test_clones_of_weights_that_are_gone_are_refused(experiment, tmp_path):
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(experiment), str(copy)], check=True)
    subprocess.run(["rm", "-r", str(copy / "target")], check=True)
    retrained = (*TINY, "--learning_rate=0.002")
    succeed("train", f"--workdir={copy}", "--role=target", *retrained)
    for binary, flags in (("attack", ATTACK), ("evaluate", ("--judges=evaluators",))):
        said = refuse(binary, f"--workdir={copy}", *flags)
        assert "other weights" in said, said
