"""Runs the game as a user does, on the real ORL faces made small: killed, resumed, refused."""

import json
import signal

import pytest
from absl import flags
from absl.testing import flagsaver
from binaries import Running, refuse, succeed

from experiments import game
from mia_jax import faces
from mia_jax.evidence.game import READINGS, Games
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError

TINY = (
    "--image_size=16",
    "--targeted=1",
    "--max_epochs=4",
    "--evaluate_every=2",
    "--batch_size=8",
    "--recipe=paper",
    "--restarts=3",
    "--chunk=3",
    "--iterations=3",
    "--seed=10",
    "--seeds=1",
    "--photographs=2",
    "--judges=evaluators",
    "--judge=tests.own_judge:embed",
)
WORLDS = ("with", "without *")


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A finished game."""
    workdir = tmp_path_factory.mktemp("runs") / "orl"
    succeed("game", f"--workdir={workdir}", *TINY)
    return workdir


def files(workdir):
    return {p.relative_to(workdir): p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()}


def test_what_is_left(played):
    found = records.read(played / "game.json", Games)
    assert list(found.games) == ["2"]
    assert {name: bool(facts.shares) for name, facts in found.judges.items()} == {
        "tests.own_judge:embed": False,
        "evaluator": True,
    }
    (play,) = found.games["2"].plays
    assert (play.seed, play.photographs, play.stand_in_photographs) == (10, 2, 2)
    for judge, facts in found.judges.items():
        ranks = play.ranks[judge]
        for world in (ranks.with_person, ranks.nearest, ranks.stand_in):
            assert 1 <= min(world.together, world.pick) <= max(world.together, world.pick)
            assert max(world.together, world.pick) <= facts.people
        assert list(found.games["2"].figures[judge]) == list(READINGS)
    # 39 people less the one: a half of them has 10 photographs each; their mean; the seeds.
    assert found.ideals["10"].guesses == found.dataset.auxiliary_photographs + 2
    assert found.provenance.flags["photographs"] == ["2"]
    home = played / "game" / "seed-10"
    inside, outside = (next((home / "2").glob(name)) for name in WORLDS)
    assert outside.name == f"without {play.person}"
    whose = {path.stem for path in (outside / "clones").glob("*.npz")}
    assert whose == {play.nearest, play.stand_in}
    assert [path.stem for path in (inside / "clones").glob("*.npz")] == [play.person]
    assert (home / "evaluators" / "evaluator" / "recognizer.json").exists()
    assert json.loads((played / "seconds.json").read_text())["game"] > 0


def test_a_finished_game_is_left_alone(played):
    before = files(played)
    assert "judged already" in succeed("game", f"--workdir={played}", *TINY).stderr
    assert files(played) == before


def test_killed_it_goes_on_and_ends_with_the_same_bytes(played, tmp_path):
    flags = (f"--workdir={tmp_path}", *TINY)
    with Running("game", *flags) as process:
        process.wait_for("World 2 of 2")
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "game.json").exists()
    succeed("game", *flags)
    same = [path for path in files(played) if path.suffix in (".npz", ".json", ".csv")]
    same = [path for path in same if path.name != "seconds.json"]
    assert len(same) > 10
    for path in same:
        assert (played / path).read_bytes() == (tmp_path / path).read_bytes(), path


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--image_size=32"], "--image_size=32 contradicts"),
        (["--restarts=5"], "was made with restarts=3"),
    ],
)
def test_a_mistake_is_one_sentence(played, flags, words):
    assert words in refuse("game", f"--workdir={played}", *TINY, *flags)


@pytest.mark.parametrize("name", ["identities", "scenario", "feature_weight", "seeding"])
def test_what_looks_at_one_target_alone_is_refused(name):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(), pytest.raises(UserError, match=f"--{name} is not for the game"):
        flags.FLAGS[name].present = 1
        game.main()


@pytest.mark.parametrize(
    "asked", [["0"], ["2", "2"], ["2", "02"], [], ["two"], ["-1"], ["all", "6"]]
)
def test_numbers_of_photographs_that_make_no_game_are_refused(asked):
    flags.FLAGS.mark_as_parsed()
    roles = faces.make_protocol(dict.fromkeys(map(str, range(20)), 10), seed=10)
    with flagsaver.flagsaver(photographs=asked), pytest.raises(UserError, match="--photographs="):
        game.numbers(roles)
    with flagsaver.flagsaver(photographs=["5", " 02", "all"]):
        assert game.numbers(roles) == ("5", "2", "all")
