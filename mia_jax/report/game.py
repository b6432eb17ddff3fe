"""The leakage game in plain language: what was played, and what came out."""

from mia_jax.evidence.game import READINGS, Game, GameFigures, Games
from mia_jax.report.formats import count, listed, number, points, points_interval, rough
from mia_jax.report.sentences import attackers_faces

READINGS_IN_WORDS = {
    "tenth": "All clones taken together: the person is in the first tenth",
    "first": "All clones taken together: the person is first",
    "pick": "The clone that an attacker would pick: the person is in the first tenth",
}
_LEADING = next(iter(READINGS))


def sentences(games: Games) -> list[str]:
    """Say what was played and what came out.

    Args:
        games: The games.

    Returns:
        Sentences in reading order, as plain text (not escaped).
    """
    return [
        _played(games),
        _success(games),
        attackers_faces(games.dataset, games.attack),
        *(
            _result(photographs, judge, game, game.figures[judge][_LEADING])
            for photographs, game in games.games.items()
            for judge in games.judges
        ),
    ]


def amount(photographs: str) -> str:
    """Write how many photographs of each person trained the targets."""
    return "all photographs" if photographs == "all" else f"at most {photographs} photographs"


def _played(games: Games) -> str:
    """Say how many plays there are, and of whom."""
    plays = next(iter(games.games.values())).plays
    people, seeds = len({play.person for play in plays}), len(games.ideals)
    return (
        f"{count(len(plays))} plays, of {count(people)} people and {count(seeds)} "
        f"seed{'' if seeds == 1 else 's'} of training, on {games.dataset.name} faces of "
        f"{games.dataset.image_shape[0]}x{games.dataset.image_shape[1]} pixels, with "
        f"{count(games.attack.restarts)} clones of a class."
    )


def _success(games: Games) -> str:
    """Say what counts as success with each judge."""
    limits = [
        f"the first {READINGS[_LEADING].most(facts.people)} of {facts.people} by {judge} "
        f"({'shares ' + listed(facts.shares) if facts.shares else 'a stranger'})"
        for judge, facts in games.judges.items()
    ]
    return (
        "Success, as set down before: for all clones of a class taken together the person is among "
        f"{listed(limits)}."
    )


def _result(photographs: str, judge: str, game: Game, found: GameFigures) -> str:
    """Say what one judge saw in one game."""
    low, high = found.advantage.interval
    meaning = "which chance among so few plays may explain"
    if low > 0:
        meaning = "so that it shows whether the person was in the training data"
    elif high < 0:
        meaning = "so that the person is better hit by a model that never met the person"
    interval, p_value = points_interval((low, high)), number(found.advantage.p_value)
    p_value = p_value if p_value.startswith("<") else f"= {p_value}"
    return (
        f"With {amount(photographs)} of each person, {judge} finds the person in "
        f"{rough(found.with_person.value)} of the plays where the person trained, and in "
        f"{rough(found.nearest.value)} where the nearest class had to do: an advantage of "
        f"{points(found.advantage.value)} points (95% interval over people {interval}; p "
        f"{p_value}), {meaning}. A fixed image from auxiliary data, "
        f"chosen in hindsight, reaches {rough(found.ideal)}."
    )
