"""An evaluation made up for the tests of what is stored and printed: three people, one judge."""

import dataclasses
import itertools

from mia_jax.evidence import results
from mia_jax.evidence.verdict import conclude
from mia_jax.recognizer import RecognizerFacts, training

RATES = ("rank1", "rank5", "rank10", "cmc_area", "mean_score", "mean_target_score")


def measure(value, spread=0.05):
    return results.Measure(value, (max(0.0, value - spread), min(1.0, value + spread)))


def rates(rank1, classes=14, **changes):
    """Rates that all follow from one, so that each number is another."""
    found = results.Rates(
        rank1=measure(rank1),
        rank5=measure(0.25 + 0.7 * rank1),
        rank10=measure(0.5 + 0.48 * rank1),
        cmc_area=measure(0.41 + 0.53 * rank1),
        mean_score=measure(0.03 + 0.83 * rank1),
        mean_target_score=measure(0.9 + 0.07 * rank1),
        psnr=results.Measure(13.37 + rank1, (13.0, 16.0)),
        ssim=results.Measure(0.318 + 0.1 * rank1, None),
        feature_distance=results.Measure(7.194 + rank1, (7.0, 9.0)),
        median_rank=1.0 if rank1 > 0.5 else 4.5,
        set_rank=1.0 if rank1 > 0.5 else 3.0,
        found=None,
        cmc=tuple(rank1 + (1 - rank1) * k / (classes - 1) for k in range(classes)),
    )
    return dataclasses.replace(found, **changes)


def set_rates(rank1, classes=14):
    cmc = tuple(rank1 + (1 - rank1) * k / (classes - 1) for k in range(classes))
    return results.SetRates(measure(rank1), 1.0 if rank1 > 0.5 else 6.0, cmc)


def set_measures(precision, **changes):
    found = results.SetMeasures(
        precision=precision,
        recall=0.31 * precision,
        density=1.7 * precision,
        coverage=0.5 * precision,
        diversity=3.21,
        nearest_own=6.5 - precision,
        nearest_stranger=6.02,
        own_is_nearer=0.43 * precision,
    )
    return dataclasses.replace(found, **changes)


def set_comparison(precision, others=True):
    return results.SetComparison(
        clones=set_measures(precision),
        seeds=set_measures(0.04),
        others=set_measures(0.07) if others else None,
        photographs=set_measures(0.9, recall=None),
    )


def acceptance(rate, clones):
    accepted = (clones, 0.9 * clones, 0.01, 0.02, 0.03, 0.88)
    return results.Acceptance(rate, 0.74, 0.71, *(measure(each) for each in accepted))


def controls(seeds=0.06, mean_face=0.0, others=0.013):
    other_rates = None if others is None else rates(others)
    return results.Controls(rates(seeds), rates(mean_face), other_rates)


def person(rank1, exposure_rank, **changes):
    return results.PersonFigures(
        clones=rates(rank1),
        controls=controls(**changes),
        photographs=rates(0.957),
        best=results.Pick(17, 0.9812, 1, 0.9954),
        attacker_pick=results.Pick(42, 0.4321, 1 if rank1 > 0.5 else 6, 0.9987),
        exposure_rank=exposure_rank,
        set_score=0.77,
        set_measures=set_comparison(0.8 * rank1),
    )


def judgement(low=0.31, middle=0.62, high=0.93, **changes):
    """What a judge says of three people, the least exposed first."""
    found = results.Judgement(
        shares=("architecture", "people", "photographs", "training views"),
        classes=14,
        chance=results.Chance(1 / 14, 5 / 14, 10 / 14),
        people={"s7": person(low, 3), "s3": person(middle, 2), "s12": person(high, 1)},
        mean=rates((low + middle + high) / 3),
        controls=controls(0.071, 0.2, 0.017),
        ceiling=rates(0.957),
        ceiling_photographs=70,
        sets=results.Sets(set_rates(0.83), set_rates(0.09), set_rates(0.0), set_rates(1.0)),
        stranger_pairs=15600,
        verification=(acceptance(0.01, 0.41), acceptance(0.001, 0.23)),
        robustness={
            "none": results.Disturbed(measure(0.6), measure(0.95)),
            "blur": results.Disturbed(measure(0.2), measure(0.94)),
        },
        adversariality=6.54,
        mean_set_measures=set_comparison(0.456),
        frechet=results.FrechetDistances(12.3, 45.6, 7.8),
    )
    return dataclasses.replace(found, **changes)


NOBODY_ASKED = "no independent judge was asked"
LEAK = results.SmallestLeak(0.4, 0.71, 1.0)
REACHED = results.OnTarget(0.95, 0.9, 0.987, 0.976)


def verdict(
    level="inconclusive",
    p_value=None,
    named_by=(),
    reasons=None,
    on_target=REACHED,
    leak=LEAK,
):
    """A person's verdict; without a p-value no independent judge was asked."""
    if reasons is None:
        reasons = (NOBODY_ASKED,) if level == "inconclusive" else ()
    parts = (None, None) if p_value is None else (p_value, 0.0041)
    leak = None if p_value is None else leak
    return results.Verdict(level, reasons, *parts, named_by, on_target, leak)


def identified(p_value=0.0123):
    return verdict("identified", p_value)


def recognizer(role, classes, accuracy):
    return RecognizerFacts(
        role=role,
        classes=classes,
        image_shape=(128, 128, 1),
        epochs=40,
        training_photographs=154,
        validation_photographs=22,
        test_photographs=66,
        validation_accuracy=1.0,
        test_accuracy=accuracy,
        test_accuracy_interval=(accuracy - 0.09, accuracy + 0.02),
        settings=training.Settings(),
        digest="0" * 64,
    )


def evaluation(*judgements, **changes):
    """An evaluation by the judges "evaluator", "evaluator 1", and so on."""
    judges = {
        f"evaluator {place}" if place else "evaluator": found
        for place, found in enumerate(judgements or [judgement()])
    }
    names = list(next(iter(judges.values())).people)
    verdicts = changes.pop("verdict", {name: verdict(named_by=("evaluator",)) for name in names})
    overall = changes.pop("overall", None)
    found = results.Evaluation(
        judges=judges,
        verdict=verdicts,
        conclusion=conclude(
            verdicts.values(),
            overall,
            overall,
            overall and dataclasses.replace(LEAK, set_rank1=0.23),
        ),
        agreement=tuple(
            results.Agreement(first, second, 0.4, 0.3, 0.2, 0.1)
            for first, second in itertools.combinations(judges, 2)
        ),
        diverged=changes.pop("diverged", False),
        people={name: results.PersonFacts(8, 131, None) for name in names},
        recognizers={
            "target": recognizer("target", 22, 0.954),
            **{name: recognizer(name, 14, 0.971) for name in judges},
        },
        attack=results.AttackFacts(
            name="paper",
            arguments={"rate": 10.0, "loss": "infomax", "stop_score": None},
            restarts=100,
            random_seed=3,
            gradients_per_iteration=1,
            iterations=2000,
        ),
        cost=results.Cost(600000, 2000.0, "TPU v4"),
        dataset=results.DatasetFacts("orl", "AT&T", 40, 400, (128, 128, 1), 9, 90),
        provenance=results.Provenance(
            versions={"jax": "0.6.2"},
            commit="3f9a1c0d9e2b47aa01c2",
            clean=True,
            flags={"restarts": 100, "targets": ["s7", "s3"], "tolerance": 0.25, "jitter": False},
        ),
    )
    return dataclasses.replace(found, **changes)
