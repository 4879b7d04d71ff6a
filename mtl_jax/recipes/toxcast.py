"""ToxCast: 617 assays of toxicity, most labels of which are missing."""

from __future__ import annotations

from mtl_jax.recipes import _molecules
from mtl_jax.recipes._recipe import Recipe

TASKS = tuple(f"assay_{number:03d}" for number in range(617))


def toxcast(split: _molecules.SplitBy = "random", net: _molecules.Network = "fingerprint") -> Recipe:
  """Assays of the programme ToxCast; 29 % of the labels are there. `about["columns"]` of the data has their names.

  Args:
    split: "random" or "scaffold", as in `_molecules.recipe`.
    net: "fingerprint" or "graph", as in `_molecules.recipe`.

  Returns:
    The recipe; `data` takes the molecules as `mtl.data.source.molecules("toxcast")` does.

  References:
    Richard et al., *ToxCast Chemical Landscape: Paving the Road to 21st Century Toxicology*, 2016.
    Wu et al., *MoleculeNet: A Benchmark for Molecular Machine Learning*, 2018.
  """
  return _molecules.recipe(
    "toxcast",
    TASKS,
    split,
    net,
    rate=0.003,
    summary="Toxicity of molecules in 617 assays, labels missing.",
    expected="8,597 molecules, 600 steps; a mean ROC-AUC of 0.71 over 617 tasks.",
    steps=600,
    eval_every=100,
  )
