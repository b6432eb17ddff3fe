"""The report's pictures of people: clones beside real photographs, and what the attack starts from.

Pure functions from arrays to matplotlib figures, next to `curves`, for the page of `page`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mia_jax.report import primitives
from mia_jax.report.primitives import GRAY, INK, TYPE, VERMILION

_COLUMNS = 6  # Pictures side by side; more would make the labels unreadable on a page.


class Clone(NamedTuple):
    """One clone and what a judge says of it.

    Attributes:
        image: [height, width, channels] in [0, 1].
        score: The judge's score of the targeted person; of a recognizer the confidence.
        rank: The targeted person's rank by the judge; 1 is the best.
    """

    image: ArrayLike
    score: float
    rank: int


class Portrait(NamedTuple):
    """One person's column in `best_clones`.

    Attributes:
        name: The person's name.
        photograph: A real photograph, [height, width, channels] in [0, 1].
        best: The clone that the judge ranks and scores best.
        pick: The clone that an attacker without the judge would pick.
        seed: The seed, not attacked, that the judge ranks and scores best.
        other: The same of clones aimed at other people; None where there are none.
        nearest: The training photograph most like `best`, or None to leave it out.
    """

    name: str
    photograph: ArrayLike
    best: Clone
    pick: Clone
    seed: Clone
    other: Clone | None
    nearest: ArrayLike | None = None


def clone_grid(
    photograph: ArrayLike, clones: ArrayLike, scores: ArrayLike, ranks: ArrayLike, name: str
) -> Figure:
    """Draw clones of one person around a real photograph at the bottom left (Figs. 6-10).

    The photograph is twice as wide as a clone and framed, so that it is not taken for one. Under
    each clone stand its rank and score by the judge, in bold where the rank is 1.

    Args:
        photograph: A real photograph, [height, width, channels] in [0, 1].
        clones: [clones, height, width, channels] in [0, 1]; the paper shows 25.
        scores: [clones], the judge's score of the person.
        ranks: [clones], the person's rank by the judge, 1 for the best.
        name: The person's name.

    Returns:
        The figure.

    Raises:
        ValueError: If there is no clone, or the numbers of clones, scores and ranks differ.
    """
    clones, scores, ranks = np.asarray(clones), np.asarray(scores), np.asarray(ranks)
    if clones.ndim != 4 or not len(clones):
        raise ValueError(f"clones must be [clones, height, width, channels], got {clones.shape}.")
    if scores.shape != (len(clones),) or ranks.shape != (len(clones),):
        raise ValueError(
            f"scores and ranks must be [{len(clones)}], got {scores.shape} and {ranks.shape}."
        )
    rows = max(2, -(-(len(clones) + 4) // _COLUMNS))  # the photograph takes 2 x 2 cells
    cells = [
        (row, column)
        for row in range(rows)
        for column in range(_COLUMNS)
        if row < rows - 2 or column >= 2
    ]
    step = primitives.aspect(clones[0]) + TYPE  # a picture and the line of type under it
    figure, axes = primitives.board(_COLUMNS, rows * step, inches=7.0)
    for (row, column), clone, score, rank in zip(cells, clones, scores, ranks, strict=False):
        primitives.place(
            axes, clone, column, row * step, _rank_and_score(score, rank), bold=rank == 1
        )
    # Centered on its two columns and standing on the same line as the last row of clones.
    aspect = primitives.aspect(photograph)
    size = min(2.0, (2 * step - TYPE) / aspect)
    left, top = (2 - size) / 2, rows * step - TYPE - size * aspect
    primitives.place(axes, photograph, left, top, "real photograph", size=size, frame=VERMILION)
    if len(cells) > len(clones):
        row, column = cells[-1]
        note = "rank · score\nby the\njudge"
        axes.text(column + 0.5, (row + 0.4) * step, note, color=GRAY, fontsize=8.5, ha="center",
                  va="center", linespacing=1.4)  # fmt: skip
    axes.set_title(primitives.short(name, 60), parse_math=False, loc="left", fontsize=11, color=INK)
    return figure


def best_clones(rows: Sequence[Portrait]) -> Figure:
    """Draw each person's best clone beside the person (Fig. 12), one column for each person.

    Below the real photograph stand the clone that the judge likes best, which the paper shows
    and which takes the judge to find, and the clone that an attacker would pick without it; then
    what the same search finds where nothing of the person is known: among the seeds, and among the
    clones aimed at others.

    Args:
        rows: One portrait for each person; more than six go on below.

    Returns:
        The figure.

    Raises:
        ValueError: If `rows` is empty.
    """
    if not rows:
        raise ValueError("rows must hold at least one portrait, got none.")
    columns = min(len(rows), _COLUMNS)
    with_others = any(portrait.other is not None for portrait in rows)
    with_nearest = any(portrait.nearest is not None for portrait in rows)
    kinds = ["real\nphotograph", "best by\njudge", "attacker's\npick", "control:\nbest seed"]
    kinds += ["control:\nbest clone\nof others"] if with_others else []
    kinds += ["training\nphotograph\nnearest to\nbest clone"] if with_nearest else []
    aspect = max(primitives.aspect(portrait.photograph) for portrait in rows)
    step = aspect + TYPE
    block = len(kinds) * step + 0.25
    blocks = -(-len(rows) // columns)
    margin = 0.8
    width = columns + margin
    height = blocks * block - 0.25 - (TYPE if with_nearest else 0)
    figure, axes = primitives.board(width, height, inches=1.35 * width)
    for start in range(0, len(rows), columns):
        top = start // columns * block
        for place, kind in enumerate(kinds):
            axes.text(margin - 0.1, top + place * step + aspect / 2, kind, color=INK, fontsize=9,
                      ha="right", va="center")  # fmt: skip
        for column, portrait in enumerate(rows[start : start + columns]):
            left = margin + column
            primitives.place(
                axes, portrait.photograph, left, top, primitives.short(portrait.name, 16), bold=True
            )
            shown = (portrait.best, portrait.pick, portrait.seed, portrait.other)
            for place, clone in enumerate(shown, start=1):
                if clone is None:
                    continue
                label = _rank_and_score(clone.score, clone.rank)
                primitives.place(
                    axes, clone.image, left, top + place * step, label, bold=clone.rank == 1
                )
            if portrait.nearest is not None:
                last = top + (len(kinds) - 1) * step
                primitives.place(axes, portrait.nearest, left, last, "")
    return figure


def seed_figure(seeds: ArrayLike) -> Figure:
    """Draw the image, or images, that the attack starts from.

    Args:
        seeds: [seeds, height, width, channels] in [0, 1].

    Returns:
        The figure, six seeds to a row.

    Raises:
        ValueError: If there is no seed.
    """
    seeds = np.asarray(seeds)
    if seeds.ndim != 4 or not len(seeds):
        raise ValueError(f"seeds must be [seeds, height, width, channels], got {seeds.shape}.")
    columns = min(len(seeds), _COLUMNS)
    aspect = primitives.aspect(seeds[0])
    inches = 2.2 if columns == 1 else 1.3 * columns
    figure, axes = primitives.board(columns, -(-len(seeds) // columns) * aspect, inches=inches)
    for place, seed in enumerate(seeds):
        primitives.place(axes, seed, place % columns, place // columns * aspect, "")
    return figure


def _rank_and_score(score: float, rank: int) -> str:
    """Write a rank and a score, such as "#1 · 0.93"."""
    return f"#{int(rank)} · {float(score):.2f}"
