from absl.testing import absltest, parameterized

from mia_jax.runtime import errors


class ErrorsTest(parameterized.TestCase):
    def test_a_missing_file_is_what_a_user_can_mend(self):
        for kind in (errors.UserError, FileNotFoundError, ValueError):
            with self.assertRaisesRegex(kind, "^there is no a.json$"):
                raise errors.MissingError("there is no a.json")
        self.assertFalse(issubclass(errors.UserError, OSError))

    @parameterized.parameters(
        (0, ""),
        (2, "p0, p1"),
        (10, "p0, p1, p2, p3, p4, p5, p6, p7, p8, p9"),
        (12, "p0, p1, p2, p3, p4, p5, p6, p7, p8, p9 and 2 more"),
    )
    def test_names_some_and_counts_the_rest(self, count, expected):
        self.assertEqual(errors.list_some([f"p{number}" for number in range(count)]), expected)


if __name__ == "__main__":
    absltest.main()
