"""The figures of the report: pure functions from arrays to matplotlib figures.

Every figure is a free-standing `matplotlib.figure.Figure`; pyplot and its global state are not
used. Colors are from Okabe and Ito's palette, which color-blind readers can tell apart, and no
meaning rests on color alone: curves differ in dash or marker too, and labels carry the numbers.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import ArrayLike
from PIL import Image

INK = "#222222"
GRAY = "#6b6b6b"
# Okabe-Ito without black (kept for the mean) and yellow (too pale on white).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BLUE, VERMILION, GREEN = PALETTE[:3]
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_DOTS_PER_INCH = 140
_TYPE = 0.22  # height of the line of type under a picture, in picture widths
_COLUMNS = 6  # pictures side by side; more would make the labels unreadable on a page
_NAMED_CURVES = 14  # beyond this a legend of names is larger than the plot
_LOG_RANKS = 60  # beyond this the interesting first ranks would be squeezed into the margin


class Clone(NamedTuple):
    """One clone and what the evaluator says of it.

    Attributes:
        image: [height, width, channels] in [0, 1].
        score: The evaluator's confidence in the targeted person, in [0, 1].
        rank: The targeted person's rank by the evaluator; 1 is the best.
    """

    image: ArrayLike
    score: float
    rank: int


class Portrait(NamedTuple):
    """One person's column in `best_clones`.

    Attributes:
        name: The person's name.
        photograph: A real photograph, [height, width, channels] in [0, 1].
        best: The clone that the evaluator ranks and scores best.
        pick: The clone that an attacker without the evaluator would pick.
        nearest: The training photograph most like `best`, or None to leave it out.
    """

    name: str
    photograph: ArrayLike
    best: Clone
    pick: Clone
    nearest: ArrayLike | None = None


def png(figure: Figure) -> bytes:
    """Encode a figure as PNG; equal figures give equal bytes (no date, no software name).

    Args:
        figure: Any figure of this module.

    Returns:
        The PNG file's bytes.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def image_png(image: ArrayLike) -> bytes:
    """Encode one picture, pixel for pixel, as PNG.

    Args:
        image: [height, width, channels] in [0, 1], 1 or 3 channels. Values outside are clipped;
            NaN becomes black.

    Returns:
        The PNG file's bytes: 8-bit gray for 1 channel, RGB for 3.

    Raises:
        ValueError: If `image` has another shape.
    """
    pixels = _pixels(image)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def clone_grid(
    photograph: ArrayLike, clones: ArrayLike, scores: ArrayLike, ranks: ArrayLike, name: str
) -> Figure:
    """Draw clones of one person around a real photograph at the bottom left (Figs. 6-10).

    The photograph is twice as wide as a clone and framed, so that it is not taken for one. Under
    each clone stand its rank and score by the evaluator, in bold where the rank is 1.

    Args:
        photograph: A real photograph, [height, width, channels] in [0, 1].
        clones: [clones, height, width, channels] in [0, 1]; the paper shows 25.
        scores: [clones], the evaluator's confidence in the person, in [0, 1].
        ranks: [clones], the person's rank by the evaluator, 1 for the best.
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
    step = _aspect(clones[0]) + _TYPE  # a picture and the line of type under it
    figure, axes = _board(_COLUMNS, rows * step, inches=7.0)
    for (row, column), clone, score, rank in zip(cells, clones, scores, ranks, strict=False):
        _place(axes, clone, column, row * step, _verdict(score, rank), bold=rank == 1)
    # Centered on its two columns and standing on the same line as the last row of clones.
    aspect = _aspect(photograph)
    size = min(2.0, (2 * step - _TYPE) / aspect)
    left, top = (2 - size) / 2, rows * step - _TYPE - size * aspect
    _place(axes, photograph, left, top, "real photograph", size=size, frame=VERMILION)
    if len(cells) > len(clones):
        row, column = cells[-1]
        note = "rank · score\nby the\nevaluator"
        axes.text(column + 0.5, (row + 0.4) * step, note, color=GRAY, fontsize=8.5, ha="center",
                  va="center", linespacing=1.4)  # fmt: skip
    axes.set_title(_short(name, 60), parse_math=False, loc="left", fontsize=11, color=INK)
    return figure


def best_clones(rows: Sequence[Portrait]) -> Figure:
    """Draw each person's best clone beside the person (Fig. 12), one column for each person.

    Below the real photograph stand the clone that the evaluator likes best, which the paper shows
    and which takes the evaluator to find, and the clone that an attacker would pick without it.

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
    with_nearest = any(portrait.nearest is not None for portrait in rows)
    kinds = ["real\nphotograph", "best by\nevaluator", "attacker's\npick"]
    kinds += ["training\nphotograph\nnearest to\nbest clone"] if with_nearest else []
    aspect = max(_aspect(portrait.photograph) for portrait in rows)
    step = aspect + _TYPE
    block = len(kinds) * step + 0.25
    blocks = -(-len(rows) // columns)
    margin = 0.8
    width = columns + margin
    height = blocks * block - 0.25 - (_TYPE if with_nearest else 0)
    figure, axes = _board(width, height, inches=1.35 * width)
    for start in range(0, len(rows), columns):
        top = start // columns * block
        for place, kind in enumerate(kinds):
            axes.text(margin - 0.1, top + place * step + aspect / 2, kind, color=INK, fontsize=9,
                      ha="right", va="center")  # fmt: skip
        for column, portrait in enumerate(rows[start : start + columns]):
            left = margin + column
            _place(axes, portrait.photograph, left, top, _short(portrait.name, 16), bold=True)
            for place, clone in enumerate((portrait.best, portrait.pick), start=1):
                label = _verdict(clone.score, clone.rank)
                _place(axes, clone.image, left, top + place * step, label, bold=clone.rank == 1)
            if portrait.nearest is not None:
                _place(axes, portrait.nearest, left, top + 3 * step, "")
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
    aspect = _aspect(seeds[0])
    inches = 2.2 if columns == 1 else 1.3 * columns
    figure, axes = _board(columns, -(-len(seeds) // columns) * aspect, inches=inches)
    for place, seed in enumerate(seeds):
        _place(axes, seed, place % columns, place // columns * aspect, "")
    return figure


def cmc_curves(
    curves: Mapping[str, ArrayLike],
    mean: ArrayLike,
    null_seed: ArrayLike,
    null_others: ArrayLike | None,
    ceiling: ArrayLike,
) -> Figure:
    """Draw cumulative matching characteristic curves (Fig. 11) with what they stand against.

    Args:
        curves: For each person's name, [ranks]: the share of clones, in [0, 1], for which the
            evaluator puts the person among its first k, for k = 1 .. ranks.
        mean: [ranks], the mean over the people.
        null_seed: [ranks], the same for seeds that were not attacked.
        null_others: [ranks], the same for clones aimed at other people; None where only one was
            attacked.
        ceiling: [ranks], the same for real held-out photographs.

    Returns:
        The figure; the ranks are on a logarithmic axis where there are many. The thin gray line is
        chance, k / ranks.

    Raises:
        ValueError: If the curves differ in length, or are not vectors.
    """
    ranks = len(np.atleast_1d(np.asarray(mean)))
    yardsticks: dict[str, tuple[ArrayLike, dict[str, Any]]] = {
        "mean": (mean, {"color": "black", "linewidth": 2.6}),
        "real photographs": (ceiling, {"color": "black", "linewidth": 1.4, "linestyle": "-."}),
        "seeds, not attacked": (null_seed, {"color": GRAY, "linewidth": 1.6, "linestyle": "--"}),
        "chance": (
            np.arange(1, ranks + 1) / ranks,
            {"color": "#9a9a9a", "linewidth": 0.8, "linestyle": "-"},
        ),
    }
    if null_others is not None:
        style: dict[str, Any] = {"color": GRAY, "linewidth": 1.8, "linestyle": ":"}
        yardsticks["clones of others"] = (null_others, style)
    values = {
        name: np.asarray(curve, float)
        for name, curve in [*curves.items(), *((name, y[0]) for name, y in yardsticks.items())]
    }
    for name, curve in values.items():
        if curve.shape != (ranks,):
            raise ValueError(f"the curve of {name!r} must be [{ranks}], got {curve.shape}.")

    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.add_subplot()
    many = len(curves) > _NAMED_CURVES
    x = np.arange(1, ranks + 1)
    entries: list[tuple[Line2D, str]] = []
    for place, name in enumerate(curves):
        (line,) = axes.plot(
            x,
            values[name],
            color="#b5b5b5" if many else PALETTE[place % len(PALETTE)],
            marker=None if many else MARKERS[place % len(MARKERS)],
            markersize=4.5,
            markevery=max(1, ranks // 20),
            linewidth=1.0 if many else 1.5,
        )
        if not many:
            entries.append((line, _short(name, 24)))
        elif not entries:
            entries.append((line, "each person"))
    for name, (_, style) in yardsticks.items():
        (line,) = axes.plot(x, values[name], **style)
        entries.append((line, name))
    _tidy(axes, "rank k", "person among the first k")
    axes.set_ylim(-0.02, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if ranks > _LOG_RANKS:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rank, _: f"{rank:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(14, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(1 if ranks > _LOG_RANKS else 0.7, max(ranks * 1.02, 1.3))
    _legend(figure, entries, columns=4)
    return figure


def training_curves(histories: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """Draw the training of the recognizers: loss above, held-out accuracy below.

    Args:
        histories: For each recognizer ("target", "evaluator"), vectors of one length: `step`,
            `training_loss`, `held_out_loss`, `held_out_accuracy` (in [0, 1]). NaN where nothing
            was measured at a step; a key other than `step` may be absent. Recognizers may differ
            in length.

    Returns:
        The figure, one column for each recognizer.

    Raises:
        ValueError: If `histories` is empty, or a vector is not as long as its `step`.
    """
    if not histories:
        raise ValueError("histories must hold at least one recognizer, got none.")
    figure = Figure(figsize=(4.5 * len(histories), 5), layout="constrained")
    grid = figure.subplots(2, len(histories), squeeze=False, sharex="col", sharey="row")
    entries: dict[str, Line2D] = {}
    for place, (name, history) in enumerate(histories.items()):
        column = grid[:, place]
        step = np.asarray(history["step"], float)
        for axes, key, color, dash in (
            (column[0], "training_loss", BLUE, "-"),
            (column[0], "held_out_loss", VERMILION, "--"),
            (column[1], "held_out_accuracy", GREEN, "-"),
        ):
            values = np.asarray(history.get(key, np.full(step.shape, np.nan)), float)
            if values.shape != step.shape:
                raise ValueError(
                    f"{key} of {name!r} must be as long as its step, {step.shape}, "
                    f"got {values.shape}."
                )
            # Without its NaNs a sparsely measured curve stays connected.
            kept = np.isfinite(values)
            marker = "o" if key != "training_loss" and kept.sum() <= 40 else None
            (line,) = axes.plot(
                step[kept], values[kept], color=color, linestyle=dash, marker=marker,
                linewidth=1.6, markersize=3,
            )  # fmt: skip
            entries.setdefault(key.replace("held_out", "held-out").replace("_", " "), line)
        column[0].set_title(_short(name, 40), parse_math=False, fontsize=11, color=INK)
        _tidy(column[0], "", "" if place else "loss")
        _tidy(column[1], "training step", "" if place else "held-out accuracy")
        column[1].set_ylim(-0.02, 1.03)
        column[1].yaxis.set_major_formatter(PercentFormatter(1.0))
        column[1].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _legend(figure, [(line, label) for label, line in entries.items()], columns=3)
    return figure


def loss_traces(iterations: ArrayLike, traces: Mapping[str, ArrayLike]) -> Figure:
    """Draw how the attack's loss falls: median and 10-90% band over the restarts.

    Args:
        iterations: [times], the iteration of each column of the traces.
        traces: For each person's name, [restarts, times] losses of any sign. NaN (a restart that
            has stopped) is left out.

    Returns:
        The figure, one panel for each person on common axes.

    Raises:
        ValueError: If `traces` is empty or a trace has another number of columns.
    """
    iterations = np.asarray(iterations, float)
    if not traces:
        raise ValueError("traces must hold at least one person, got none.")
    columns = min(3, len(traces))
    rows = -(-len(traces) // columns)
    figure = Figure(figsize=(3.1 * columns + 0.6, 2.1 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for place, (name, trace) in enumerate(traces.items()):
        trace = np.asarray(trace, float)
        if trace.ndim != 2 or trace.shape[1] != len(iterations):
            raise ValueError(
                f"the trace of {name!r} must be [restarts, {len(iterations)}], got {trace.shape}."
            )
        axes = grid.flat[place]
        kept = np.isfinite(trace).any(axis=0)
        finite = np.where(np.isfinite(trace), trace, np.nan)[:, kept]
        if finite.size:
            low, middle, high = np.nanpercentile(finite, (10, 50, 90), axis=0)
            x = iterations[kept]
            band = axes.fill_between(x, low, high, color=PALETTE[5], alpha=0.45, linewidth=0)
            band.set_zorder(2)
            axes.plot(x, middle, color=BLUE, linewidth=1.8)
        axes.set_title(_short(name, 28), parse_math=False, fontsize=10, color=INK, loc="left")
        _tidy(axes, "", "")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    for axes in grid.flat[len(traces) :]:
        axes.set_axis_off()
    # The lowest panel of each column carries the ticks; a column may end a row early.
    for axes in grid.flat[max(0, len(traces) - columns) : len(traces)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("iteration", fontsize=10, color=INK)
    figure.supylabel("attack loss", fontsize=10, color=INK)
    return figure


def _pixels(image: ArrayLike) -> np.ndarray:
    """Return [height, width, 1 or 3] uint8 for an image in [0, 1]."""
    values = np.asarray(image, float)
    if values.ndim != 3 or values.shape[-1] not in (1, 3):
        raise ValueError(f"image must be [height, width, 1 or 3], got {values.shape}.")
    return np.round(255 * np.clip(np.nan_to_num(values, nan=0.0), 0, 1)).astype(np.uint8)


def _aspect(image: ArrayLike) -> float:
    """Return height / width."""
    height, width = np.shape(image)[:2]
    return height / width


def _board(width: float, height: float, inches: float) -> tuple[Figure, Axes]:
    """Make one blank axes, in units of a picture's width, y downwards; faster than many axes."""
    figure = Figure(figsize=(inches, inches * height / width), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", autoscale_on=False)
    return figure, axes


def _place(
    axes: Axes,
    image: ArrayLike,
    left: float,
    top: float,
    label: str,
    size: float = 1.0,
    frame: str | None = None,
    bold: bool = False,
) -> None:
    """Put a picture on a board with a line of type under it."""
    pixels = _pixels(image)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))  # no color map to go wrong
    gap = 0.025
    right, bottom = left + size - gap, top + size * _aspect(image) - gap
    left, top = left + gap, top + gap
    axes.imshow(pixels, extent=(left, right, bottom, top), aspect="equal")
    if frame:
        box = Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=frame, lw=3)
        axes.add_patch(box)
    axes.text(
        (left + right) / 2,
        bottom + 0.035,
        label,
        parse_math=False,
        fontsize=9,
        color=frame or (INK if bold else GRAY),
        weight="bold" if bold or frame else "normal",
        ha="center",
        va="top",
    )


def _verdict(score: float, rank: int) -> str:
    """Write a rank and a score, such as "#1 · 0.93"."""
    return f"#{int(rank)} · {float(score):.2f}"


def _short(name: str, length: int) -> str:
    """Cut a long name."""
    return name if len(name) <= length else name[: length - 1] + "…"


def _tidy(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Give a plot labels, a light grid and no box."""
    axes.set_xlabel(xlabel, fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=10, color=INK)
    axes.tick_params(labelsize=9, colors=INK)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, entries: Iterable[tuple[Line2D, str]], columns: int) -> None:
    """Put a legend under the plot; names go in verbatim, whatever "$" or "_" they hold."""
    lines, names = zip(*entries, strict=True)
    legend = figure.legend(
        lines,
        [str(place) for place in range(len(lines))],
        loc="outside lower center",
        ncols=min(columns, len(lines)),
        frameon=False,
        fontsize=9,
        handlelength=3.2,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
