"""Tests that purposes have keys that no restart has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import exhibits, strategies
from experiments.trained import Trained
from mia_jax.attack import recipes, selection
from mia_jax.attack.cases import restart_keys
from mia_jax.attack.generators import vae
from mia_jax.recognizer import training
from mia_jax.runtime.keys import key_for

CLASSES = 20_000


def words(keys):
    return {tuple(row) for row in np.asarray(jax.random.key_data(keys)).reshape(-1, 2).tolist()}


def of_restarts(seed):
    """The parent of each class's keys, and the keys of some restarts of some classes."""
    key = jax.random.key(seed)
    classes = jax.vmap(lambda place: jax.random.fold_in(key, place))(jnp.arange(CLASSES))
    few = [restart_keys(key, place, jnp.arange(2000)) for place in (0, 1, 2, 3, 4)]
    return words(classes) | set().union(*map(words, few)) | words(key)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_key_of_a_purpose_is_no_class_s_nor_restart_s(seed):
    key = jax.random.key(seed)
    purposes = ["the attacker's pick", "a copy", "an autoencoder", "a readout"]
    own = [key_for(key, purpose) for purpose in purposes]
    found = set().union(*map(words, own), *(words(jax.random.split(each, 2000)) for each in own))
    assert len(found) == len(own) * 2001
    roles = [training.keys(seed, role) for role in ("target", "evaluator", "first", "second")]
    found |= set().union(*(words(each) for pair in roles for each in pair))
    assert not found & of_restarts(seed)


def test_no_program_folds_a_constant_into_the_experiment_s_key(monkeypatch):
    """What is asked of each place where something but a restart draws."""
    seen = []
    monkeypatch.setattr(selection, "robust_scores", lambda *given: seen.append(given[-1]))
    exhibits.robust_scores(Trained(None, None, None), None, 0, 0)
    monkeypatch.setattr(vae, "fit", lambda key, *_, **__: seen.append(key))
    monkeypatch.setattr(vae, "space", lambda *_, **__: None)
    faces = np.zeros((3, 8, 8, 1), np.float32)
    strategies.SEEDERS["generator"].space(faces)
    recipes.of_autoencoder(None, faces)
    assert len(seen) == 3
    children = [words(key) | words(jax.random.split(key, 2000)) for key in seen]
    assert not set().union(*children) & of_restarts(0)
