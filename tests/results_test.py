"""Tests of the stored results: what goes into `evaluation.json` comes back, and nothing else."""

import dataclasses
import json
import math

import judged
import pytest

from mia_jax.evidence import results
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError


def paths_of(tree, path=()):
    """The paths of all keys of nested dictionaries."""
    for key, value in tree.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from paths_of(value, (*path, key))


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


# Keys that are names of people, judges, arguments, packages or flags, and no fields.
NAMES = {"s7", "s3", "s12", "evaluator", "target", "rate", "loss", "stop_score", "jax"}
NAMES |= {"none", "blur", "restarts", "targets", "tolerance", "jitter"}
FIELDS = [
    path
    for path in paths_of(records.to_json(judged.evaluation()))
    if path[-1] not in NAMES or (path[0] == "attack" and len(path) == 2)
]


def test_an_evaluation_comes_back_from_its_file(tmp_path):
    for found in (
        judged.evaluation(),
        judged.evaluation(judged.judgement(), judged.judgement(0.1, 0.2, 0.3)),
        judged.evaluation(
            provenance=results.Provenance({}, None, None, {}),
            people={name: results.PersonFacts(1, None, None) for name in ("s7", "s3", "s12")},
        ),
        judged.evaluation(judged.judgement(controls=judged.controls(others=None))),
    ):
        records.write(tmp_path / "evaluation.json", found)
        assert records.read(tmp_path / "evaluation.json", results.Evaluation) == found


def test_no_seconds_are_stored():
    assert not [path for path in FIELDS if "second" in path[-1]]


@pytest.mark.parametrize("change", ["missing", "misspelled"])
def test_every_field_is_needed_under_its_name(change):
    assert len(FIELDS) > 200
    for path in FIELDS:
        data = records.to_json(judged.evaluation())
        parent = at(data, path[:-1])
        value = parent.pop(path[-1])
        if change == "misspelled":
            parent[path[-1] + "s"] = value
        with pytest.raises(UserError, match=path[-1]):
            records.from_json(results.Evaluation, data)


def test_a_number_that_is_none_is_refused_on_writing(tmp_path):
    broken = dataclasses.replace(judged.rates(0.5), rank1=results.Measure(math.nan, None))
    found = judged.evaluation(judged.judgement(mean=broken))
    with pytest.raises(ValueError):
        records.write(tmp_path / "evaluation.json", found)


def test_the_recipe_text_of_a_clones_file_is_read():
    text = json.dumps(
        {
            "name": "best",
            "arguments": {"rate": 0.1, "iterations": 60, "stop_score": None, "loss": "max_margin"},
            "restarts": 100,
            "random_seed": 0,
            "gradients_per_iteration": 1,
            "iterations": 60,
        }
    )
    facts = records.from_json(results.AttackFacts, json.loads(text))
    assert facts.arguments["stop_score"] is None
    assert json.dumps(records.to_json(facts)) == text
