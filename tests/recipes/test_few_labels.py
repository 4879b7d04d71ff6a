"""A task of few labels: as many as asked for, in every batch, of the right digit; and it is learned beside others."""

import numpy as np
import pytest

from mtl_jax import recipes
from mtl_jax.experiment import configure, train_run


@pytest.fixture(scope="module")
def few():
  recipe = recipes.load("few_labels", num_images=3000, labels=60)
  return recipe, recipe.data(0)


def test_labels(few):
  _, splits = few
  train, valid, test = splits[:3]
  images = {image.tobytes() for image in train["x"][train["has_digit"] > 0]}
  assert len(images) == 60 and abs(train["has_digit"].mean() - 0.25) < 0.01
  assert len({image.tobytes() for image in train["x"]}) == 3000
  assert valid["has_digit"].sum() == 30 and test["has_digit"].all()
  for part in (train, valid, test):
    there = part["has_digit"] > 0
    assert (part["digit"][~there] == -1).all()
    np.testing.assert_array_equal(part["digit"][there] % 2, part["odd"][there])


@pytest.mark.slow
def test_it_is_learned(few):
  recipe, splits = few
  _, test = train_run(configure(recipe, steps=120), splits, progress=False)
  assert test["digit"]["accuracy"] > 0.3 and test["odd"]["accuracy"] > 0.7  # by chance 0.1 and 0.5
