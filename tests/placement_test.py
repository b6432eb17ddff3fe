import jax
from absl.testing import absltest, parameterized
from jax.sharding import PartitionSpec

from mia_jax.recognizer import network, placement, resnet, training
from mia_jax.runtime.sharding import CLASSES, ITEMS


def specs(tree, rule):
    """The rule's answer for each array, by its path, where it is not a copy for everyone."""
    found = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(tree):
        names = tuple(jax.tree_util.keystr((key,), simple=True) for key in path)
        if rule(names) != PartitionSpec():
            found["/".join(names)] = rule(names)
    return found


def state(architecture="cnn"):
    return jax.eval_shape(lambda: training.start(jax.random.key(0), 3, (16, 16, 1), architecture))


class PlacementTest(parameterized.TestCase):
    def test_classes_split_the_last_layer_alone(self):
        params = jax.eval_shape(lambda: network.init(jax.random.key(0), 3, (16, 16, 1)))
        self.assertEqual(
            specs(params, placement.split_classes),
            {"L7/kernel": PartitionSpec(None, CLASSES), "L7/bias": PartitionSpec(CLASSES)},
        )

    def test_a_residual_network_is_copied_but_for_very_many_classes(self):
        self.assertEqual(specs(state("resnet"), placement.split_units(2)), {})
        params = jax.eval_shape(lambda: resnet.init(jax.random.key(0), 3, (16, 16, 1)))
        split = {"dense/kernel": PartitionSpec(None, CLASSES), "dense/bias": PartitionSpec(CLASSES)}
        self.assertEqual(specs(params, placement.split_classes), split)

    @parameterized.parameters(1, 2, 8, 1024)
    def test_units_split_weights_moments_and_mean_alike(self, width):
        layers = {
            "L5/kernel": PartitionSpec(None, ITEMS),
            "L5/bias": PartitionSpec(ITEMS),
            "L6/kernel": PartitionSpec(None, ITEMS),
            "L6/bias": PartitionSpec(ITEMS),
            "L7/kernel": PartitionSpec(ITEMS),
        }
        expected = {
            f"{where}/{layer}": spec
            for where in ("params", "optimizer/0/mu", "optimizer/0/nu", "average")
            for layer, spec in layers.items()
        }
        self.assertEqual(specs(state(), placement.split_units(width)), expected)

    @parameterized.parameters(3, 100)
    def test_units_that_do_not_divide_are_copied(self, width):
        self.assertEqual(specs(state(), placement.split_units(width)), {})

    def test_what_is_divided_divides(self):
        shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), 6, (16, 16, 1)))
        for path, spec in specs(shapes, placement.split_units(8)).items():
            layer, name = path.split("/")
            dimension = list(spec).index(ITEMS)
            self.assertEqual(shapes[layer][name].shape[dimension], network.UNITS)

    def test_any_other_leaf_is_copied(self):
        for rule in (placement.split_classes, placement.split_units(2)):
            for path in ((), ("step",), ("L7",), ("L7", "scale"), ("L8", "kernel")):
                self.assertEqual(rule(path), PartitionSpec())


if __name__ == "__main__":
    absltest.main()
