"""The panel: who judges the clones, by flags, and what each has in common with the target."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags, logging

from experiments import devices, experiment, imported, judge_files, path_flags, provenance
from experiments.trained import Trained
from mia_jax.evidence import embedders, judges, sets, verification
from mia_jax.evidence.embedders import Embedder
from mia_jax.evidence.judges import Judge
from mia_jax.faces import Faces, protocol
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.recognizer import acquaintance, templates
from mia_jax.runtime import packages
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

EVALUATORS = "evaluators"  # All recognizers that were trained to judge.
ENROLLED = 20  # Photographs of a person that an embedder is shown, at most.
_STRANGERS = 100  # People whose photographs are put forward as somebody else, at most.
_GALLERY = 1000  # People whose photographs are compared with clones of others, at most.
_ASKED = 16  # Faces that target and judge are shown, to tell whether they are the same.
OWN = "name your own as --judge=FILE.onnx or --judge=module:function"

_JUDGES = flags.DEFINE_list(
    "judges",
    None,
    f"Who judges the clones: {EVALUATORS}, the recognizers trained for it, and {embedders.DLIB}, a "
    "face embedder that shares nothing with the target; by default both, the latter if installed.",
)
_JUDGE = path_flags.define_multi(
    "judge",
    "A judge of your own, which shares nothing with the target: a face embedder in a file (.onnx, "
    ".pt2, .keras, .jaxexport), prepared as a JSON file beside it says, else as it does best; or "
    "module:function, a function from images [n, height, width, channels], float32 in [0, 1], to "
    "features [n, k], near each other for the same person. May be repeated.",
)


class Wanted(NamedTuple):
    """Who is to judge.

    Attributes:
      embedders: Those who know people by enrolled photographs.
      evaluators: The names of the recognizers.
    """

    embedders: tuple[Embedder, ...]
    evaluators: tuple[str, ...]


def names(roles: Protocol) -> tuple[str, ...]:
    """Lists the judges whom the flags ask for, in the order in which they appear.

    Args:
      roles: Who is who.

    Returns:
      Their names, embedders first.

    Raises:
      UserError: If a name is unknown, or nobody is asked.
    """
    asked = _JUDGES.value
    for name in asked or ():
        if name not in (EVALUATORS, embedders.DLIB):
            raise UserError(
                f"--judges={name} is no judge: choose from {EVALUATORS} and {embedders.DLIB}, and "
                f"{OWN}"
            )
    if asked is None:
        asked = [EVALUATORS, *([embedders.DLIB] if embedders.dlib_installed() else [])]
    found = [embedders.DLIB] if embedders.DLIB in asked else []
    found += [*map(_called, _JUDGE.value), *(roles.evaluators if EVALUATORS in asked else ())]
    if not found:
        raise UserError(f"--judges= names nobody: choose from {EVALUATORS} and {embedders.DLIB}")
    if len(set(found)) < len(found):
        raise UserError(
            f"the judges {', '.join(found)} need names of their own: a judge that is a file is "
            "called as the file is, without its ending"
        )
    return tuple(found)


def _called(path: str) -> str:
    """Names a judge of the user's."""
    return path if imported.is_function(path) else judge_files.name_of(path)


def known(roles: Protocol, judge: str) -> tuple[str, ...]:
    """Returns which of the target's people a judge knows: an embedder all of them."""
    return roles.classes[judge if judge in roles.evaluators else TARGET]


def from_flags(loaded: Faces, roles: Protocol) -> Wanted:
    """Makes the embedders whom the flags ask for, each of which is seen to work.

    Args:
      loaded: All faces.
      roles: Who is who.

    Returns:
      Who is to judge.

    Raises:
      UserError: If a name is unknown, nobody is asked, or an embedder does not work.
    """
    asked, shape = names(roles), loaded.images.shape[1:]
    made = [
        _own(path, shape)
        if imported.is_function(path)
        else judge_files.embedder(path, shape, _sample(loaded, roles))
        for path in _JUDGE.value
    ]
    if embedders.DLIB in asked:
        made.insert(0, _dlib(embedders.dlib_embedder))
    if not made:
        logging.warning(
            "No judge is independent of the target, so that every verdict is inconclusive: %s, or "
            "%s",
            packages.hint("judge"),
            OWN,
        )
    elif len(made) == 1:
        logging.info(
            "Only %s judges that is independent of the target: a second one says whether they "
            "agree (--judge=FILE.onnx)",
            made[0].name,
        )
    return Wanted(tuple(made), tuple(name for name in asked if name in roles.evaluators))


@functools.cache  # The looks before a run and its stages share them, and what they remember.
def _own(path: str, shape: tuple[int, ...]) -> Embedder:
    """Makes an embedder of the user's function."""
    return embedders.own_embedder(path, imported.imported_function("judge", path), shape)


def _sample(loaded: Faces, roles: Protocol) -> judge_files.Sample:
    """Draws photographs by which a judge's preparation is found out, none that tests."""
    photographs = real_photographs(loaded, roles, loaded.names[:_GALLERY], test=False)
    several = [images for _, images in photographs if len(images) > 1]
    people = np.repeat(np.arange(len(several)), [len(images) for images in several])
    few = acquaintance.sample(people) if len(people) else people
    _, people = np.unique(people[few], return_inverse=True)
    images = np.concatenate(several)[few] if several else np.zeros((0, *loaded.images.shape[1:]))
    return judge_files.Sample(images, people)


@functools.cache
def _dlib(make: Callable[[int], Embedder]) -> Embedder:
    """Makes dlib's."""
    return make(devices.cores())


def make_judges(
    workdir: WorkDirectory,
    loaded: Faces,
    roles: Protocol,
    target_params: Any,
    wanted: Wanted,
    attacked: WorkDirectory | None = None,
    enrolled: Sequence[str] | None = None,
) -> list[Judge]:
    """Makes a judge of each embedder, and of each evaluator.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who.
      target_params: Weights of the target.
      wanted: Who is asked.
      attacked: Where the target lies; by default with the evaluators.
      enrolled: Whose photographs, but for the test's, are enrolled with the embedders; by default
        everybody's.

    Returns:
      The judges, strangers first.

    Raises:
      UserError: If one is the target itself.
    """
    people = enrolled or loaded.names
    made = [
        judges.embedder_judge(embedder, real_photographs(loaded, roles, people, test=False))
        for embedder in wanted.embedders
    ]
    for name in wanted.evaluators:
        params, _, architecture, *_ = experiment.load_recognizer(workdir, name)
        assert architecture is not None  # Evaluators are trained here.
        judges.check_independent(name, params, target_params)
        known_to, shares = roles.classes[name], shares_of(workdir, roles, name, attacked)
        made.append(judges.recognizer_judge(name, known_to, params, shares, architecture))
    return made


def check_strangers(
    loaded: Faces,
    roles: Protocol,
    names: Sequence[str],
    target: Trained,
    asked: Sequence[Embedder],
) -> None:
    """Refuses a judge that is the attacked model, by its weights or by its answers.

    Both are shown a few of the attacker's faces; where the target may only be asked, test
    photographs, which it is shown in any case.

    Args:
      loaded: All faces.
      roles: Who is who.
      names: Who is attacked.
      target: The attacked model.
      asked: The judges that are said to share nothing with it.

    Raises:
      UserError: If one is the target itself.
    """
    weights = target.params
    if target.templates() is not None:
        weights = weights[templates.EMBEDDER]
    for judge in asked:
        judges.check_independent(f"judge {judge.name}", judge.params, weights)
    if target.remote is None:
        faces = experiment.auxiliary_faces(loaded, roles, _ASKED)
    else:
        tests = [experiment.photographs_of(loaded, name, roles.test) for name in names]
        faces = np.concatenate(tests)[:_ASKED]
    answers = np.asarray(target.embed()(faces))
    for judge in asked:
        judges.check_answers(f"judge {judge.name}", judge.embed(faces), answers)


def files_of(asked: Sequence[Embedder]) -> dict[str, str]:
    """Returns the digests of judges that are files, by name."""
    return {judge.name: judge.digest for judge in asked if judge.digest is not None}


def digests_of(workdir: WorkDirectory, asked: Wanted) -> dict[str, str | None]:
    """Names the judges with the digests of their weights or files: what their word depends on.

    Args:
      workdir: Where the evaluators lie.
      asked: Who is to judge.

    Returns:
      By name; None for an embedder that is a function.
    """
    digests = {role: provenance.recognizer_facts(workdir, role).digest for role in asked.evaluators}
    return {**{each.name: each.digest for each in asked.embedders}, **digests}


def real_photographs(
    loaded: Faces, roles: Protocol, names: Sequence[str], test: bool
) -> Iterator[tuple[str, np.ndarray]]:
    """Reads photographs of people in the data set, whatever their role.

    Args:
      loaded: All faces.
      roles: Who is who.
      names: Whose.
      test: Whether the test photographs of those who have some are among them.

    Yields:
      The name, and at most `ENROLLED` photographs `[n, height, width, channels]` in [0, 1].
    """
    for name in names:
        left_out = () if test else roles.test.get(name, ())
        kept = np.delete(loaded.indices_of(name), list(left_out))[:ENROLLED]
        yield name, np.asarray(loaded.images[kept])


def strangers_of(judge: Judge, loaded: Faces, roles: Protocol) -> verification.Impostors:
    """Puts real photographs of a sample of people forward as everybody else.

    Args:
      judge: Who looks.
      loaded: All faces.
      roles: Who is who.

    Returns:
      What the judge says.
    """
    sample = protocol.shuffled(roles.seed, loaded.names, "strangers")[:_STRANGERS]
    return verification.impostors(judge, real_photographs(loaded, roles, sample, test=True))


def gallery_of(judge: Judge, loaded: Faces, roles: Protocol) -> sets.Gallery:
    """Shows a judge the photographs that are enrolled with embedders, of a sample of people.

    Args:
      judge: Who looks.
      loaded: All faces.
      roles: Who is who.

    Returns:
      Their features, of everybody unless there are very many.
    """
    sample = protocol.shuffled(roles.seed, loaded.names, "gallery")[:_GALLERY]
    return sets.gallery(judge, real_photographs(loaded, roles, sample, test=False))


def shares_of(
    workdir: WorkDirectory,
    roles: Protocol,
    evaluator: str,
    attacked: WorkDirectory | None = None,
) -> set[str]:
    """Tells what an evaluator has in common with the target.

    Args:
      workdir: The work directory.
      roles: Who is who.
      evaluator: Its name.
      attacked: Where the target lies; by default with the evaluator.

    Returns:
      Of `judges.SHARES`.
    """
    common = set()
    target, other = (roles.training[role] for role in (TARGET, evaluator))
    both = target.keys() & other.keys()
    if both:
        common.add(judges.PEOPLE)
    if any(set(target[name]) & set(other[name]) for name in both):
        common.add(judges.PHOTOGRAPHS)
    one, another = (
        provenance.training_settings(home, role)
        for home, role in ((attacked or workdir, TARGET), (workdir, evaluator))
    )
    if one.architecture == another.architecture:
        common.add(judges.ARCHITECTURE)
    if one.augmentation == another.augmentation:
        common.add(judges.VIEWS)
    return common
