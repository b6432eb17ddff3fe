"""Numbers, names and settings as the report writes them, in its sentences and in its tables.

What is None is written as an en dash; the page has no other reason for one.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from mia_jax.evidence.results import Interval

DASH = "\N{EN DASH}"


def percent(rate: float | None, digits: int = 1) -> str:
    """Write a rate in [0, 1] as "62.4%"."""
    return DASH if rate is None else f"{100 * rate:.{digits}f}%"


def rough(rate: float) -> str:
    """Write a rate for a sentence, never rounding to an absolute "0%" or "100%"."""
    hundreds = 100 * rate
    if 0 < hundreds < 1:
        return f"{hundreds:.2g}%"
    return "over 99%" if 99 < hundreds < 100 else f"{hundreds:.0f}%"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with a fixed number of digits; a tiny positive one as "<0.001"."""
    if value is None:
        return DASH
    if 0 < value < 0.5 * 10**-digits:
        return f"<{10**-digits:.{digits}f}"
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval(ends: Interval | None, digits: int = 3, as_percent: bool = False) -> str:
    """Write an interval as "86.3–96.6%" or "0.71–0.79"; nothing where both ends look the same."""
    if ends is None:
        return ""
    low, high = (f"{100 * end:.1f}" if as_percent else number(end, digits) for end in ends)
    return "" if low == high else f"{low}{DASH}{high}{'%' if as_percent else ''}"


def points(value: float) -> str:
    """Write a difference of rates as "+12.5" or "−3.0", in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def points_interval(ends: Interval | None) -> str:
    """Write an interval of a difference of rates as "−3.0 to +28.1"; nothing for None."""
    return "" if ends is None else " to ".join(points(end) for end in ends)


def count(value: float | None) -> str:
    """Write a number with separators, as "1,000,000"."""
    return DASH if value is None else f"{value:,}".removesuffix(".0")


def duration(seconds: float | None) -> str:
    """Write a duration as "12.3 s", "5 min 12 s" or "1 h 03 min"."""
    if seconds is None:
        return DASH
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def position(rate: float) -> str:
    """Write a rate in [0, 1] as a CSS percentage, and nothing but a number."""
    return f"{100 * min(max(float(rate), 0.0), 1.0):.2f}%"


def setting(value: Any) -> str:
    """Write the value of a flag or an option; of a path the last part, which tells no place."""
    if value is None:
        return DASH
    if isinstance(value, str):
        return _last_part(value) or '""'
    if isinstance(value, list | tuple) and all(isinstance(part, str | int) for part in value):
        return ", ".join(_last_part(str(part)) for part in value) or DASH
    return json.dumps(value)


def _last_part(text: str) -> str:
    """Return the name of a file or folder without where it lies; another text as it is."""
    return pathlib.PurePath(text).name if "/" in text else text


def listed(names: Sequence[str], most: int = 8) -> str:
    """Write "a, b and c", cut short where there are many."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def share(part: int, whole: int) -> str:
    """Write "3 of 5 people", "all 5 people" or "none of 5 people"."""
    if whole == 1:
        return "the one person attacked" if part else "nobody"
    if part == whole:
        return f"all {whole} people"
    return f"{part or 'none'} of {whole} people"


def full_sentence(clause: str) -> str:
    """Write a clause as a sentence."""
    return f"{clause[0].upper()}{clause[1:]}."


def photographs(number: int) -> str:
    """Write "1 training photograph" or "8 training photographs"."""
    return f"{count(number)} training photograph{'' if number == 1 else 's'}"
