"""The report: one self-contained HTML page from an evaluation and its figures.

`render` fills `templates/report.html`. The page needs no network and runs no script: pictures are
data URIs, the style sheet is embedded, and everything that comes from data is escaped.
"""

import base64
import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jinja2

DASH = "\N{EN DASH}"
PORTRAYED = 20  # People whose clones are shown: those of thousands would be of use to nobody.
PICTURES = ("seed", "cmc", "best_clones", "training_curves", "loss_traces")

# Below this share of real photographs named right, an evaluator cannot clear a model of leaking.
_WEAK_EVALUATOR = 0.5

Evaluation = Mapping[str, Any]


class _Person(NamedTuple):
    """One attacked person, as the page shows them.

    Attributes:
        name: The person's name.
        picture: The name of the picture of the person's clones.
        figures: The person's part of the evaluation.
        stands_out: Whether the clones are named right more often than chance and both controls
            explain; None where the evaluation cannot tell.
    """

    name: str
    picture: str
    figures: Mapping[str, Any]
    stands_out: bool | None


class _Verdict(NamedTuple):
    """The result in a few words, and "all", "some", "none" or "unknown" for the page's style."""

    level: str
    title: str


def render(evaluation: Evaluation, pictures: Mapping[str, bytes]) -> str:
    """Build the report.

    Args:
        evaluation: What `evaluation.json` holds: "identities" (not empty), "mean" and "ceiling",
            and, where known, "chance", "classes", "restarts", "held_out_accuracy", "recipe",
            "cost", "seconds", "versions", "commit", "flags" and "dataset". An absent, null or NaN
            number is printed as an en dash.
        pictures: PNG files by name: those in `PICTURES`, and "clones_<i>" for the i-th of
            `evaluation["identities"]`, from 0, of the `PORTRAYED` most exposed.

    Returns:
        The HTML text of the page.

    Raises:
        ValueError: If a required part of the evaluation or a picture is missing.
    """
    people = _people(evaluation)
    missing = [
        name
        for name in (*PICTURES, *(person.picture for person in people[:PORTRAYED]))
        if name not in pictures
    ]
    if missing:
        raise ValueError(f"pictures lacks {', '.join(sorted(missing))}; got {sorted(pictures)}.")
    return _template().render(
        evaluation=evaluation,
        people=people,
        portrayed=people[:PORTRAYED],
        pictures={name: _data_uri(data) for name, data in pictures.items()},
        classes=_classes(evaluation),
        clones=_clones(evaluation),
        summary=summary(evaluation),
        verdict=_verdict(evaluation),
        exposed=sum(person.stands_out is True for person in people),
        dash=DASH,
    )


def summary(evaluation: Evaluation) -> list[str]:
    """Say in plain language what the evaluation shows, and what it does not.

    A person counts as rebuilt only if the whole confidence interval of the rank-1 rate lies above
    chance and above the intervals of both controls (un-attacked seeds, clones aimed at others).

    Args:
        evaluation: As for `render`.

    Returns:
        Sentences in reading order, as plain text (not escaped), the result first.

    Raises:
        ValueError: If a required part of the evaluation is missing.
    """
    people = _people(evaluation)
    return [
        sentence
        for sentence in (
            _headline(people, weak=_weak(evaluation)),
            _overall(evaluation),
            _controls(evaluation),
            _yardstick(evaluation),
            _extremes(people),
            _without_evaluator(people),
            "Being named by a machine is not the same as being recognized by a human: no human "
            "was asked here, so look at the pictures below and judge for yourself.",
        )
        if sentence
    ]


@functools.cache
def _template() -> jinja2.Template:
    """Compile the page's template."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mia_jax.report"),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # an absent number reaches its filter: an en dash
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": _count,
        "duration": _duration,
        "interval": _interval,
        "number": _number,
        "percent": _percent,
        "position": _position,
        "setting": _setting,
    }
    return environment.get_template("report.html")


def _headline(people: Sequence[_Person], weak: bool) -> str:
    """Say for how many people the model is shown to leak."""
    known = [person for person in people if person.stands_out is not None]
    exposed = [person.name for person in known if person.stands_out]
    if not known:
        return (
            "The evaluation holds no confidence intervals, so it cannot tell whether the clones "
            "resemble anyone more than chance would have it."
        )
    sentence = (
        f"From the model alone, the attack rebuilt {_share(len(exposed), len(known))} well enough "
        "that an independent recognizer, which never saw the target model, names the right person "
        "first clearly more often than chance and the controls explain"
    )
    sentence += f": {_listed(exposed)}." if exposed else "."
    if not exposed and not weak:
        sentence += (
            " This shows no leak under this attack and these settings; it does not prove the model "
            "safe, since a stronger attack may find what this one missed."
        )
    unknown = [person.name for person in people if person.stands_out is None]
    if unknown:
        sentence += f" Nothing is claimed for {_listed(unknown)}: confidence intervals are missing."
    return sentence


def _overall(evaluation: Evaluation) -> str:
    """Give the mean rate and chance."""
    rate = evaluation["mean"].get("rank1")
    if _absent(rate):
        return ""
    clones, classes = _clones(evaluation), _classes(evaluation)
    over = f"Over all {_count(clones)} clones" if clones else "Over all clones"
    chance = f"; chance is 1/{classes} = {_rough(1 / classes)}" if classes else ""
    return f"{over}, that recognizer names the right person first for {_rough(rate)}{chance}."


def _controls(evaluation: Evaluation) -> str:
    """Give the rates that are reached without any leak."""
    seed = _within(evaluation, "mean", "null", "seed", "rank1")
    others = _within(evaluation, "mean", "null", "others", "rank1")
    if _absent(seed) or _absent(others):
        return ""
    return (
        f"Two controls show what is reached without a leak: starting images that were never "
        f"attacked are named as the person in question {_rough(seed)} of the time, clones aimed at "
        f"somebody else {_rough(others)}."
    )


def _yardstick(evaluation: Evaluation) -> str:
    """Compare with real photographs."""
    rate = evaluation["ceiling"].get("rank1")
    if _absent(rate):
        return ""
    photographs = evaluation["ceiling"].get("photographs")
    number = "" if _absent(photographs) else f"{_count(photographs)} "
    sentence = (
        f"The yardstick: on {number}real photographs held out from training, the same recognizer "
        f"names the right person first for {_rough(rate)}."
    )
    mean = evaluation["mean"].get("rank1")
    if _weak(evaluation):
        sentence += " That recognizer is weak, so low rates here may hide a leak."
    elif not _absent(mean) and mean > rate:
        sentence += (
            " Clones can score above photographs because the attack seeks out what recognizers "
            "look for; that does not make them better likenesses."
        )
    return sentence


def _extremes(people: Sequence[_Person]) -> str:
    """Name the most and the least exposed person."""
    first, last = people[0], people[-1]
    if _absent(first.figures.get("rank1")):
        return ""
    if not first.stands_out:
        return (
            f"The highest rate is that of {first.name}, {_rough(first.figures['rank1'])}, which is "
            "not shown to exceed chance and the controls."
        )
    sentence = f"Most exposed: {_described(first)}"
    if len(people) > 1 and not _absent(last.figures.get("rank1")):
        sentence += f"; least exposed: {_described(last)}"
    return sentence + "."


def _described(person: _Person) -> str:
    """Give a person's rate, its interval and the number of training photographs."""
    figures = person.figures
    facts = [f"{_rough(figures['rank1'])} of the clones named right first"]
    if not _absent(figures.get("rank1_interval")):
        facts.append(f"95% interval {_interval(figures['rank1_interval'], percent=True)}")
    photographs = figures.get("training_photographs")
    if not _absent(photographs):
        plural = "" if photographs == 1 else "s"
        facts.append(f"{_count(photographs)} training photograph{plural}")
    return f"{person.name} ({', '.join(facts)})"


def _without_evaluator(people: Sequence[_Person]) -> str:
    """Say how the clones fare that a real attacker would choose."""
    ranks = [person.figures.get("attacker_pick_rank") for person in people]
    if any(map(_absent, ranks)):
        return ""
    right = sum(rank == 1 for rank in ranks)
    return (
        "A real attacker has no evaluator to find the best clone with. Picking one clone each by "
        f"the target model alone, the attacker's choice is named right first for "
        f"{_share(right, len(people))}."
    )


def _verdict(evaluation: Evaluation) -> _Verdict:
    """Sum the result up in one line."""
    people = _people(evaluation)
    known = [person for person in people if person.stands_out is not None]
    exposed = sum(bool(person.stands_out) for person in known)
    if not known:
        return _Verdict("unknown", "Inconclusive: no confidence intervals")
    if exposed == len(people):
        return _Verdict("all", f"A leak is measured for {_share(exposed, exposed)}")
    if exposed:
        return _Verdict("some", f"A leak is measured for {_share(exposed, len(people))}")
    if _weak(evaluation):
        return _Verdict("unknown", "Inconclusive: the evaluator is weak on real photographs")
    everyone = "the person" if len(known) == 1 else f"any of the {len(known)} people"
    return _Verdict("none", f"No leak is shown for {everyone} attacked")


def _people(evaluation: Evaluation) -> list[_Person]:
    """Check the evaluation and list the attacked people, most exposed first."""
    for part in ("identities", "mean", "ceiling"):
        if not evaluation.get(part):
            raise ValueError(f"evaluation lacks {part!r}; got {sorted(evaluation)}.")
    classes = _classes(evaluation)
    chance = 1 / classes if classes else None
    people = [
        _Person(name, f"clones_{place}", figures, _stands_out(figures, chance))
        for place, (name, figures) in enumerate(evaluation["identities"].items())
    ]

    def exposure(person: _Person) -> tuple[float, float]:
        rank: Any = person.figures.get("exposure_rank")
        rate: Any = person.figures.get("rank1")
        return math.inf if _absent(rank) else rank, 0.0 if _absent(rate) else -rate

    return sorted(people, key=exposure)


def _stands_out(figures: Mapping[str, Any], chance: float | None) -> bool | None:
    """Tell whether the rank-1 interval is above chance and the controls' intervals, if known."""
    low, _ = _ends(figures.get("rank1_interval"))
    bars = [
        chance,
        _ends(_within(figures, "null", "seed", "rank1_interval"))[1],
        _ends(_within(figures, "null", "others", "rank1_interval"))[1],
    ]
    if low is None or any(bar is None for bar in bars):
        return None
    return all(low > bar for bar in bars if bar is not None)


def _weak(evaluation: Evaluation) -> bool:
    """Tell whether the evaluator fails on most real photographs."""
    rate = evaluation["ceiling"].get("rank1")
    return not _absent(rate) and rate < _WEAK_EVALUATOR


def _classes(evaluation: Evaluation) -> int | None:
    """Return the number of people that the evaluator chooses among."""
    number = _within(evaluation, "classes", "evaluator")
    return number if number else len(evaluation["mean"].get("cmc") or ()) or None


def _clones(evaluation: Evaluation) -> int | None:
    """Return the number of clones in all."""
    restarts: Any = evaluation.get("restarts")
    return None if _absent(restarts) else restarts * len(evaluation["identities"])


def _within(mapping: Mapping[str, Any], *path: str) -> Any:
    """Follow keys down nested mappings; None where one is absent or null."""
    value: Any = mapping
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _absent(value: Any) -> bool:
    """Tell whether there is no value to print."""
    if value is None or isinstance(value, jinja2.Undefined):
        return True
    return isinstance(value, float) and not math.isfinite(value)


def _ends(interval: Any) -> tuple[float, float] | tuple[None, None]:
    """Return the ends of an interval, or a pair of None."""
    if _absent(interval) or any(map(_absent, interval)):
        return None, None
    low, high = interval
    return low, high


def _percent(rate: Any, digits: int = 1) -> str:
    """Write a rate in [0, 1] as "62.4%"."""
    return DASH if _absent(rate) else f"{100 * rate:.{digits}f}%"


def _rough(rate: float) -> str:
    """Write a rate for a sentence, never rounding to an absolute "0%" or "100%"."""
    percent = 100 * rate
    if 0 < percent < 1:
        return f"{percent:.2g}%"
    return "over 99%" if 99 < percent < 100 else f"{percent:.0f}%"


def _number(value: Any, digits: int = 3) -> str:
    """Write a number with a fixed number of digits; a tiny positive one as "<0.001"."""
    if _absent(value):
        return DASH
    if 0 < value < 0.5 * 10**-digits:
        return f"<{10**-digits:.{digits}f}"
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _interval(interval: Any, digits: int = 3, percent: bool = False) -> str:
    """Write an interval as "86.3–96.6%" or "0.71–0.79"."""
    low, high = _ends(interval)
    if low is None or high is None:
        return DASH
    if percent:
        return f"{100 * low:.1f}{DASH}{100 * high:.1f}%"
    return f"{_number(low, digits)}{DASH}{_number(high, digits)}"


def _count(value: Any) -> str:
    """Write a whole number with separators, as "1,000,000"; a half if it is a median."""
    return DASH if _absent(value) else f"{value:,}".removesuffix(".0")


def _duration(seconds: Any) -> str:
    """Write a duration as "12.3 s", "5 min 12 s" or "1 h 03 min"."""
    if _absent(seconds):
        return DASH
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def _position(rate: Any) -> str:
    """Write a rate in [0, 1] as a CSS percentage, and nothing but a number."""
    return f"{100 * min(max(float(rate), 0.0), 1.0):.2f}%"


def _setting(value: Any) -> str:
    """Write the value of a flag or an option."""
    if _absent(value):
        return DASH
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, list | tuple) and all(isinstance(part, str | int) for part in value):
        return ", ".join(map(str, value)) or DASH
    return json.dumps(value, default=str)


def _listed(names: Sequence[str], most: int = 8) -> str:
    """Write "a, b and c", cut short where there are many."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _share(part: int, number: int) -> str:
    """Write "3 of 5 people", "all 5 people" or "none of 5 people"."""
    if number == 1:
        return "the one person attacked" if part else "nobody"
    if part == number:
        return f"all {number} people"
    return f"{part or 'none'} of {number} people"


def _data_uri(data: bytes) -> str:
    """Embed a PNG file."""
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
