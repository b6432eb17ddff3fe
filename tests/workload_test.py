import hypothesis
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
    def test_only_the_last_item_of_a_person_is_smaller(self, names, restarts, chunk):
        for item in workload.divide(names, restarts, chunk):
            size = item.last - item.first + 1
            self.assertEqual(item.first % chunk, 0)
            self.assertBetween(size, 1, chunk)
            if item.last != restarts - 1:
                self.assertEqual(size, chunk)

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
