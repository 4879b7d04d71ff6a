"""Runnable experiments, one per file: data, network and tasks in one screenful; and those of the user's own."""

from mtl_jax.recipes._find import checked as checked
from mtl_jax.recipes._find import find as find
from mtl_jax.recipes._find import load as load
from mtl_jax.recipes._find import names as names
from mtl_jax.recipes._find import traceback_in as traceback_in
from mtl_jax.recipes._recipe import Recipe as Recipe
from mtl_jax.recipes._recipe import Splits as Splits
