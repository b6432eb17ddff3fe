import dataclasses
import json
import math
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import hypothesis
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from mia_jax.runtime import records
from mia_jax.runtime.errors import MissingError, UserError


@dataclasses.dataclass(frozen=True)
class Rate:
    value: float
    interval: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    count: int
    ranks: tuple[int, ...]
    classes: Mapping[str, tuple[str, ...]]
    rates: Mapping[str, Rate]
    shares: frozenset[str]
    flags: Mapping[str, Any]
    clean: bool | None
    rate: int | float | str | None
    best: Rate | None


RESULT = Result(
    count=3,
    ranks=(1, 2),
    classes={"target": ("s1", "Zoë"), "evaluator": ()},
    rates={"s1": Rate(0.5, (0.25, 0.75)), "s2": Rate(1.0)},
    shares=frozenset(["people", "photographs"]),
    flags={"seed": 0, "identities": None, "rates": [1, 2.5]},
    clean=None,
    rate="auto",
    best=None,
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
RATES = st.builds(Rate, NUMBERS, st.none() | st.tuples(NUMBERS, NUMBERS))
NAMES = st.text(max_size=4)
RESULTS = st.builds(
    Result,
    count=st.integers(),
    ranks=st.lists(st.integers(), max_size=3).map(tuple),
    classes=st.dictionaries(NAMES, st.lists(NAMES, max_size=3).map(tuple), max_size=3),
    rates=st.dictionaries(NAMES, RATES, max_size=3),
    shares=st.frozensets(NAMES, max_size=3),
    flags=st.dictionaries(NAMES, st.none() | st.lists(NUMBERS), max_size=2),
    clean=st.none() | st.booleans(),
    rate=st.none() | st.integers() | NUMBERS | NAMES,
    best=st.none() | RATES,
)


class RecordsTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "result.json"

    @hypothesis.given(RESULTS)
    @hypothesis.settings(max_examples=50, deadline=None)
    def test_round_trip(self, result):
        records.write(self.path, result)
        found = records.read(self.path, Result)
        self.assertEqual(found, result)
        self.assertIs(type(found.rate), type(result.rate))
        data = records.to_json(result)
        self.assertEqual(json.loads(json.dumps(data)), data)
        self.assertEqual(records.from_json(Result, data), result)

    def test_the_schema_comes_first(self):
        records.write(self.path, Rate(0.5))
        expected = {"schema": records.SCHEMA, "value": 0.5, "interval": None}
        self.assertEqual(json.loads(self.path.read_text()), expected)
        self.assertEqual(self.path.read_text().splitlines()[1], f' "schema": {records.SCHEMA},')

    def test_a_set_is_written_in_order(self):
        self.assertEqual(records.to_json(RESULT)["shares"], ["people", "photographs"])

    @parameterized.parameters(math.nan, math.inf, -math.inf)
    def test_numbers_without_end_are_refused(self, value):
        records.write(self.path, Rate(0.5))
        with self.assertRaises(ValueError):
            records.write(self.path, Rate(value))
        self.assertEqual(records.read(self.path, Rate), Rate(0.5))
        with self.assertRaisesRegex(UserError, "^value: (nan|-?inf) is not a finite number$"):
            records.from_json(Rate, {"value": value, "interval": None})

    @parameterized.parameters(
        ({"count": "3"}, "count: '3' is not a whole number"),
        ({"count": True}, "count: True is not a whole number"),
        ({"count": 3.0}, "count: 3.0 is not a whole number"),
        ({"count": None}, "count: None is not a whole number"),
        ({"ranks": "12"}, "ranks: '12' is not an array"),
        ({"ranks": {"1": 2}}, "ranks: {'1': 2} is not an array"),
        ({"ranks": [1, "2"]}, "ranks[1]: '2' is not a whole number"),
        ({"classes": [["a", []]]}, "classes: [['a', []]] is not an object"),
        ({"classes": {"target": "s1"}}, "classes['target']: 's1' is not an array"),
        ({"classes": {"target": ["s1", 2]}}, "classes['target'][1]: 2 is not a text"),
        ({"rates": {"s1": 0.5}}, "rates['s1']: 0.5 is not an object"),
        ({"rates": {"s1": {"value": 1}}}, "rates['s1']: the field 'interval' is missing"),
        (
            {"rates": {"s1": {"value": "x" * 99, "interval": None}}},
            f"rates['s1'].value: '{'x' * 39}... is not a finite number",
        ),
        ({"shares": "people"}, "shares: 'people' is not an array"),
        ({"clean": 1}, "clean: 1 is not true or false"),
        ({"best": []}, "best: [] is not an object"),
        ({"best": {"value": 1, "interval": None, "low": 0}}, "best: the field 'low' is unknown"),
        ({"cuont": 3}, "the field 'cuont' is unknown"),
    )
    def test_what_does_not_fit_is_named(self, change, sentence):
        data = {**records.to_json(RESULT), **change}
        with self.assertRaises(UserError) as caught:
            records.from_json(Result, data)
        self.assertEqual(str(caught.exception), sentence)
        self.path.write_text(json.dumps({"schema": records.SCHEMA, **data}))
        with self.assertRaises(UserError) as caught:
            records.read(self.path, Result)
        self.assertEqual(str(caught.exception), f"{self.path}: {sentence}: delete it to redo it")

    @parameterized.parameters([1], [1, 2, 3])
    def test_an_interval_has_two_ends(self, *ends):
        with self.assertRaisesRegex(UserError, "^interval: "):
            records.from_json(Rate, {"value": 1, "interval": [*ends]})

    @parameterized.parameters(field.name for field in dataclasses.fields(Result))
    def test_every_field_must_be_there(self, name):
        data = records.to_json(RESULT)
        del data[name]
        with self.assertRaisesRegex(UserError, f"^the field '{name}' is missing$"):
            records.from_json(Result, data)

    @parameterized.parameters(
        ("[]", "has the schema None"),
        ("{}", "has the schema None"),
        ('{"schema": 0, "value": 1, "interval": null}', "has the schema 0"),
        ('{"schema": 1', "is not readable JSON"),
    )
    def test_another_file(self, text, words):
        self.path.write_text(text)
        with self.assertRaisesRegex(UserError, rf"result\.json {words}.*: delete it to redo it$"):
            records.read(self.path, Rate)

    def test_missing(self):
        with self.assertRaisesRegex(MissingError, r"result\.json does not exist"):
            records.read(self.path, Rate)


if __name__ == "__main__":
    absltest.main()
