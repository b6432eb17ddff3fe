"""Runs the whole experiment of the paper into one work directory, skipping what is finished.

For example: python -m experiments.reproduce --workdir=runs/orl --recipe=best
"""

from absl import flags, logging

from experiments import attack, evaluate, options, recipes, train

for _module in (options, train, recipes, attack):
    flags.adopt_module_key_flags(_module)


def main() -> None:
    """Trains both recognizers, attacks, and evaluates."""
    workdir = options.work_directory()
    recipe = recipes.from_flags()
    how = train.settings()
    for role in options.ROLES:
        train.train(workdir, role, how)
    attack.attack(workdir, recipe)
    if evaluate.finished(workdir):
        logging.info("The evaluation is finished already: %s", workdir.report)
    else:
        evaluate.evaluate(workdir)


if __name__ == "__main__":
    options.run(main)
