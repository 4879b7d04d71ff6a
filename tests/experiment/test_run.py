"""The probe of a comparison: cosines between gradients, on batches that fit where the step does."""

import jax
import numpy as np

import mtl_jax as mtl
from mtl_jax.analysis import gradient_cosines
from mtl_jax.experiment.config import configure, problem_of
from mtl_jax.experiment.run import compile_run, cosine_probe


def test_cosines_are_the_mean_over_batches_of_the_size_of_training():
  experiment = configure("digits", batch_size=32)
  splits = experiment.recipe.data(0)
  state = compile_run(experiment, splits).create(jax.random.key(0))
  losses = mtl.objective(problem_of(experiment, mtl.data.describe(splits.train)), train=False)
  cosines = jax.jit(gradient_cosines(losses))
  rows = [jax.tree.map(lambda leaf, at=at: leaf[at : at + 32], splits.valid) for at in range(0, 256, 32)]
  each = [cosines(state.params, state.state, batch) for batch in rows]
  found = cosine_probe(experiment, splits)(state)
  assert found.keys() == each[0].keys() and len(found) == 3
  for pair, value in found.items():
    np.testing.assert_allclose(value, np.mean([one[pair] for one in each]), rtol=1e-4)
