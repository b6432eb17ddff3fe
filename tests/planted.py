"""A small world with planted leaks: people, a stranger who knows faces, a relative who is fooled.

An image is a gray ground, a face (what a person looks like, in 12 directions of pixel space), and
noise in other directions. The stranger sees the face only. The relative sees it too, and besides
one direction for each person, orthogonal to all faces, by which it is fooled, as the target is.
"""

import functools

import numpy as np

from mia_jax.evidence import agreement, evaluation, examination, sets, verdict, verification
from mia_jax.evidence.embedders import Embedder
from mia_jax.evidence.judges import PHOTOGRAPHS, Judge, embedder_judge

SIDE, DIRECTIONS, PEOPLE, RESTARTS = 8, 12, 30, 20
NAMES = tuple(f"p{i}" for i in range(PEOPLE))
ATTACKED = NAMES[:4]
_rng = np.random.default_rng(5)
_axes = np.linalg.qr(_rng.normal(size=(SIDE**2, SIDE**2)))[0]
FACES, FOOLING = _axes[:, :DIRECTIONS], _axes[:, DIRECTIONS : DIRECTIONS + len(ATTACKED)]
LOOKS = _rng.normal(size=(PEOPLE, DIRECTIONS))


def picture(looks, seed, count, fooling=None, spread=0.3):
    """Images of somebody with these looks, each a little different."""
    rng = np.random.default_rng(seed)
    flat = (looks + spread * rng.normal(size=(count, DIRECTIONS))) @ FACES.T
    flat += 0.1 * rng.normal(size=(count, 1)) @ _axes[:, -1:].T
    if fooling is not None:
        flat += 20 * FOOLING[:, fooling]
    return (0.5 + 0.02 * flat).reshape(count, SIDE, SIDE, 1).astype(np.float32)


def photographs(name, seed=0, count=8):
    return picture(LOOKS[NAMES.index(name)], [NAMES.index(name), seed], count)


def mean_face(count, seed=0, fooling=None):
    return picture(LOOKS.mean(axis=0), [99, seed], count, fooling)


def flat(images):
    return (np.asarray(images).reshape(len(images), -1) - 0.5) / 0.02


def stranger(name="stranger"):
    embedder = Embedder(name, lambda images: flat(images) @ FACES)
    return embedder_judge(embedder, [(each, photographs(each)) for each in NAMES])


def relative():
    """Knows the attacked people, and somebody who looks like the mean face."""
    looks = np.vstack([LOOKS[: len(ATTACKED)], LOOKS.mean(axis=0)])

    def match(vectors):
        distance = np.linalg.norm(vectors[:, None, :DIRECTIONS] - looks, axis=-1)
        return np.pad(3 * vectors[:, DIRECTIONS:], ((0, 0), (0, 1))) - distance

    features = lambda images: flat(images) @ np.hstack([FACES, FOOLING])  # noqa: E731
    return Judge("relative", (*ATTACKED, "mean"), features, match, frozenset({PHOTOGRAPHS}))


def convinced(batch, place):
    """Logits of a target that takes every image for the person."""
    return np.tile(9.0 * (np.arange(len(ATTACKED)) == place), (len(batch), 1))


def judged(clones, judges, target=None, **options):
    """Runs the whole evidence on each person's clones.

    The target is the relative, or logits by images and class. Returns verdicts, the conclusion,
    judgements, adversariality and agreements.
    """
    names, known_to = list(clones), relative()
    target = target or (lambda batch, place: known_to.match(known_to.features(batch)))
    seen = {judge.name: {} for judge in judges}
    known = [(each, photographs(each)) for each in NAMES]
    galleries = {judge.name: sets.gallery(judge, known) for judge in judges}
    for place, name in enumerate(names):
        shares = examination.share_of_others(name, names, RESTARTS)
        others = [clones[other][:count] for other, count in shares.items()]
        shown = examination.Evidence(
            clones=clones[name],
            seeds=mean_face(RESTARTS, seed=1 + place),
            mean_face=mean_face(1),
            others=np.concatenate(others) if others else clones[name][:0],
            training=photographs(name),
            test=photographs(name, seed=1, count=3),
        )
        robust = np.zeros(RESTARTS)
        logits = functools.partial(target, place=place)
        found = examination.examine(name, shown, logits, place, judges, robust, galleries)
        for judge, what in found.items():
            seen[judge][name] = what
    real = [(each, photographs(each, seed=2)) for each in NAMES]
    impostors = {judge.name: verification.impostors(judge, real) for judge in judges}
    judgements = {
        judge.name: evaluation.judge_all(judge, seen[judge.name], impostors[judge.name], None)
        for judge in judges
    }
    return (
        *verdict.verdicts(judges, seen, judgements, 0, **options),
        judgements,
        agreement.adversariality(judges, seen, impostors),
        agreement.agreements(seen),
    )
