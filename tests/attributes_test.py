"""Attributes from outputs, on a data set of scikit-learn and on models that are solved by hand."""

import numpy as np
import sklearn.datasets
import sklearn.linear_model
import sklearn.metrics
import sklearn.tree
from absl.testing import absltest, parameterized

from mia_jax.attack import attributes
from mia_jax.attack.attributes import Attribute
from mia_jax.runtime.errors import UserError

SEX = 1  # Of the 442 people of the data set; the target is the course of their diabetes.


def diabetes():
    table = sklearn.datasets.load_diabetes()
    return table.data, table.target / table.target.std()


class GuessTest(parameterized.TestCase):
    def test_a_linear_model_by_hand(self):
        """y = x + 2 s, told exactly: s follows from y - x."""
        hidden = Attribute(1, np.array([0.0, 1.0]), np.array([0.9, 0.1]))
        records = np.array([[1.0, 7], [2, 7], [3, 7]])  # The hidden column is not looked at.
        outputs = np.array([1.0, 4, 3])
        law = attributes.gaussian_error(0.1)
        model = lambda rows: rows @ np.array([1.0, 2])  # noqa: E731
        guesses = attributes.guess(model, records, outputs, hidden, law)
        np.testing.assert_array_equal(guesses, [0, 1, 0])
        # Where the output says nothing the marginals decide: halfway, 0.9 to 0.1.
        np.testing.assert_array_equal(
            attributes.guess(model, records[:1], np.array([2.0]), hidden, law), [0]
        )

    def test_linear_regression_beats_the_marginals(self):
        records, outcome = diabetes()
        model = sklearn.linear_model.LinearRegression().fit(records, outcome)
        hidden = attributes.attribute(records, SEX)
        law = attributes.gaussian_error(float(np.std(outcome - model.predict(records))))
        truth = records[:, SEX]
        guesses = attributes.guess(model.predict, records, outcome, hidden, law)
        null = attributes.skill(truth, attributes.from_marginals(len(truth), hidden))
        found = attributes.skill(truth, guesses)
        self.assertGreater(found.mcc, null.mcc + 0.02)
        self.assertGreater(found.g_mean, null.g_mean)
        self.assertEqual((null.g_mean, null.mcc), (0.0, 0.0))
        self.assertAlmostEqual(null.accuracy, hidden.marginals.max())

    def test_a_tree_that_remembers_its_records_tells_much(self):
        records, outcome = diabetes()
        classes = (outcome > np.median(outcome)).astype(int)
        tree = sklearn.tree.DecisionTreeClassifier(random_state=0).fit(records, classes)
        confusion = sklearn.metrics.confusion_matrix(classes, tree.predict(records))
        hidden = attributes.attribute(records, SEX)
        guesses = attributes.guess(
            tree.predict, records, classes, hidden, attributes.confusion_error(confusion)
        )
        truth = records[:, SEX]
        known = attributes.skill(truth, guesses)
        self.assertGreater(known.accuracy, hidden.marginals.max())

    def test_poison_makes_a_linear_model_tell_the_attribute_alone(self):
        """More and more poison: the guess from the output alone gets better."""
        records, outcome = diabetes()
        hidden, truth = attributes.attribute(records, SEX), records[:, SEX]
        centered = outcome - outcome.mean()
        found = []
        for share in (0.0, 0.2, 1.0):
            extra, told = attributes.poison(records, hidden, share, strength=60.0, seed=0)
            model = sklearn.linear_model.LinearRegression().fit(
                np.concatenate([records, extra]), np.concatenate([centered, told])
            )
            outputs = model.predict(records)
            rest = outputs - truth * model.coef_[SEX]
            guesses = attributes.guess_from_output(
                model.coef_, model.intercept_, records.mean(0), outputs, hidden, float(rest.std())
            )
            found.append(attributes.skill(truth, guesses).mcc)
        np.testing.assert_array_less(found[:-1], found[1:])
        self.assertGreater(found[-1], 0.9)
        self.assertLess(found[0], 0.4)

    @parameterized.parameters(0, 1, 2)
    def test_skill_is_that_of_scikit_learn(self, seed):
        rng = np.random.default_rng(seed)
        truth, guesses = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
        found = attributes.skill(truth, guesses)
        self.assertAlmostEqual(found.accuracy, sklearn.metrics.accuracy_score(truth, guesses))
        self.assertAlmostEqual(found.mcc, sklearn.metrics.matthews_corrcoef(truth, guesses))
        recalls = sklearn.metrics.recall_score(truth, guesses, average=None)
        self.assertAlmostEqual(found.g_mean, np.prod(recalls) ** (1 / 3))

    def test_refuses(self):
        with self.assertRaisesRegex(UserError, "deviation=0"):
            attributes.gaussian_error(0)
        with self.assertRaisesRegex(UserError, "share=2"):
            attributes.poison(np.zeros((2, 2)), Attribute(0, np.ones(1), np.ones(1)), 2, 1, 0)


if __name__ == "__main__":
    absltest.main()
