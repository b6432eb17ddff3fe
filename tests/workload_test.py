import itertools
import math

import hypothesis
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from mia_jax.runtime import workload
from mia_jax.runtime.workload import Item

NAMES = st.lists(st.text(max_size=3), unique=True, max_size=5)


class DivideTest(parameterized.TestCase):
    @hypothesis.given(NAMES, st.integers(1, 30), st.integers(1, 40))
    def test_every_restart_of_every_person_once_and_in_order(self, names, restarts, chunk):
        items = workload.divide(names, restarts, chunk)
        found = [
            (item.identity, restart)
            for item in items
            for restart in range(item.first, item.last + 1)
        ]
        self.assertEqual(found, [(name, restart) for name in names for restart in range(restarts)])

    @hypothesis.given(NAMES, st.integers(1, 30), st.integers(1, 40))
    def test_items_are_few_and_alike(self, names, restarts, chunk):
        for item, other in itertools.pairwise(workload.divide(names, restarts, chunk)):
            if other.identity == item.identity:
                self.assertLessEqual(other.restarts, item.restarts)
        items = [
            item for item in workload.divide(names, restarts, chunk) if item.identity in names[:1]
        ]
        if items:
            self.assertLen(items, math.ceil(restarts / chunk))
            self.assertEqual({item.restarts for item in items[:-1]} - {items[0].restarts}, set())
            # All are computed in the size of the first: less than one restart of each is wasted.
            self.assertLess(items[0].restarts * len(items) - restarts, len(items))

    def test_golden(self):
        self.assertEqual(
            workload.divide(["s2", "s1"], restarts=5, chunk=2),
            [
                Item("s2", 0, 1),
                Item("s2", 2, 3),
                Item("s2", 4, 4),
                Item("s1", 0, 1),
                Item("s1", 2, 3),
                Item("s1", 4, 4),
            ],
        )


class BundlesTest(parameterized.TestCase):
    @hypothesis.given(NAMES, st.integers(1, 30), st.integers(1, 40))
    def test_hold_the_items_in_order_and_a_chunk_at_most(self, names, restarts, chunk):
        items = workload.divide(names, restarts, chunk)
        bundles = workload.bundles(items, chunk)
        self.assertEqual([item for bundle in bundles for item in bundle], items)
        for bundle in bundles:
            self.assertLessEqual(len(bundle) * bundle[0].restarts, chunk)
            self.assertBetween(len(bundle), 1, len(bundles[0]))
        # All are computed in the size of the first: less than one item of each is wasted.
        self.assertLess(sum(len(bundles[0]) - len(b) for b in bundles), max(len(bundles), 1))

    @parameterized.parameters((76, 4, 50, 7, 11), (3, 4, 50, 1, 3), (5, 100, 50, 10, 1))
    def test_golden(self, people, restarts, chunk, count, size):
        names = [str(person) for person in range(people)]
        bundles = workload.bundles(workload.divide(names, restarts, chunk), chunk)
        self.assertEqual((len(bundles), len(bundles[0])), (count, size))


class InBatchesTest(parameterized.TestCase):
    @hypothesis.given(st.integers(1, 300), st.integers(1, 100))
    def test_each_once_in_order_in_few_sizes_and_none_besides(self, count, most):
        sizes = []

        def double(images):
            sizes.append(len(images))
            return 2 * images

        found = workload.in_batches(double, np.arange(count), most)
        np.testing.assert_array_equal(found, 2 * np.arange(count))
        self.assertEqual(sum(sizes), count)
        self.assertLessEqual(max(sizes), most)
        self.assertTrue(all(size & (size - 1) == 0 for size in sizes))
        self.assertEqual(sizes, sorted(sizes, reverse=True))


class GroupsTest(parameterized.TestCase):
    @hypothesis.given(st.integers(0, 30), st.integers(1, 40))
    def test_one_after_the_other_they_are_the_items(self, count, width):
        items = workload.divide(["s1"], count, 1)
        found = list(workload.groups(items, width))
        self.assertEqual([item for group in found for item in group], items)
        # Only the last one leaves devices idle, and none is empty.
        self.assertTrue(all(len(group) == width for group in found[:-1]))
        self.assertTrue(all(1 <= len(group) <= width for group in found))


if __name__ == "__main__":
    absltest.main()
