"""Puts the evaluations of several work directories together, which differ by their seed.

For example: python -m experiments.pool --runs=runs/orl-0,runs/orl-1,runs/orl-2 --output=orl.json
"""

import pathlib

from absl import logging

from experiments import console, path_flags
from mia_jax.evidence import pooling
from mia_jax.evidence.results import Evaluation
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

_RUNS = path_flags.define_list(
    "runs", [], "The work directories, each evaluated, of different seeds."
)
_OUTPUT = path_flags.define("output", None, "The JSON file to write.")


def main() -> None:
    """Writes the pooled result, and says what comes out."""
    if not _RUNS.value or not _OUTPUT.value:
        raise UserError("--runs and --output are needed: work directories, and a file to write")
    output = pathlib.Path(_OUTPUT.value)
    if output.is_dir():
        raise UserError(f"--output={output} is a directory: name a file")
    storage.check_writable(output.parent)
    names = [pathlib.Path(run).name for run in _RUNS.value]
    if len({*names}) < len(names):
        raise UserError(f"--runs={','.join(_RUNS.value)} must end in names of their own")
    pooled = pooling.pool(
        {
            name: records.read(WorkDirectory(run).evaluation, Evaluation)
            for name, run in zip(names, _RUNS.value, strict=True)
        }
    )
    records.write(output, pooled)
    for name, judge in pooled.judges.items():
        clones = judge.images["clones"]
        logging.info(
            "%s: rank-1 %.3f, together %.3f, median rank %g, together %g, of %d people; %d attacks",
            *(name, clones.rank1.value, clones.set_rank1.value),
            *(clones.median_rank, clones.set_rank, judge.classes, judge.attacks),
        )
    logging.info("Verdicts: %s", ", ".join(f"{n} {level}" for level, n in pooled.levels.items()))


if __name__ == "__main__":
    console.run(main)
