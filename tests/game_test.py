"""Tests of the leakage game's figures: what is success, what is the ideal world, what is stored."""

import itertools

import numpy as np
import plays as made_up
import pytest

from mia_jax.evidence import game
from mia_jax.evidence.game import Games, Ideal, JudgeFacts, Ranks
from mia_jax.evidence.judges import Judge
from mia_jax.runtime import records


def pixels(people=("ann", "bob", "eve")):
    """A judge who sees the mean of each channel, and knows each person by one of them."""
    return Judge(
        "pixels",
        people,
        lambda images: np.asarray(images).mean(axis=(1, 2)),
        lambda vectors: vectors,
        frozenset(),
    )


def image(*levels):
    return np.full((4, 4, len(levels)), levels, np.float32)


@pytest.mark.parametrize(("people", "most"), [(1, 1), (10, 1), (11, 2), (18, 2), (40, 4)])
def test_the_first_tenth_is_rounded_up(people, most):
    assert game.first_tenth(people) == most


def test_all_clones_together_are_one_image_and_the_pick_is_another():
    clones = np.stack([image(0.9, 0.1, 0.0), image(0.3, 0.6, 0.0), image(0.3, 0.6, 0.0)])
    assert game.place(pixels(), clones, 1, "ann") == Ranks(together=1, pick=2)
    assert game.place(pixels(), clones, 0, "bob") == Ranks(together=2, pick=2)
    assert game.place(pixels(), clones, 0, "eve") == Ranks(together=3, pick=3)


def test_success_is_counted_by_judge_and_reading():
    """Of 40 people four are the first tenth, of 18 two."""
    found = made_up.games().games["2"].figures
    rates = {
        (judge, reading): tuple(
            getattr(found[judge][reading], world).value
            for world in ("with_person", "nearest", "stand_in")
        )
        for judge, reading in itertools.product(found, game.READINGS)
    }
    third = pytest.approx
    assert rates["dlib", "tenth"] == third((1, 1 / 3, 1 / 3))
    assert rates["evaluator", "tenth"] == third((2 / 3, 0, 1 / 3))
    assert rates["dlib", "first"] == rates["evaluator", "first"] == third((1 / 3, 0, 0))
    assert rates["dlib", "pick"] == (0, 0, 0)
    each = found["dlib"]["tenth"]
    assert each.advantage.value == pytest.approx(2 / 3)
    assert each.over_stand_in.value == pytest.approx(2 / 3)
    assert (each.advantage.only_with, each.over_stand_in.only_with) == (2, 2)
    assert each.gain.value == pytest.approx(1 - each.ideal)
    assert each.gain.interval == pytest.approx(
        tuple(end - each.ideal for end in each.with_person.interval)
    )


def test_the_ideal_of_a_game_counts_each_seed_by_its_plays():
    plays = [made_up.play("ann", 0, (1, 1, 1)), *[made_up.play(n, 1, (1, 1, 1)) for n in "abc"]]
    judges = {"dlib": JudgeFacts(40, ())}
    ideals = {
        seed: Ideal(9, {"dlib": dict.fromkeys(game.READINGS, rate)})
        for seed, rate in (("0", 0.1), ("1", 0.5))
    }
    found = game.figures(plays, judges, ideals)["dlib"]["tenth"]
    assert found.ideal == pytest.approx((0.1 + 3 * 0.5) / 4)


def test_the_best_guess_by_brute_force():
    rng = np.random.default_rng(2)
    names = tuple(f"p{i}" for i in range(12))
    judge = pixels(names)
    guesses = [rng.random((count, 3, 3, 12)).astype(np.float32) for count in (1, 1, 4, 1, 2, 1)]
    found = game.ideal([judge], guesses, names[:5])
    assert found.guesses == 6
    for name, most in (("tenth", 2), ("first", 1), ("pick", 2)):
        best = 0.0
        for group in guesses:
            level = group.mean(axis=(0, 1, 2))
            order = sorted(range(12), key=lambda person: -level[person])
            best = max(best, sum(person in order[:most] for person in range(5)) / 5)
        assert found.rates["pixels"][name] == best


def test_no_attacker_without_the_model_does_better_than_the_ideal():
    """Whatever image each person is met with, at random, succeeds less often than the best."""
    rng = np.random.default_rng(4)
    ranks = rng.integers(1, 20, (30, 6))
    mean = np.mean([ranks[rng.integers(30, size=6), np.arange(6)] <= 4 for _ in range(2000)])
    assert mean < game.best_rate(ranks, 4)


def test_games_are_stored_and_read_again(tmp_path):
    found = made_up.games()
    records.write(tmp_path / "game.json", found)
    assert records.read(tmp_path / "game.json", Games) == found
