import itertools
import json

import hypothesis
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from mia_jax.faces import protocol
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError

NAMES = tuple(f"s{number}" for number in range(1, 13))
VGGFACE2 = tuple(f"n{number:06d}" for number in range(9131))

SEEDS = st.integers(-(2**40), 2**40)
FRACTIONS = st.floats(0.01, 0.99)
GOLDEN = protocol.Protocol(
    seed=7,
    targeted=("s12", "s1"),
    classes={"target": ("s1", "s11", "s12", "s7"), "evaluator": ("s1", "s12", "s4", "s9")},
    auxiliary=("s10", "s2", "s3", "s5", "s6", "s8"),
    training={
        "target": {"s1": (0, 1), "s11": (3, 4), "s12": (0, 4), "s7": (2, 3)},
        "evaluator": {"s1": (0, 1), "s12": (0, 4), "s4": (1, 3), "s9": (1, 3)},
    },
    validation={"s1": (2,), "s11": (0,), "s12": (2,), "s4": (2,), "s7": (1,), "s9": (2,)},
    test={
        "s1": (3, 4),
        "s11": (1, 2),
        "s12": (1, 3),
        "s4": (0, 4),
        "s7": (0, 4),
        "s9": (0, 4),
    },
)
# The roles of ORL with seed 0, as the first version of this package gave them.
ORL = {
    "targeted": ("s29", "s1", "s18", "s6", "s25"),
    "target": (
        "s1",
        "s14",
        "s16",
        "s17",
        "s18",
        "s19",
        "s22",
        "s25",
        "s27",
        "s29",
        "s34",
        "s36",
        "s4",
        "s6",
    ),
    "evaluator": (
        "s1",
        "s15",
        "s18",
        "s21",
        "s24",
        "s25",
        "s29",
        "s31",
        "s33",
        "s37",
        "s39",
        "s5",
        "s6",
        "s9",
    ),
    "auxiliary": (
        "s10",
        "s11",
        "s12",
        "s13",
        "s2",
        "s20",
        "s23",
        "s26",
        "s28",
        "s3",
        "s30",
        "s32",
        "s35",
        "s38",
        "s40",
        "s7",
        "s8",
    ),
    "test": {
        "s1": (3, 7, 8),
        "s14": (1, 2, 3),
        "s15": (4, 7, 9),
        "s16": (1, 7, 9),
        "s17": (0, 6, 9),
        "s18": (2, 3, 4),
        "s19": (0, 3, 5),
        "s21": (0, 1, 6),
        "s22": (1, 4, 5),
        "s24": (4, 8, 9),
        "s25": (1, 2, 8),
        "s27": (1, 5, 6),
        "s29": (0, 2, 8),
        "s31": (0, 2, 5),
        "s33": (1, 4, 7),
        "s34": (4, 5, 9),
        "s36": (1, 2, 6),
        "s37": (4, 7, 9),
        "s39": (4, 5, 7),
        "s4": (1, 2, 5),
        "s5": (2, 3, 9),
        "s6": (1, 3, 4),
        "s9": (1, 6, 7),
    },
}


@st.composite
def settings(draw):
    """Draws arguments of `make_protocol` that it accepts."""
    targeted = draw(st.integers(1, 4))
    disjoint = draw(st.booleans())
    photographs = draw(
        st.dictionaries(
            st.text(min_size=1, max_size=5),
            st.integers(4 if disjoint else 3, 12),
            min_size=targeted + 3,
            max_size=targeted + 24,
        )
    )
    quarter = round((len(photographs) - targeted) / 4)
    size = st.none() | st.integers(targeted + 1, targeted + quarter)
    names = st.text(min_size=1, max_size=5).filter(lambda name: name != "target")
    return {
        "photographs": photographs,
        "seed": draw(SEEDS),
        "targeted": targeted,
        "held_out": draw(FRACTIONS),
        "validation": draw(FRACTIONS),
        "target_classes": draw(size),
        "evaluator_classes": draw(size),
        "evaluators": tuple(draw(st.lists(names, unique=True, max_size=4))),
        "disjoint": disjoint,
    }


class MakeProtocolTest(parameterized.TestCase):
    @hypothesis.given(settings())
    def test_nobody_is_where_they_must_not_be(self, how):
        made = protocol.make_protocol(**how)
        targeted, auxiliary = set(made.targeted), set(made.auxiliary)
        self.assertLen(targeted, how["targeted"])
        self.assertEqual(tuple(made.classes), ("target", *how["evaluators"]))
        self.assertEqual(made.evaluators, how["evaluators"])
        target = set(made.classes["target"])
        for evaluator in made.evaluators:
            self.assertEqual(target & set(made.classes[evaluator]), targeted)
            # Each of them knows the same people.
            self.assertEqual(made.classes[evaluator], made.classes[made.evaluators[0]])
        for members in made.classes.values():
            self.assertEmpty(auxiliary & set(members))
            self.assertContainsSubset(members, how["photographs"])
            self.assertLen(set(members), len(members))
            self.assertGreater(len(members), how["targeted"])
            self.assertEqual(list(members), sorted(members))
        self.assertContainsSubset(auxiliary, how["photographs"])
        self.assertLen(auxiliary, len(made.auxiliary))
        self.assertNotEmpty(auxiliary)

    @hypothesis.given(settings())
    def test_quarters_and_a_half(self, how):
        how |= {"target_classes": None, "evaluator_classes": None}
        made = protocol.make_protocol(**how)
        others = len(how["photographs"]) - how["targeted"]
        sizes = {len(members) - how["targeted"] for members in made.classes.values()}
        self.assertLen(sizes, 1)
        self.assertAlmostEqual(*sizes, others / 4, delta=0.5)
        self.assertEqual(len(made.auxiliary) + 2 * sizes.pop(), others)

    @hypothesis.given(settings())
    def test_asking_for_fewer_classes_only_leaves_people_out(self, how):
        made = protocol.make_protocol(**how)
        everyone = protocol.make_protocol(
            **(how | {"target_classes": None, "evaluator_classes": None})
        )
        self.assertEqual(made.targeted, everyone.targeted)
        self.assertEqual(made.auxiliary, everyone.auxiliary)
        for role in made.classes:
            size = how["target_classes"]
            if role != "target":
                size = how["evaluator_classes"] or size
            self.assertContainsSubset(made.classes[role], everyone.classes[role])
            self.assertLen(made.classes[role], size or len(everyone.classes[role]))

    @hypothesis.given(settings())
    def test_no_photograph_has_two_parts(self, how):
        made = protocol.make_protocol(**how)
        registered = {name for members in made.classes.values() for name in members}
        self.assertEqual(set(made.validation), registered)
        self.assertEqual(set(made.test), registered)
        self.assertEqual(tuple(made.training), tuple(made.classes))
        for role, members in made.classes.items():
            self.assertEqual(tuple(made.training[role]), members)
        for name in registered:
            trains = [set(split[name]) for split in made.training.values() if name in split]
            parts = set().union(*trains), set(made.validation[name]), set(made.test[name])
            for part in (*trains, *parts):
                self.assertNotEmpty(part)
            numbers = [number for part in parts for number in part]
            self.assertCountEqual(numbers, range(how["photographs"][name]))

    @hypothesis.given(settings())
    def test_what_is_told_of_a_person_comes_once_and_rising(self, how):
        made = protocol.make_protocol(**how)
        for split in (made.validation, made.test, *made.training.values()):
            for numbers in split.values():
                self.assertEqual(list(numbers), sorted(set(numbers)))

    @hypothesis.given(settings())
    def test_who_learns_whom_from_what(self, how):
        made = protocol.make_protocol(**how)
        shared = protocol.make_protocol(**(how | {"disjoint": False}))
        self.assertEqual(made.classes, shared.classes)
        for evaluator in made.evaluators:
            self.assertEqual(made.training[evaluator], made.training[made.evaluators[0]])
            for name in made.targeted:
                ours, theirs = (set(made.training[role][name]) for role in ("target", evaluator))
                if how["disjoint"]:
                    self.assertEmpty(ours & theirs)
                    self.assertBetween(len(ours) - len(theirs), 0, 1)
                else:
                    self.assertEqual(ours, theirs)
            for role in ("target", evaluator):
                for name in {*made.classes[role]} - {*made.targeted}:
                    self.assertEqual(made.training[role][name], shared.training[role][name])

    @hypothesis.given(settings(), st.randoms(use_true_random=False))
    def test_the_order_of_the_names_does_not_matter(self, how, random):
        items = list(how["photographs"].items())
        random.shuffle(items)
        self.assertEqual(
            protocol.make_protocol(**how),
            protocol.make_protocol(**(how | {"photographs": dict(items)})),
        )

    @hypothesis.given(settings())
    def test_record_round_trip(self, how):
        made = protocol.make_protocol(**how)
        data = json.loads(json.dumps(records.to_json(made)))
        self.assertEqual(records.from_json(protocol.Protocol, data), made)

    @hypothesis.given(settings())
    def test_another_evaluator_changes_nothing_for_the_others(self, how):
        one = protocol.make_protocol(**how)
        two = protocol.make_protocol(**(how | {"evaluators": (*how["evaluators"], "the new one")}))
        self.assertEqual((one.targeted, one.auxiliary), (two.targeted, two.auxiliary))
        for role, members in one.classes.items():
            self.assertEqual(two.classes[role], members)
            if how["evaluators"] or not how["disjoint"]:
                self.assertEqual(two.training[role], one.training[role])

    def test_orl_has_the_roles_that_it_always_had(self):
        made = protocol.make_protocol({f"s{number}": 10 for number in range(1, 41)}, seed=0)
        self.assertEqual(made.targeted, ORL["targeted"])
        self.assertEqual(made.classes, {"target": ORL["target"], "evaluator": ORL["evaluator"]})
        self.assertEqual(made.auxiliary, ORL["auxiliary"])
        self.assertEqual(made.test, ORL["test"])
        for role in made.classes:
            self.assertEqual({len(numbers) for numbers in made.training[role].values()}, {6})
        self.assertEqual({len(numbers) for numbers in made.validation.values()}, {1})

    def test_the_seed_changes_the_roles(self):
        made = [
            protocol.make_protocol(dict.fromkeys(NAMES, 10), seed=seed, targeted=2)
            for seed in range(40)
        ]
        self.assertEqual({name for one in made for name in one.targeted}, set(NAMES))
        self.assertGreater(len({one.test[one.targeted[0]] for one in made}), 10)

    def test_everyone_is_tested_on_photographs_of_their_own(self):
        made = protocol.make_protocol(dict.fromkeys(VGGFACE2[:200], 10), seed=0)
        self.assertGreater(len(set(made.test.values())), 20)
        often = [list(itertools.chain(*made.test.values())).count(n) for n in range(10)]
        self.assertGreater(min(often), len(made.test) * 0.15)
        self.assertLess(max(often), len(made.test) * 0.45)

    def test_golden(self):
        """A protocol of an earlier run must be that of this one."""
        made = protocol.make_protocol(dict.fromkeys(NAMES, 5), seed=7, targeted=2, held_out=0.3)
        self.assertEqual(made, GOLDEN)

    def test_golden_halves(self):
        made = protocol.make_protocol(dict.fromkeys(NAMES, 10), seed=7, targeted=2, disjoint=True)
        self.assertEqual(made.training["target"]["s1"], (2, 7, 8))
        self.assertEqual(made.training["evaluator"]["s1"], (0, 1, 6))

    def test_golden_order_is_that_of_the_hash(self):
        """As `printf "7\\0s1" | sha256sum` and so on would sort them."""
        order = ["s12", "s1", "s11", "s7", "s9", "s4", "s6", "s3", "s10", "s8", "s2", "s5"]
        self.assertEqual(protocol.shuffled(7, NAMES), order)


class SizesTest(parameterized.TestCase):
    def test_vggface2_as_in_the_paper(self):
        targeted, classes, auxiliary = protocol.assign_identities(
            VGGFACE2, seed=0, targeted=5, target_classes=2041, evaluator_classes=2046
        )
        self.assertLen(targeted, 5)
        self.assertLen(classes["target"], 2041)
        self.assertLen(classes["evaluator"], 2046)
        self.assertLen(set(classes["target"]) & set(classes["evaluator"]), 5)
        self.assertAlmostEqual(len(auxiliary), 9131 / 2, delta=5)
        self.assertEmpty({*classes["target"], *classes["evaluator"]} & set(auxiliary))

    def test_the_evaluator_has_as_many_classes_as_the_target_unless_told(self):
        _, classes, _ = protocol.assign_identities(VGGFACE2, seed=0, target_classes=100)
        self.assertLen(classes["target"], 100)
        self.assertLen(classes["evaluator"], 100)

    @parameterized.parameters(1, 5)
    def test_the_fewest_identities_that_do(self, targeted):
        enough = VGGFACE2[: targeted + 3]
        _, classes, auxiliary = protocol.assign_identities(enough, seed=0, targeted=targeted)
        self.assertLen(classes["target"], targeted + 1)
        self.assertLen(auxiliary, 1)
        with self.assertRaisesRegex(
            UserError,
            f"{targeted + 2} identities are too few to target {targeted}: .* {targeted + 3} in all",
        ):
            protocol.assign_identities(enough[1:], seed=0, targeted=targeted)

    @parameterized.parameters(
        ({"targeted": 0}, "targeted=0 .* give 1 or more"),
        ({"targeted": -3}, "targeted=-3 .* give 1 or more"),
        ({"targeted": 12}, "12 identities are too few to target 12"),
        ({"targeted": 20}, "12 identities are too few to target 20"),
        ({"target_classes": 4}, "target_classes=4 .* 4 are targeted: give 5 to 6"),
        ({"target_classes": 7}, "target_classes=7 .* 12 identities .* give 5 to 6"),
        ({"target_classes": 5, "evaluator_classes": 7}, "evaluator_classes=7 .* give 5 to 6"),
        ({"evaluator_classes": -1}, "evaluator_classes=-1 .* give 5 to 6"),
        ({"evaluators": ("a", "b", "a")}, "evaluators=.* names of their own"),
        ({"evaluators": ("target",)}, "evaluators=.* names of their own, not target"),
        ({"held_out": 0.0}, "held_out=0.0 is no fraction: give one between 0 and 1"),
        ({"validation": 1.0}, "validation=1.0 is no fraction"),
    )
    def test_refuses(self, how, sentence):
        with self.assertRaisesRegex(UserError, sentence):
            protocol.make_protocol(dict.fromkeys(NAMES, 5), seed=0, **({"targeted": 4} | how))


class SplitPhotographsTest(parameterized.TestCase):
    @parameterized.parameters(
        (10, 0.3, 0.1, 1, (6, 1, 3)),
        (10, 0.25, 0.1, 1, (7, 1, 2)),
        (10, 0.01, 0.01, 1, (8, 1, 1)),  # At least one,
        (10, 0.99, 0.99, 1, (1, 1, 8)),  # never all.
        (10, 0.99, 0.5, 2, (2, 1, 7)),
        (10, 0.3, 0.99, 2, (2, 5, 3)),
        (3, 0.3, 0.1, 1, (1, 1, 1)),
        (4, 0.9, 0.9, 2, (2, 1, 1)),
        (360, 0.3, 0.1, 1, (216, 36, 108)),
    )
    def test_how_many_are_where(self, count, held_out, validation, trained, expected):
        parts = protocol.split_photographs("s1", count, 0, held_out, validation, trained)
        self.assertEqual(tuple(map(len, parts)), expected)
        self.assertCountEqual(itertools.chain(*parts), range(count))
        for part in parts[1:]:
            self.assertEqual(list(part), sorted(part))

    @parameterized.parameters((0, False, 3), (1, False, 3), (2, False, 3), (2, True, 4))
    def test_refuses_to_split_too_few(self, count, disjoint, needed):
        with self.assertRaisesRegex(
            UserError,
            rf"s\d+ has {count} photograph.* at least {needed} are .*--min_images={needed}",
        ):
            protocol.make_protocol(dict.fromkeys(NAMES, count), 0, targeted=2, disjoint=disjoint)

    def test_only_who_is_registered_needs_photographs(self):
        counts = dict.fromkeys(NAMES, 3)
        made = protocol.make_protocol(counts, seed=0, targeted=2)
        few = {name: 1 if name in made.auxiliary else 3 for name in NAMES}
        self.assertEqual(protocol.make_protocol(few, seed=0, targeted=2), made)
        # Only who is attacked needs the halves.
        halves = {name: 4 if name in made.targeted else 3 for name in NAMES}
        protocol.make_protocol(halves, seed=0, targeted=2, disjoint=True)
        with self.assertRaisesRegex(UserError, "at least 4 are needed: 2 to train"):
            protocol.make_protocol(counts, seed=0, targeted=2, disjoint=True)


class ShuffledTest(parameterized.TestCase):
    @hypothesis.given(SEEDS, st.sets(st.text(max_size=4), max_size=12))
    def test_is_an_order_of_the_items(self, seed, items):
        found = protocol.shuffled(seed, items)
        self.assertCountEqual(found, items)
        self.assertEqual(protocol.shuffled(seed, reversed(sorted(items))), found)

    def test_seed_and_context_each_give_another_order(self):
        orders = [
            tuple(protocol.shuffled(seed, range(20), *context))
            for seed, context in itertools.product((0, 1), ((), ("a",), ("b",), ("a", "b")))
        ]
        self.assertLen(set(orders), len(orders))

    def test_golden(self):
        self.assertEqual(protocol.shuffled(0, range(6), "s1"), [3, 5, 1, 2, 4, 0])


class CheckIdentitiesTest(parameterized.TestCase):
    def test_names_the_stranger_and_the_choice(self):
        made = protocol.make_protocol(dict.fromkeys(NAMES, 5), seed=0, targeted=2)
        protocol.check_identities(made, made.classes["target"])
        protocol.check_identities(made, [])
        only_evaluator = next(
            name for name in made.classes["evaluator"] if name not in made.targeted
        )
        for stranger in ("nobody", only_evaluator, made.auxiliary[0]):
            with self.assertRaisesRegex(
                UserError, f"'{stranger}' .* choose from {', '.join(made.classes['target'])}$"
            ):
                protocol.check_identities(made, [made.targeted[0], stranger])


if __name__ == "__main__":
    absltest.main()
