"""Leakage games made up for the tests of figures and of the report."""

import judged

from mia_jax.evidence import game, results
from mia_jax.evidence.game import Ideal, JudgeFacts, Play, Ranks, Worlds
from mia_jax.recognizer import training

JUDGES = {"dlib": JudgeFacts(40, ()), "evaluator": JudgeFacts(18, ("architecture", "people"))}


def play(person, seed, ranks, pick=9):
    """A play that both judges see alike: ranks with the person, of the nearest, of the stand-in."""
    worlds = Worlds(*(Ranks(rank, pick) for rank in ranks))
    return Play(person, seed, 6, "stand-in", 6, "nearest", dict.fromkeys(JUDGES, worlds))


def games(plays=None, judges=JUDGES, **changes):
    """Two games with the same plays."""
    plays = plays or (
        play("ann", 0, (1, 9, 2)),
        play("bob", 0, (4, 3, 30)),
        play("ann", 1, (2, 8, 7)),
    )
    rates = {"tenth": 0.25, "first": 0.125, "pick": 0.25}
    ideals = {str(each.seed): Ideal(150, dict.fromkeys(judges, rates)) for each in plays}
    found = {
        number: game.Game(
            accuracy, accuracy - 0.05, tuple(plays), game.figures(plays, judges, ideals)
        )
        for number, accuracy in (("2", 0.65), ("all", 0.95))
    }
    values = {
        "games": found,
        "judges": judges,
        "ideals": ideals,
        "training": dict.fromkeys(("target", "evaluator"), training.Settings()),
        "attack": judged.evaluation().attack,
        "dataset": results.DatasetFacts("orl", "AT&T", 40, 400, (64, 64, 1), 14, 140),
        "provenance": judged.evaluation().provenance,
    }
    return game.Games(**values | changes)
