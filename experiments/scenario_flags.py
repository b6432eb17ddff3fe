"""The scenario, and how a method goes about it, by flags."""

from absl import flags

from experiments import asked_target, path_flags, recipe, scenarios, strategies
from experiments.scenarios import GRAY_BOX, SCENARIOS, Method, method
from mia_jax.runtime.errors import UserError

flags.adopt_module_key_flags(asked_target)
_SCENARIO = flags.DEFINE_enum(
    "scenario",
    GRAY_BOX,
    list(SCENARIOS),
    "What the attacker has: the weights; the weights and a part of a photograph of each person; a "
    "model that answers confidences, or labels; the same, of which a copy is made first.",
)
_OPTIONS: tuple[flags.FlagHolder, ...] = (
    flags.DEFINE_enum(
        "strategy",
        None,
        list(strategies.STRATEGIES),
        "How a model that may only be asked is searched: by default differences, or boundary where "
        "it answers labels.",
    ),
    flags.DEFINE_integer(
        "queries",
        None,
        "How many images the model is shown: of each person, or with --scenario=extraction once "
        "for all of them (default 10000).",
        1,
    ),
    flags.DEFINE_enum(
        "seeding",
        None,
        list(strategies.SEEDERS),
        "How the seed of --recipe=paper is found, by confidences: the best of many draws of an "
        "autoencoder, or mixtures of the auxiliary faces, searched in one of three ways. It takes "
        "--queries of each person.",
    ),
    flags.DEFINE_integer(
        "leading", None, "How many numbers of a face are searched by asking (default 60).", 1
    ),
    path_flags.define(
        "mask",
        None,
        "With --scenario=white_box, what is known of the photograph: by default all but eyes, nose "
        "and mouth (parts); or an image file that is bright where it is known.",
    ),
    flags.DEFINE_enum(
        "filter",
        None,
        list(strategies.FILTERS),
        "What is done to the pixels, with --recipe=paper or mi_face: after the last update, or "
        "--filter_every.",
    ),
    flags.DEFINE_integer("filter_every", None, "Updates between two uses of --filter.", 1),
    flags.DEFINE_float(
        "feature_weight",
        None,
        "Weight of the distance from the features of the auxiliary faces that the target likes "
        "most for the person (LOMMA, Diff-MI).",
        0.0,
    ),
)


def from_flags(trained_here: bool = True) -> Method:
    """Returns the method that the flags ask for.

    Args:
      trained_here: Whether more than the logits of the target is known.

    Returns:
      The method.

    Raises:
      UserError: If a flag has no effect, or flags do not fit each other.
    """
    name, wanted = _SCENARIO.value, recipe.from_flags()
    scenario = SCENARIOS[name]
    given = {flag.name: flag.value for flag in _OPTIONS if flag.value is not None}
    for option in given:
        if option not in scenario.options:
            able = [other for other, one in SCENARIOS.items() if option in one.options]
            raise UserError(f"--{option} is only for --scenario={' or '.join(able)}")
    if "filter_every" in given and "filter" not in given:
        raise UserError("--filter_every has no effect without --filter")
    if name == GRAY_BOX and "queries" in given and "seeding" not in given:
        raise UserError("--queries has no effect on weights without --seeding")
    for flag in asked_target.MANNERS:
        if flag.value != flag.default and not (scenario.asks or "seeding" in given):
            raise UserError(f"--{flag.name} has no effect on weights, which are not asked")
    if name == "labels":
        given.setdefault("strategy", "boundary")
    found = method(name, wanted, **given)
    scenarios.check(found, scenarios.ALL if trained_here else scenarios.WEIGHTS)
    return found
