"""What the report's figures are drawn with: colors, pictures on a board, axes, PNG files.

Every figure is a free-standing `matplotlib.figure.Figure`; pyplot and its global state are not
used. Colors are from Okabe and Ito's palette, which color-blind readers can tell apart, and no
meaning rests on color alone: curves differ in dash or marker too, and labels carry the numbers.
"""

import io
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from PIL import Image

INK = "#222222"
GRAY = "#6b6b6b"
# Okabe-Ito without black (kept for the mean) and yellow (too pale on white).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BLUE, VERMILION, GREEN = PALETTE[:3]
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
TYPE = 0.22  # Height of the line of type under a picture, in picture widths.

_DOTS_PER_INCH = 140


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


def board(width: float, height: float, inches: float) -> tuple[Figure, Axes]:
    """Make one blank axes, in units of a picture's width, y downwards; faster than many axes."""
    figure = Figure(figsize=(inches, inches * height / width), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", autoscale_on=False)
    return figure, axes


def place(
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
    right, bottom = left + size - gap, top + size * aspect(image) - gap
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


def aspect(image: ArrayLike) -> float:
    """Return height / width."""
    height, width = np.shape(image)[:2]
    return height / width


def short(name: str, length: int) -> str:
    """Cut a long name."""
    return name if len(name) <= length else name[: length - 1] + "…"


def tidy(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Give a plot labels, a light grid and no box."""
    axes.set_xlabel(xlabel, fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=10, color=INK)
    axes.tick_params(labelsize=9, colors=INK)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def legend(figure: Figure, entries: Iterable[tuple[Line2D, str]], columns: int) -> None:
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


def _pixels(image: ArrayLike) -> np.ndarray:
    """Return [height, width, 1 or 3] uint8 for an image in [0, 1]."""
    values = np.asarray(image, float)
    if values.ndim != 3 or values.shape[-1] not in (1, 3):
        raise ValueError(f"image must be [height, width, 1 or 3], got {values.shape}.")
    return np.round(255 * np.clip(np.nan_to_num(values, nan=0.0), 0, 1)).astype(np.uint8)
