import dataclasses
import itertools
import json

import hypothesis
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from mia_jax.faces import protocol

NAMES = tuple(f"s{number}" for number in range(1, 13))
VGGFACE2 = tuple(f"n{number:06d}" for number in range(9131))

SEEDS = st.integers(-(2**40), 2**40)
HELD_OUT = st.floats(0.01, 0.99)
GOLDEN = protocol.Protocol(
    seed=7,
    targeted=("s12", "s1"),
    classes={"target": ("s1", "s11", "s12", "s7"), "evaluator": ("s1", "s12", "s4", "s9")},
    auxiliary=("s10", "s2", "s3", "s5", "s6", "s8"),
    training={
        "s1": (0, 1, 2),
        "s11": (0, 3, 4),
        "s12": (0, 2, 4),
        "s4": (1, 2, 3),
        "s7": (1, 2, 3),
        "s9": (1, 2, 3),
    },
    held_out={
        "s1": (3, 4),
        "s11": (1, 2),
        "s12": (1, 3),
        "s4": (0, 4),
        "s7": (0, 4),
        "s9": (0, 4),
    },
)


@st.composite
def settings(draw):
    """Draws arguments of `make_protocol` that it accepts."""
    targeted = draw(st.integers(1, 4))
    photographs = draw(
        st.dictionaries(
            st.text(min_size=1, max_size=5),
            st.integers(2, 12),
            min_size=targeted + 3,
            max_size=targeted + 24,
        )
    )
    quarter = round((len(photographs) - targeted) / 4)
    size = st.none() | st.integers(targeted + 1, targeted + quarter)
    return {
        "photographs": photographs,
        "seed": draw(SEEDS),
        "targeted": targeted,
        "held_out": draw(HELD_OUT),
        "target_classes": draw(size),
        "evaluator_classes": draw(size),
    }


class MakeProtocolTest(parameterized.TestCase):
    @hypothesis.given(settings())
    def test_nobody_is_where_they_must_not_be(self, how):
        made = protocol.make_protocol(**how)
        targeted, auxiliary = set(made.targeted), set(made.auxiliary)
        target, evaluator = (set(made.classes[role]) for role in ("target", "evaluator"))
        self.assertLen(targeted, how["targeted"])
        self.assertEqual(target & evaluator, targeted)
        self.assertEmpty(auxiliary & (target | evaluator))
        self.assertContainsSubset(target | evaluator | auxiliary, how["photographs"])
        for role in made.classes.values():
            self.assertLen(set(role), len(role))
            self.assertGreater(len(role), how["targeted"])
            self.assertEqual(list(role), sorted(role))
        self.assertLen(auxiliary, len(made.auxiliary))
        self.assertNotEmpty(auxiliary)

    @hypothesis.given(settings())
    def test_quarters_and_a_half(self, how):
        how |= {"target_classes": None, "evaluator_classes": None}
        made = protocol.make_protocol(**how)
        others = len(how["photographs"]) - how["targeted"]
        sizes = [len(made.classes[role]) - how["targeted"] for role in ("target", "evaluator")]
        self.assertEqual(sizes[0], sizes[1])
        self.assertAlmostEqual(sizes[0], others / 4, delta=0.5)
        self.assertEqual(len(made.auxiliary) + sum(sizes), others)

    @hypothesis.given(settings())
    def test_asking_for_fewer_classes_only_leaves_people_out(self, how):
        made = protocol.make_protocol(**how)
        everyone = protocol.make_protocol(
            **(how | {"target_classes": None, "evaluator_classes": None})
        )
        self.assertEqual(made.targeted, everyone.targeted)
        self.assertEqual(made.auxiliary, everyone.auxiliary)
        sizes = how["target_classes"], how["evaluator_classes"] or how["target_classes"]
        for role, size in zip(("target", "evaluator"), sizes, strict=True):
            self.assertContainsSubset(made.classes[role], everyone.classes[role])
            self.assertLen(made.classes[role], size or len(everyone.classes[role]))

    @hypothesis.given(settings())
    def test_every_photograph_either_trains_or_measures(self, how):
        made = protocol.make_protocol(**how)
        registered = {*made.classes["target"], *made.classes["evaluator"]}
        self.assertEqual(set(made.training), registered)
        self.assertEqual(set(made.held_out), registered)
        for name in registered:
            training, held_out = made.training[name], made.held_out[name]
            self.assertNotEmpty(training)
            self.assertNotEmpty(held_out)
            self.assertEqual(sorted(training + held_out), list(range(how["photographs"][name])))

    @hypothesis.given(settings(), st.randoms(use_true_random=False))
    def test_the_order_of_the_names_does_not_matter(self, how, random):
        items = list(how["photographs"].items())
        random.shuffle(items)
        self.assertEqual(
            protocol.make_protocol(**how),
            protocol.make_protocol(**(how | {"photographs": dict(items)})),
        )

    @hypothesis.given(settings())
    def test_json_round_trip(self, how):
        made = protocol.make_protocol(**how)
        self.assertEqual(protocol.from_json(json.loads(json.dumps(protocol.to_json(made)))), made)

    def test_the_seed_changes_the_roles(self):
        made = [
            protocol.make_protocol(dict.fromkeys(NAMES, 10), seed=seed, targeted=2)
            for seed in range(40)
        ]
        self.assertEqual({name for one in made for name in one.targeted}, set(NAMES))
        self.assertGreater(len({one.held_out[one.targeted[0]] for one in made}), 10)

    def test_everyone_has_photographs_of_their_own_held_out(self):
        made = protocol.make_protocol(dict.fromkeys(VGGFACE2[:200], 10), seed=0)
        self.assertGreater(len(set(made.held_out.values())), 20)
        often = [list(itertools.chain(*made.held_out.values())).count(n) for n in range(10)]
        self.assertGreater(min(often), len(made.held_out) * 0.15)
        self.assertLess(max(often), len(made.held_out) * 0.45)

    def test_golden(self):
        """A protocol of an earlier version must be that of this one."""
        made = protocol.make_protocol(dict.fromkeys(NAMES, 5), seed=7, targeted=2, held_out=0.3)
        self.assertEqual(made, GOLDEN)

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
            ValueError,
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
    )
    def test_refuses(self, how, sentence):
        with self.assertRaisesRegex(ValueError, sentence):
            protocol.make_protocol(dict.fromkeys(NAMES, 5), seed=0, **({"targeted": 4} | how))


class SplitPhotographsTest(parameterized.TestCase):
    @parameterized.parameters(
        (10, 0.3, 3),
        (10, 0.25, 2),
        (10, 0.01, 1),  # At least one,
        (10, 0.99, 9),  # never all.
        (2, 0.3, 1),
        (360, 0.3, 108),
    )
    def test_how_many_are_held_out(self, count, fraction, expected):
        training, held_out = protocol.split_photographs("s1", count, 0, fraction)
        self.assertLen(held_out, expected)
        self.assertEqual(sorted(training + held_out), list(range(count)))
        self.assertEqual(list(training), sorted(training))
        self.assertEqual(list(held_out), sorted(held_out))

    @parameterized.parameters(0, 1)
    def test_refuses_to_split_one_photograph(self, count):
        with self.assertRaisesRegex(ValueError, f"s3 has {count} photograph.* at least 2"):
            protocol.split_photographs("s3", count, 0, 0.3)
        with self.assertRaisesRegex(ValueError, "at least 2"):
            protocol.make_protocol(dict.fromkeys(NAMES, count), seed=0)


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
                ValueError, f"'{stranger}' .* choose from {', '.join(made.classes['target'])}$"
            ):
                protocol.check_identities(made, [made.targeted[0], stranger])


class JsonTest(parameterized.TestCase):
    @parameterized.parameters(field.name for field in dataclasses.fields(protocol.Protocol))
    def test_names_a_missing_field(self, field):
        data = protocol.to_json(protocol.make_protocol(dict.fromkeys(NAMES, 5), seed=0))
        del data[field]
        with self.assertRaisesRegex(ValueError, f"no field '{field}'"):
            protocol.from_json(data)


if __name__ == "__main__":
    absltest.main()
