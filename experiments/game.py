"""Plays the leakage game: does a clone look like the person because the person trained the target?

For example: python -m experiments.game --workdir=runs/orl

For each seed and each targeted person, a target is trained with the person, and another one with a
stand-in in the person's class, all else equal. Both are attacked, and judges say whether the clones
show the person. See docs/game.md, and `experiments.worlds` for where everything lies.
"""

from collections.abc import Mapping, Sequence

import jax
from absl import flags, logging

from experiments import (
    attack,
    console,
    experiment,
    page,
    panel,
    plays,
    provenance,
    recipe,
    scenario_flags,
    train,
    worlds,
)
from experiments.experiment import Plan
from experiments.scenarios import Method
from mia_jax.evidence.game import Games
from mia_jax.evidence.results import AttackFacts
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.faces.worlds import stand_ins
from mia_jax.recognizer.training import Settings
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

for _module in (experiment, train, recipe, attack, panel):
    flags.adopt_module_key_flags(_module)
_SEEDS = flags.DEFINE_integer(
    "seeds", 3, "How many seeds to play with: --seed and those that follow it.", lower_bound=1
)
_PHOTOGRAPHS = flags.DEFINE_list(
    "photographs",
    ["2", worlds.ALL],
    "How many photographs of each person train the target, or all; each number is a game of its "
    "own.",
)
# What differs from the other binaries where no flag says otherwise: fifty-four targets are trained.
DEFAULTS = {
    "image_size": 64,
    "targeted": 8,
    "max_epochs": 120,
    "recipe": "best",
    "restarts": 20,
    "chunk": 20,
}


def numbers(roles: Protocol) -> tuple[str, ...]:
    """Returns the numbers of photographs that the flag asks for.

    Args:
      roles: Who is who.

    Returns:
      Each once, as text; "all" for as many as there are.

    Raises:
      UserError: If one is no such number.
    """
    most = max(map(len, roles.training[TARGET].values()))
    asked = tuple(number.strip() for number in _PHOTOGRAPHS.value)
    for number in asked:
        if number != worlds.ALL and not (number.isdecimal() and 0 < int(number) < most):
            raise UserError(
                f"--photographs={','.join(asked)}: give numbers from 1 to {most - 1}, or "
                f"{worlds.ALL} for up to {most}, with commas between them"
            )
    found = tuple(number if number == worlds.ALL else str(int(number)) for number in asked)
    if not found or len(set(found)) < len(found):
        raise UserError(f"--photographs={','.join(asked)}: give each number once, and one at least")
    return found


def make_worlds(
    games: WorkDirectory,
    loaded: Faces,
    plans: Mapping[int, Plan],
    asked: Sequence[str],
    wanted: Method,
    how: Mapping[str, Settings],
) -> None:
    """Trains and attacks all targets, or goes on where an interrupted run stopped.

    Args:
      games: Where the games lie.
      loaded: All faces.
      plans: The plan of each seed.
      asked: The numbers of photographs.
      wanted: How to attack.
      how: How to train each recognizer on all photographs.
    """
    count = 0
    total = sum(len(asked) * (1 + len(plan.protocol.targeted)) for plan in plans.values())
    for seed, plan in plans.items():
        home, roles = worlds.evaluators_of(games, seed), plan.protocol
        worlds.settle(home, plan)
        for role in roles.evaluators:
            train.learn(home, loaded, roles, role, how[role])
        fit = attack.fitting(loaded, roles, wanted)
        for photographs in asked:
            few = worlds.with_photographs(plan, photographs)
            longer = worlds.as_long(how[TARGET], roles, few.protocol)
            for person in (None, *roles.targeted):
                count += 1
                logging.info(
                    "World %d of %d: seed %d, %s photographs of each person, %s",
                    *(count, total, seed, photographs),
                    f"without {person}" if person else "with everybody",
                )
                worlds.make(games, loaded, few, photographs, person, longer, wanted, fit)


def finished(
    workdir: WorkDirectory,
    plans: Mapping[int, Plan],
    asked: Sequence[str],
    judges: Sequence[str],
    attacked: AttackFacts,
    how: Mapping[str, Settings],
) -> bool:
    """Tells whether `game.json` holds what is asked for now."""
    if not workdir.game.exists():
        return False
    found = records.read(workdir.game, Games)
    return (
        list(found.games) == list(asked)
        and list(found.ideals) == [str(seed) for seed in plans]
        and list(found.judges) == list(judges)
        and (found.attack, found.training) == (attacked, how)
    )


def say(found: Games) -> None:
    """Logs what came out."""
    for photographs, each in found.games.items():
        for judge, readings in each.figures.items():
            leading = next(iter(readings.values()))
            logging.info(
                "%s photographs, the judge %s: success with the person %.3f, without %.3f (nearest "
                "class), advantage %.3f (95%% interval %.3f to %.3f, p %.3g), ideal world %.3f",
                *(photographs, judge, leading.with_person.value, leading.nearest.value),
                *(leading.advantage.value, *leading.advantage.interval),
                *(leading.advantage.p_value, leading.ideal),
            )


def main() -> None:
    """Plays all games, judges them, and writes the report anew if there is one."""
    if flags.FLAGS["identities"].present:
        raise UserError("--identities is not for the game: --targeted says how many people play")
    for name in ("scenario", "feature_weight", "seeding"):
        if flags.FLAGS[name].present:
            raise UserError(f"--{name} is not for the game, which attacks many targets' weights")
    workdir = experiment.work_directory()
    games = WorkDirectory(workdir.worlds)
    wanted, how = scenario_flags.from_flags(), train.settings(games)

    def check(loaded: Faces, roles: Protocol) -> None:
        numbers(roles)
        panel.from_flags(loaded, roles)
        stand_ins(roles)

    loaded, roles = experiment.open_experiment(games, check)
    asked, judges = numbers(roles), panel.from_flags(loaded, roles)
    page.stored(workdir)  # What the report needs is looked at before compute is spent.
    plan = records.read(games.protocol, Plan)
    seeds = range(roles.seed, roles.seed + _SEEDS.value)
    plans = {seed: worlds.plan_of(plan, seed) for seed in seeds}
    make_worlds(games, loaded, plans, asked, wanted, how)
    if jax.process_index():
        return  # One process judges.
    attacked = attack.facts_of(wanted, plan)
    if finished(workdir, plans, asked, panel.names(roles), attacked, how):
        logging.info("The game is judged already: %s", workdir.game)
    else:
        with experiment.timed(games, "judge"):
            found, by, ideals = plays.judge_games(games, loaded, plans, asked, judges)
        homes = [path.parent for path in games.root.rglob(games.seconds.name)]
        accounts = [experiment.seconds(WorkDirectory(home)) for home in homes]
        spent = round(sum(sum(account.values()) for account in accounts), 2)
        storage.write_json(workdir.seconds, {**experiment.seconds(workdir), "game": spent})
        facts = (provenance.dataset_facts(games, loaded, roles), provenance.provenance())
        records.write(workdir.game, Games(found, by, ideals, how, attacked, *facts))
    say(records.read(workdir.game, Games))
    if again := page.stored(workdir):
        page.write(workdir, *again)
        logging.info("The report: %s", workdir.report)


if __name__ == "__main__":
    for _name, _value in DEFAULTS.items():
        flags.FLAGS.set_default(_name, _value)
    console.run(main)
