"""The table of all methods as Markdown and as a page, and the strip of their best clones."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mia_jax.evidence.comparison import Comparison, Row, winners
from mia_jax.report import formats, primitives
from mia_jax.report.calibration import measure
from mia_jax.report.page import data_uri, environment
from mia_jax.report.primitives import INK, TYPE

MOST = 8  # People in the strip.


def header(found: Comparison) -> list[str]:
    """Names the columns."""
    own = ["rank-1", "median rank", "sets: rank-1"]
    of_judges = [f"{judge}: {column}" for judge in found.judges for column in own]
    return [
        *("method", "the attacker needs", *of_judges, "faces found", "diversity"),
        *("error where hidden", "queries a person", "the copy agrees", "gradients a person"),
        "seconds",
    ]


def rows(found: Comparison) -> list[list[str]]:
    """Writes the null rows, chance, the methods and the ceiling.

    Args:
      found: The comparison.

    Returns:
      Cells under `header`.
    """
    nulls = [_cells(found, f"null: {name}", row) for name, row in found.nulls.items()]
    methods = [_cells(found, name, row) for name, row in found.rows.items()]
    return [*nulls, _chance(found), *methods, _cells(found, "ceiling: photographs", found.ceiling)]


def _cells(found: Comparison, name: str, row: Row) -> list[str]:
    """Writes one line."""
    cells = [name, row.needs or ""]
    for judge in found.judges:
        each = row.figures.get(judge)
        said = (each.rank1, each.median_rank, each.set_rank1) if each else (None, None, None)
        cells += [measure(one, digits) for one, digits in zip(said, (2, 1, 2), strict=True)]
    detector = next((each.found for each in row.figures.values() if each.found), None)
    queries = ""
    if row.queries is not None and row.shared_queries is not None:
        shared = f"{row.shared_queries:,} in all" if row.shared_queries else ""
        queries = shared or (f"{row.queries:,.0f}" if row.queries else "0")
    return [
        *cells,
        measure(detector),
        measure(row.diversity),
        measure(row.hidden_error, 3),
        queries,
        "" if row.agreement is None else formats.number(row.agreement, 2),
        "" if row.gradients is None else f"{row.gradients:,.0f}",
        "" if row.seconds is None else f"{row.seconds:,.0f}",
    ]


def _chance(found: Comparison) -> list[str]:
    """Writes what guessing reaches."""
    cells = ["chance", ""]
    for facts in found.judges.values():
        first = formats.number(1 / facts.people, 2)
        cells += [first, f"{(facts.people + 1) / 2:g}", first]
    return cells + [""] * (len(header(found)) - len(cells))


def sentences(found: Comparison) -> list[str]:
    """Says which method wins under which threat model, by the first judge.

    Args:
      found: The comparison.

    Returns:
      Sentences, plain text.
    """
    judge, facts = next(iter(found.judges.items()))
    said = [
        f"{len(found.people)} people, {found.restarts} clones of each by every method; {judge} "
        f"{'shares ' + formats.listed(facts.shares) if facts.shares else 'is a stranger'} and "
        f"chooses among {facts.people}. Intervals are 95%, over people."
    ]
    for needs, winner in winners(found, judge).items():
        if winner is None:
            said.append(f"With {needs}: none is above every null row.")
            continue
        rate = found.rows[winner].figures[judge].rank1
        said.append(
            f"With {needs}: {winner}, whose clones {judge} ranks first in "
            f"{formats.rough(rate.value)} ({formats.interval(rate.interval, as_percent=True)})."
        )
    return said + [f"{name} was left out: {why}." for name, why in found.left_out.items()]


def markdown(found: Comparison) -> str:
    """Writes the table and its sentences as Markdown."""
    lines = [f"- {sentence}" for sentence in sentences(found)]
    table = [header(found), ["---"] * len(header(found)), *rows(found)]
    return "\n".join([*lines, "", *("| " + " | ".join(cells) + " |" for cells in table), ""])


def strip(
    photographs: Mapping[str, np.ndarray], clones: Mapping[str, Mapping[str, np.ndarray]]
) -> Figure:
    """Draws each person's photograph above the best clone by each method.

    Args:
      photographs: By person, `[height, width, channels]` in [0, 1].
      clones: By method and person, the same.

    Returns:
      The figure, of the first `MOST` people.
    """
    people = list(photographs)[:MOST]
    shown: dict[str, Mapping[str, np.ndarray]] = {"photograph": photographs, **clones}
    step, margin = primitives.aspect(photographs[people[0]]) + TYPE / 4, 1.9
    width = len(people) + margin
    figure, axes = primitives.board(width, len(shown) * step + TYPE, inches=1.1 * width)
    for line, (name, images) in enumerate(shown.items()):
        top = line * step + (TYPE if line else 0)
        axes.text(margin - 0.1, top + step / 2, name, color=INK, fontsize=8, ha="right",
                  va="center")  # fmt: skip
        for column, person in enumerate(people):
            label = "" if line else primitives.short(person, 12)
            if person in images:
                primitives.place(axes, images[person], margin + column, top, label)
    return figure


def page(found: Comparison, picture: bytes) -> str:
    """Builds the page: sentences, table and strip in one file.

    Args:
      found: The comparison.
      picture: The strip as PNG.

    Returns:
      HTML.
    """
    return (
        environment()
        .get_template("comparison.html")
        .render(
            found=found,
            sentences=sentences(found),
            heads=_heads(header(found)),
            rows=rows(found),
            picture=data_uri(picture),
        )
    )


def _heads(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Splits the columns' names into name and small print; numbers stand on the right."""
    parts = [name.partition(": ") for name in names]
    return [(first, rest, "n" if place > 1 else "") for place, (first, _, rest) in enumerate(parts)]
