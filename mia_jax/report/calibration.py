"""The table of candidates, as the terminal and the documentation print it."""

from mia_jax.evidence.calibration import Calibration
from mia_jax.evidence.results import Measure
from mia_jax.report import formats

HEADER = (
    "candidate",
    "rank-1",
    "median rank",
    "sets: rank-1",
    "sets: median rank",
    "deviations",
    "faces found",
    "evaluator: rank-1",
    "s/clone",
)


def strangers(found: Calibration) -> list[str]:
    """Names the judges who share nothing with the victims, the first of whom leads."""
    return [name for name, facts in found.judges.items() if not facts.shares]


def rows(found: Calibration, judge: str) -> list[list[str]]:
    """Writes a row for each candidate as a stranger sees it, the farthest ahead first.

    Args:
      found: The calibration.
      judge: The stranger.

    Returns:
      Cells under `HEADER`; the last row is chance. The evaluator is the first of them.
    """
    evaluator = next((name for name, facts in found.judges.items() if facts.shares), "")
    order = sorted(found.rows, key=lambda name: -found.rows[name].figures[judge].deviations.value)
    cells = []
    for name in order:
        each = found.rows[name].figures[judge]
        relative = found.rows[name].figures.get(evaluator)
        cells.append(
            [
                name,
                measure(each.rank1),
                measure(each.median_rank, 1),
                measure(each.set_rank1),
                measure(each.set_median_rank, 1),
                measure(each.deviations),
                measure(each.found),
                measure(relative.rank1 if relative else None),
                f"{found.rows[name].seconds_per_clone:.2f}",
            ]
        )
    people = found.judges[judge].people
    first, middle = formats.number(1 / people, 2), f"{(people + 1) / 2:g}"
    guess = formats.number(1 / found.judges[evaluator].people, 2) if evaluator else formats.DASH
    cells.append(["chance", first, middle, first, middle, "0.00", "", guess, ""])
    return cells


def measure(value: Measure | None, digits: int = 2) -> str:
    """Writes a mean or a median with its interval."""
    if value is None:
        return formats.DASH
    ends = formats.interval(value.interval, digits)
    return formats.number(value.value, digits) + (f" ({ends})" if ends else "")


def text(found: Calibration) -> str:
    """Writes the whole table for a terminal, once for each stranger."""
    lines = []
    for judge in strangers(found):
        table = [list(HEADER), *rows(found, judge)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        people = found.judges[judge].people
        attacks = next(iter(found.rows.values())).figures[judge].attacks
        lines.append(
            f"{attacks} people of {len(found.victims)} recognizers ({found.kind}), "
            f"{found.restarts} clones each; {judge} chooses among {people}:"
        )
        for cells in table:
            padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
