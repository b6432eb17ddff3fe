"""Whole attacks, ready to run: the paper's, one for each prior, and the best one.

A recipe is a function of the model and of the attacker's auxiliary faces. It returns an `Attack`,
which is a value: any part of it can be replaced. What all recipes take about the descent itself is
a `Descent`; each has its own defaults.
"""

from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.attack import descents, linear, seeds, spaces
from mia_jax.attack.descents import (
    FEW_FACES,
    FROM_TEMPLATES,
    GENERATED,
    MANY_FACES,
    PAPER,
    RETOUCHED,
    Descent,
)
from mia_jax.attack.generators import components as local
from mia_jax.attack.generators import (
    eigenfaces,
    mobile_stylegan_files,
    photorealistic,
    readout,
    retouched,
    shapes,
    vae,
)
from mia_jax.attack.generators.landmarks import LandmarkFn, dlib_landmarks
from mia_jax.attack.inversion import Attack
from mia_jax.attack.objectives import ApplyFn
from mia_jax.runtime.keys import key_for

PRIOR = 0.2  # Standardized logits count five times as much as a standard normal density.
MANY = 1000  # Auxiliary faces from which on `best` has eigenfaces enough.

Faces = jax.Array | np.ndarray


def paper(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    seed_image: seeds.SeedFn = seeds.mean_of_subset,
    **descent: Unpack[Descent],
) -> Attack:
    """Descends over the pixels at a fixed rate, from the mean of 256 unrelated faces.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`.
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces.
      seed_image: Where a restart starts; from `seeds`.
      **descent: As in `Descent`, by default `PAPER`.

    Returns:
      The attack.

    Raises:
      UserError: If an argument is out of range.

    Source: section 3, equations 6 to 10, and section 4.4.
    """
    wanted = descents.checked(auxiliary, PAPER | descent)
    space = spaces.pixels(jnp.asarray(auxiliary), seed_image)
    return descents.attack(apply_fn, auxiliary, space, wanted)


def best(apply_fn: ApplyFn, auxiliary: Faces, **arguments: Any) -> Attack:
    """Descends over eigenfaces as suits the number of faces: the strongest attack there is here.

    What it chooses was set by attacking shadow recognizers of auxiliary people: docs/calibrate.md.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`.
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces.
      **arguments: Those of `of_eigenfaces` that are to be other than `choice` has them.

    Returns:
      The attack.

    Raises:
      UserError: If an argument is out of range, or there are too few faces.
    """
    return of_eigenfaces(apply_fn, auxiliary, **{**choice(len(auxiliary)), **arguments})


def choice(faces: int) -> dict[str, Any]:
    """Says what `best` does with so many auxiliary faces.

    Few faces span few others: a small lead is asked for, and the waves must bring the rest. From
    `MANY` on there are eigenfaces enough for a likeness, and a large lead makes it larger.

    Args:
      faces: How many auxiliary faces there are.

    Returns:
      Arguments of `of_eigenfaces`.
    """
    if faces < MANY:
        return {"components": 60, "wave_deviation": 0.25, **FEW_FACES}
    return {"components": 500, "wave_deviation": 0.15, **MANY_FACES}


def of_eigenfaces(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    components: int = 60,
    waves: int = 24,
    wave_deviation: float = 0.25,
    spread: float = 0.5,
    prior: float = PRIOR,
    seed_image: seeds.SeedFn = seeds.mean_of_subset,
    **descent: Unpack[Descent],
) -> Attack:
    """Descends over eigenfaces and waves.

    The loss decides whether a clone is recognized and the prior whether it looks like a face. The
    margin ends the descent at a lead of the target's logit above that of photographs. The waves are
    for what none of the strangers has.

    Args:
      apply_fn: As in `paper`.
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces: at least
        `components / 2 + 1` of them.
      components: How many eigenfaces.
      waves: How many frequencies of waves along each axis complete them; 0 for none.
      wave_deviation: Standard deviation of a pixel over random draws of the waves.
      spread: Standard deviation of Gaussian noise on the first coefficients.
      prior: Weight of half the squared coefficients.
      seed_image: As in `paper`; a restart starts from its projection.
      **descent: As in `Descent`, by default `FEW_FACES`.

    Returns:
      The attack.

    Raises:
      UserError: If an argument is out of range, or there are too few faces.
    """
    wanted = descents.checked(auxiliary, FEW_FACES | descent)
    space = eigenfaces.space(
        np.asarray(auxiliary),
        components,
        waves=waves,
        wave_deviation=wave_deviation,
        seed=seed_image,
        spread=spread,
        prior=prior,
    )
    return descents.attack(apply_fn, auxiliary, space, wanted)


def of_templates(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    features: np.ndarray,
    templates: np.ndarray,
    mirrored: np.ndarray | None = None,
    components: int = 200,
    gain: float = 1.5,
    spread: float = 0.25,
    prior: float = PRIOR,
    **descent: Unpack[Descent],
) -> Attack:
    """Puts templates through a linear map, and descends from there.

    The map is learned from the features of the auxiliary faces, which weights give, or the right to
    ask; it needs no gradient. One iteration leaves its image almost as it is.

    Args:
      apply_fn: As in `paper`; of an embedder `recognizer.templates.recognizer`.
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces, two or more.
      features: `[n, features]`, of these; of an embedder of length 1.
      templates: `[classes, features]`; for a classifier from `linear.templates_of_rows`.
      mirrored: `[n, features]`, of the mirror images of these; None to do without.
      components: How many directions of what the map cannot tell, fewer where faces are few.
      gain: How far from the mean face, in units of what the map says.
      spread: Standard deviation of Gaussian noise on the first coordinates of these.
      prior: Weight of half their squares.
      **descent: As in `Descent`, by default `FROM_TEMPLATES`.

    Returns:
      The attack.

    Raises:
      UserError: If an argument is out of range, or features and faces are not as many.

    Source: one ridge regression, as the linear layer of Face Adapter (2411.03960) is.
    """
    wanted = descents.checked(auxiliary, FROM_TEMPLATES | descent)
    faces = np.asarray(auxiliary)
    fitted = linear.fit(features, faces, mirrored)
    some = slice(linear.MOST)
    directions = min(components, len(faces[some]) - 1)
    rest = linear.residuals(fitted, features[some], faces[some], directions)
    space = linear.around(fitted, templates, rest, gain=gain, spread=spread, prior=prior)
    return descents.attack(apply_fn, auxiliary, space, wanted)


def of_components(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    components: int = 20,
    windows: int = 6,
    independence: float = 0.3,
    spread: float = 0.5,
    prior: float = PRIOR,
    seed_image: seeds.SeedFn = seeds.mean_of_subset,
    **descent: Unpack[Descent],
) -> Attack:
    """Descends over local components, which combine eyes, noses and mouths of many people.

    Args:
      apply_fn: As in `paper`.
      auxiliary: As in `paper`.
      components: How many of each window.
      windows: How many windows along each axis.
      independence: How freely windows combine, in (0, 1].
      spread: Standard deviation of Gaussian noise on the first coordinates.
      prior: Weight of half the squared coordinates.
      seed_image: As in `paper`; a restart starts from its projection.
      **descent: As in `Descent`, by default `FEW_FACES`.

    Returns:
      The attack.

    Raises:
      UserError: If an argument is out of range, or there are too few faces.
    """
    wanted = descents.checked(auxiliary, FEW_FACES | descent)
    space = local.space(
        np.asarray(auxiliary),
        components=components,
        windows=windows,
        independence=independence,
        seed=seed_image,
        spread=spread,
        prior=prior,
    )
    return descents.attack(apply_fn, auxiliary, space, wanted)


def of_shapes(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    landmarks: LandmarkFn | None = None,
    components: int = 20,
    independence: float = 0.3,
    spread: float = 0.5,
    prior: float = PRIOR,
    seed_image: seeds.SeedFn = seeds.mean_of_subset,
    **descent: Unpack[Descent],
) -> Attack:
    """Descends over shapes and textures of faces, whose eyes and mouths are sharp.

    Args:
      apply_fn: As in `paper`.
      auxiliary: As in `paper`.
      landmarks: Finds the same points in every face; by default dlib's, whose predictor is not for
        commercial use.
      components: How many of the shape.
      independence: How freely windows of the texture combine, in (0, 1].
      spread: Standard deviation of Gaussian noise on the first coordinates.
      prior: Weight of half the squared coordinates.
      seed_image: As in `paper`, of the textures in the mean shape.
      **descent: As in `Descent`, by default `FEW_FACES`.

    Returns:
      The attack.

    Raises:
      MissingError: If dlib or its predictor is not installed.
      UserError: If an argument is out of range, or landmarks are found in too few faces.
    """
    wanted = descents.checked(auxiliary, FEW_FACES | descent)
    space = shapes.space(
        np.asarray(auxiliary),
        landmarks or dlib_landmarks(),
        components=components,
        independence=independence,
        seed=seed_image,
        spread=spread,
        prior=prior,
    )
    return descents.attack(apply_fn, auxiliary, space, wanted)


def of_autoencoder(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    latents: int = 64,
    steps: int = 1500,
    spread: float = 0.5,
    prior: float = PRIOR,
    seed_image: seeds.SeedFn = seeds.mean_of_subset,
    **descent: Unpack[Descent],
) -> Attack:
    """Descends over the latents of an autoencoder, which is trained on the auxiliary faces first.

    Args:
      apply_fn: As in `paper`.
      auxiliary: As in `paper`.
      latents: Numbers that make a face.
      steps: Of the training, which always starts from the same weights; minutes on a CPU.
      spread: Standard deviation of Gaussian noise on the first coordinates.
      prior: Weight of half the squared coordinates.
      seed_image: As in `paper`; a restart starts from its latent.
      **descent: As in `Descent`, by default `FEW_FACES`.

    Returns:
      The attack.

    Raises:
      UserError: If an argument is out of range.
    """
    wanted = descents.checked(auxiliary, FEW_FACES | descent)
    auxiliary = np.asarray(auxiliary)
    key = key_for(jax.random.key(0), "an autoencoder")
    fitted = vae.fit(key, auxiliary, latents=latents, steps=steps)
    space = vae.space(fitted, auxiliary, seed=seed_image, spread=spread, prior=prior)
    return descents.attack(apply_fn, auxiliary, space, wanted)


def of_photographs(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    network: photorealistic.Network | None = None,
    components: int = 256,
    spread: float = 1.0,
    prior: float = PRIOR,
    **descent: Unpack[Descent],
) -> Attack:
    """Descends over the styles of a photorealistic generator, from the best of many draws.

    On a CPU the generator is cut, and half a minute goes into the readout of the cut; on an
    accelerator the whole of it runs.

    Args:
      apply_fn: As in `paper`.
      auxiliary: As in `paper`: only the framing and the light are fitted to them.
      network: From `mobile_stylegan_files.load`; by default that of the installed package, which
        is not for commercial use.
      components: Numbers that make a face, besides contrast and brightness.
      spread: Standard deviation of the draws.
      prior: Weight of half the squared coordinates.
      **descent: As in `Descent`, by default `GENERATED`.

    Returns:
      The attack.

    Raises:
      MissingError: If the package is not installed.
      UserError: If an argument is out of range, or a file of the package is damaged.
    """
    wanted = descents.checked(auxiliary, GENERATED | descent)
    network = network or mobile_stylegan_files.load()
    latents = photorealistic.fit_latents(jax.random.key(0), network, components)

    def draw(key: jax.Array) -> jax.Array:
        return photorealistic.style(latents, jax.random.normal(key, (components,)))

    key = key_for(jax.random.key(0), "a readout")
    cut = readout.fit(key, network, draw) if _on_cpu() else None
    space = photorealistic.space(
        network, latents, cut, np.asarray(auxiliary), prior=prior, spread=spread
    )
    return descents.attack(apply_fn, auxiliary, space, wanted)


def of_retouched(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    network: photorealistic.Network | None = None,
    components: int = 256,
    retouch: float = 0.5,
    spread: float = 1.0,
    prior: float = PRIOR,
    **descent: Unpack[Descent],
) -> Attack:
    """Descends over the generator's photographs and over a blurred likeness on top of them.

    The likeness is of up to 500 eigenfaces and of waves, as in `best`.

    Args:
      apply_fn: As in `paper`.
      auxiliary: As in `paper`.
      network: As in `of_photographs`.
      components: As in `of_photographs`.
      retouch: Deviations of the eigenfaces and waves, as a fraction of those that `best` has with
        many faces; 0 leaves the photographs.
      spread: As in `of_photographs`.
      prior: As in `of_photographs`; also of half the squared coefficients of the likeness.
      **descent: As in `Descent`, by default `RETOUCHED`.

    Returns:
      The attack.

    Raises:
      MissingError: As `of_photographs`.
      UserError: As `of_photographs`, or if there are fewer than two faces.
    """
    wanted = descents.checked(auxiliary, RETOUCHED | descent)
    faces, many = np.asarray(auxiliary), choice(MANY)
    likeness = eigenfaces.fit(faces, min(many["components"], 2 * len(faces) - 1))
    waves = min(24, *faces.shape[1:3])
    likeness = eigenfaces.with_waves(likeness, waves, many["wave_deviation"])
    likeness = likeness._replace(components=retouch * likeness.components)
    photographs = of_photographs(
        apply_fn,
        faces,
        network=network,
        components=components,
        spread=spread,
        prior=prior,
        **wanted,
    )
    return photographs._replace(space=retouched.space(photographs.space, likeness, prior))


def _on_cpu() -> bool:
    """Tells whether the attack will run on a CPU."""
    return jax.default_backend() == "cpu"
