"""The report: one self-contained HTML page from an evaluation and its pictures.

The end of the story. `render` fills `templates/report.html`. The page needs no network and runs no
script: pictures are data URIs, the style sheet is embedded, and everything that comes from data is
escaped. It reads the attributes of the results' dataclasses, and a misspelled one is an error.
"""

import base64
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jinja2

from mia_jax.evidence import results
from mia_jax.evidence.game import Games
from mia_jax.evidence.results import (
    Evaluation,
    Judgement,
    Measure,
    PersonFacts,
    PersonFigures,
    Verdict,
)
from mia_jax.evidence.study import Study
from mia_jax.evidence.successful_attacks import SuccessfulAttacks
from mia_jax.evidence.verdict import stands_out
from mia_jax.report import asked as counted
from mia_jax.report import formats, game, sentences, verdicts
from mia_jax.report import study as observed
from mia_jax.report import successful_attacks as accepted
from mia_jax.runtime.ledger import Asked

PORTRAYED = 20  # People whose clones are shown: those of thousands would be of use to nobody.
END = 3  # So many of many people at either end have portraits.
_PICTURES = ("seed", "best_clones", "loss_traces")
_TRAINING = "training_curves"  # Where a recognizer was trained here.


class _Person(NamedTuple):
    """One attacked person, as the page shows them.

    Attributes:
        name: The person's name.
        picture: The name of the picture of the person's clones.
        facts: What is known of the person without a judge.
        figures: How the judge sees the person's clones.
        stands_out: Whether the judge names the clones right more often than chance and the controls
            explain.
        verdict: What all judges' words come to.
        level: Its level in words.
        remarks: What explains it.
    """

    name: str
    picture: str
    facts: PersonFacts
    figures: PersonFigures
    stands_out: bool
    verdict: Verdict
    level: str
    remarks: list[str]


class _Judge(NamedTuple):
    """One judge, as the page shows it.

    Attributes:
        name: The judge's name.
        picture: The name of the picture of its curves.
        judgement: What it says.
        people: The attacked people, most exposed first.
    """

    name: str
    picture: str
    judgement: Judgement
    people: list[_Person]


def picture_names(evaluation: Evaluation) -> list[str]:
    """List the pictures that the report of an evaluation needs.

    Args:
        evaluation: The evaluation.

    Returns:
        "seed", "best_clones", "loss_traces"; "training_curves", if a recognizer was trained here;
        "cmc_<j>" for the j-th judge, from 0; "clones_<i>" for the i-th of `evaluation.people`, from
        0, of the `PORTRAYED` most exposed by the first judge.
    """
    judges = _judges(evaluation)
    return [
        *_PICTURES,
        *([_TRAINING] if _trained(evaluation) else []),
        *(judge.picture for judge in judges),
        *(person.picture for person in judges[0].people[:PORTRAYED]),
    ]


def _trained(evaluation: Evaluation) -> bool:
    """Tells whether a recognizer was trained here, so that there are training curves."""
    return any(facts.settings is not None for facts in evaluation.recognizers.values())


def render(
    evaluation: Evaluation,
    seconds: Mapping[str, float],
    pictures: Mapping[str, bytes],
    games: Games | None = None,
    study: Study | None = None,
    successes: SuccessfulAttacks | None = None,
    asked: Asked | None = None,
) -> str:
    """Build the report.

    Args:
        evaluation: The evaluation, of one person and one judge at least.
        seconds: How long the stages took: "attack", "evaluate" and, for each recognizer,
            "train_<role>"; an en dash stands for one that is not there.
        pictures: PNG files by name: those of `picture_names`.
        games: The leakage game; None if it was not played.
        study: What observers answered; None if nobody was asked.
        successes: How many clones systems accept as their person; None of a classifier.
        asked: How often a target was asked that may only be asked; None of another one.

    Returns:
        The HTML text of the page.

    Raises:
        ValueError: If a picture is missing.
    """
    missing = [name for name in picture_names(evaluation) if name not in pictures]
    if missing:
        raise ValueError(f"pictures lacks {', '.join(sorted(missing))}; got {sorted(pictures)}.")
    judges = _judges(evaluation)
    template = environment().get_template("report.html")
    return template.render(
        evaluation=evaluation,
        elsewhere=next(iter(evaluation.recognizers.values())).settings is None,
        judges=judges,
        lead=judges[0].judgement,
        people=judges[0].people,
        portrayed=judges[0].people[:PORTRAYED],
        end=END,
        clones=evaluation.attack.restarts * len(evaluation.people),
        distances={
            name: _distances([each.people.get(name) for each in evaluation.judges.values()])
            for name in evaluation.people
        },
        mean_distances=_distances(list(evaluation.judges.values())),
        seconds=seconds,
        pictures={name: data_uri(data) for name, data in pictures.items()},
        summary=sentences.summary(evaluation, study),
        headline=verdicts.headline(evaluation),
        asked=verdicts.independent(evaluation),
        identified=verdicts.people_at(evaluation, results.IDENTIFIED),
        narrowed_down=verdicts.people_at(evaluation, results.NARROWED_DOWN),
        sharing={judge.name: sentences.sharing(judge.name, judge.judgement) for judge in judges},
        dash=formats.DASH,
        games=games,
        success_sentences=accepted.sentences(successes) if successes else [],
        success_rows=accepted.rows(successes) if successes else [],
        asked_sentence=counted.sentence(asked) if asked else "",
        game_sentences=game.sentences(games) if games else [],
        readings=game.READINGS_IN_WORDS,
        study=study,
        study_sentences=observed.sentences(study) if study else [],
        observers=observed.observers(study) if study else "",
    )


@functools.cache
def environment() -> jinja2.Environment:
    """Set up the pages' templates: what comes from data is escaped, a missing value an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("mia_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": formats.count,
        "duration": formats.duration,
        "interval": formats.interval,
        "number": formats.number,
        "percent": formats.percent,
        "points": formats.points,
        "points_interval": formats.points_interval,
        "photographs": formats.photographs,
        "position": formats.position,
        "setting": formats.setting,
    }
    return made


def _distances(
    figures: Sequence[PersonFigures | Judgement | None],
) -> dict[str, list[Measure | None]]:
    """Collect every judge's feature distances by kind of image; None where a judge says nothing."""

    def of(kind: str) -> list[Measure | None]:
        found: list[Measure | None] = []
        for each in figures:
            group = each and getattr(each.controls, kind)
            found.append(group.feature_distance if group else None)
        return found

    clones = [
        each.mean if isinstance(each, Judgement) else each and each.clones for each in figures
    ]
    return {
        "clones": [group.feature_distance if group else None for group in clones],
        **{kind: of(kind) for kind in ("seeds", "mean_face", "others")},
    }


def _judges(evaluation: Evaluation) -> list[_Judge]:
    """Arrange the judges, and for each the people by exposure."""
    places = {name: place for place, name in enumerate(evaluation.people)}

    def person(name: str, judgement: Judgement) -> _Person:
        figures = judgement.people[name]
        return _Person(
            name=name,
            picture=f"clones_{places[name]}",
            facts=evaluation.people[name],
            figures=figures,
            stands_out=stands_out(figures, judgement.chance.rank1),
            verdict=evaluation.verdict[name],
            level=verdicts.LEVELS[evaluation.verdict[name].level],
            remarks=verdicts.remarks(evaluation, name),
        )

    return [
        _Judge(
            name=name,
            picture=f"cmc_{place}",
            judgement=judgement,
            people=[person(each, judgement) for each in verdicts.by_exposure(judgement)],
        )
        for place, (name, judgement) in enumerate(evaluation.judges.items())
    ]


def data_uri(data: bytes) -> str:
    """Embed a PNG file."""
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
