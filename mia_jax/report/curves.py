"""The report's curves: recognition by rank, training, and the descent of the attack.

Pure functions from arrays to matplotlib figures, next to `portraits`, for the page of `page`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import ArrayLike

from mia_jax.report import primitives
from mia_jax.report.primitives import BLUE, GRAY, GREEN, INK, MARKERS, PALETTE, VERMILION

_NAMED_CURVES = 14  # Beyond this a legend of names is larger than the plot.
_COLUMNS = 3  # Recognizers or people side by side.
_LOG_RANKS = 60  # Beyond this the interesting first ranks would be squeezed into the margin.


def cmc_curves(
    people: Mapping[str, ArrayLike],
    mean: ArrayLike,
    seeds: ArrayLike,
    mean_face: ArrayLike,
    others: ArrayLike | None,
    ceiling: ArrayLike,
) -> Figure:
    """Draw cumulative matching characteristic curves (Fig. 11) with what they stand against.

    Args:
        people: For each person's name, [ranks]: the share of clones, in [0, 1], for which a judge
            puts the person among its first k, for k = 1 .. ranks.
        mean: [ranks], the mean over the people.
        seeds: [ranks], the same for seeds that were not attacked.
        mean_face: [ranks], the same for the mean of the auxiliary faces.
        others: [ranks], the same for clones aimed at other people; None where only one was
            attacked.
        ceiling: [ranks], the same for real held-out photographs.

    Returns:
        The figure; the ranks are on a logarithmic axis where there are many. The thin gray line is
        chance, k / ranks.

    Raises:
        ValueError: If the curves differ in length, or are not vectors.
    """
    ranks = len(np.atleast_1d(np.asarray(mean)))
    yardsticks: dict[str, tuple[ArrayLike | None, dict[str, Any]]] = {
        "mean": (mean, {"color": "black", "linewidth": 2.6}),
        "real photographs": (ceiling, {"color": "black", "linewidth": 1.4, "linestyle": "-."}),
        "seeds, not attacked": (seeds, {"color": GRAY, "linewidth": 1.6, "linestyle": "--"}),
        "mean face": (mean_face, {"color": GRAY, "linewidth": 1.6, "linestyle": (0, (6, 2, 1, 2))}),
        "chance": (np.arange(1, ranks + 1) / ranks, {"color": "#9a9a9a", "linewidth": 0.8}),
        "clones of others": (others, {"color": GRAY, "linewidth": 1.8, "linestyle": ":"}),
    }
    drawn = {name: row[0] for name, row in yardsticks.items() if row[0] is not None}
    for name, curve in [*people.items(), *drawn.items()]:
        if np.shape(curve) != (ranks,):
            raise ValueError(f"the curve of {name!r} must be [{ranks}], got {np.shape(curve)}.")

    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.add_subplot()
    x = np.arange(1, ranks + 1)
    entries = _people_curves(axes, people)
    for name, values in drawn.items():
        (line,) = axes.plot(x, values, **yardsticks[name][1])
        entries.append((line, name))
    primitives.tidy(axes, "rank k", "person among the first k")
    axes.set_ylim(-0.02, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _rank_axis(axes, ranks)
    primitives.legend(figure, entries, columns=4)
    return figure


def _people_curves(axes: Axes, people: Mapping[str, ArrayLike]) -> list[tuple[Line2D, str]]:
    """Draw a curve for each person, and return what stands in the legend."""
    many = len(people) > _NAMED_CURVES
    entries: list[tuple[Line2D, str]] = []
    for place, (name, curve) in enumerate(people.items()):
        values = np.asarray(curve, float)
        (line,) = axes.plot(
            np.arange(1, len(values) + 1),
            values,
            color="#b5b5b5" if many else PALETTE[place % len(PALETTE)],
            marker=None if many else MARKERS[place % len(MARKERS)],
            markersize=4.5,
            markevery=max(1, len(values) // 20),
            linewidth=1.0 if many else 1.5,
        )
        if not many:
            entries.append((line, primitives.short(name, 24)))
        elif not entries:
            entries.append((line, "each person"))
    return entries


def _rank_axis(axes: Axes, ranks: int) -> None:
    """Give the axis of ranks its ticks: logarithmic where there are many."""
    if ranks > _LOG_RANKS:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rank, _: f"{rank:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(14, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(1 if ranks > _LOG_RANKS else 0.7, max(ranks * 1.02, 1.3))


def training_curves(histories: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """Draw the training of the recognizers: loss above, validation accuracy below.

    Args:
        histories: For each recognizer's name, vectors of one length: `step`, `training_loss`,
            `validation_loss`, `validation_accuracy` (in [0, 1]). NaN where nothing was measured at
            a step. Recognizers may differ in length.

    Returns:
        The figure, one column for each recognizer; more than three go on below.

    Raises:
        ValueError: If `histories` is empty, or a vector is not as long as its `step`.
    """
    if not histories:
        raise ValueError("histories must hold at least one recognizer, got none.")
    columns = min(len(histories), _COLUMNS)
    rows = 2 * -(-len(histories) // columns)
    figure = Figure(figsize=(4.5 * columns, 2.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey="row")
    entries: dict[str, Line2D] = {}
    for place, (name, history) in enumerate(histories.items()):
        row, column = 2 * (place // columns), place % columns
        above, below = grid[row, column], grid[row + 1, column]
        above.sharex(below)
        _history(above, name, history, "training_loss", BLUE, "-", entries)
        _history(above, name, history, "validation_loss", VERMILION, "--", entries)
        _history(below, name, history, "validation_accuracy", GREEN, "-", entries)
        above.set_title(primitives.short(name, 40), parse_math=False, fontsize=11, color=INK)
        primitives.tidy(above, "", "" if column else "loss")
        primitives.tidy(below, "training step", "" if column else "validation accuracy")
        below.set_ylim(-0.02, 1.03)
        below.yaxis.set_major_formatter(PercentFormatter(1.0))
        below.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for place in range(len(histories), rows // 2 * columns):
        for axes in grid[2 * (place // columns) :][:2, place % columns]:
            axes.set_axis_off()
    primitives.legend(figure, [(line, label) for label, line in entries.items()], columns=3)
    return figure


def _history(
    axes: Axes,
    name: str,
    history: Mapping[str, ArrayLike],
    key: str,
    color: str,
    dash: str,
    entries: dict[str, Line2D],
) -> None:
    """Draw one measure of a recognizer's training, and enter it in the legend once."""
    step, values = np.asarray(history["step"], float), np.asarray(history[key], float)
    if values.shape != step.shape:
        raise ValueError(
            f"{key} of {name!r} must be as long as its step, {step.shape}, got {values.shape}."
        )
    kept = np.isfinite(values)  # Without its NaNs a sparsely measured curve stays connected.
    marker = "o" if key != "training_loss" and kept.sum() <= 40 else None
    (line,) = axes.plot(
        step[kept],
        values[kept],
        color=color,
        linestyle=dash,
        marker=marker,
        linewidth=1.6,
        markersize=3,
    )
    entries.setdefault(key.replace("_", " "), line)


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
    columns = min(_COLUMNS, len(traces))
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
        axes.set_title(
            primitives.short(name, 28), parse_math=False, fontsize=10, color=INK, loc="left"
        )
        primitives.tidy(axes, "", "")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    for axes in grid.flat[len(traces) :]:
        axes.set_axis_off()
    # The lowest panel of each column carries the ticks; a column may end a row early.
    for axes in grid.flat[max(0, len(traces) - columns) : len(traces)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("iteration", fontsize=10, color=INK)
    figure.supylabel("attack loss", fontsize=10, color=INK)
    return figure
