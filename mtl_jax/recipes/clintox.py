"""ClinTox: drugs that were approved, and drugs that failed in clinical trials for their toxicity."""

from __future__ import annotations

from mtl_jax.recipes import _molecules
from mtl_jax.recipes._recipe import Recipe

TASKS = ("approved", "toxic")


def clintox(split: _molecules.SplitBy = "random", net: _molecules.Network = "fingerprint") -> Recipe:
  """Whether a drug was approved, and whether it was toxic in trials; nearly, but not quite, opposites.

  Args:
    split: "random" or "scaffold", as in `_molecules.recipe`.
    net: "fingerprint" or "graph", as in `_molecules.recipe`.

  Returns:
    The recipe; `data` takes the molecules as `mtl.data.source.molecules("clintox")` does.

  References:
    Gayvert et al., *A Data-Driven Approach to Predicting Successes and Failures of Clinical Trials*, 2016.
    Wu et al., *MoleculeNet: A Benchmark for Molecular Machine Learning*, 2018.
  """
  return _molecules.recipe(
    "clintox",
    TASKS,
    split,
    net,
    summary="Approved drugs, and drugs toxic in trials.",
    steps=300,
    eval_every=20,
  )
