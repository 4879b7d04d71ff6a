"""Tox21: twelve ways in which a molecule may be toxic."""

from __future__ import annotations

from mtl_jax.recipes import _molecules
from mtl_jax.recipes._recipe import Recipe

TASKS = (
  *("NR-AR", "NR-AR-LBD", "NR-AhR", "NR-Aromatase", "NR-ER", "NR-ER-LBD", "NR-PPAR-gamma"),
  *("SR-ARE", "SR-ATAD5", "SR-HSE", "SR-MMP", "SR-p53"),
)


def tox21(split: _molecules.SplitBy = "random", net: _molecules.Network = "fingerprint") -> Recipe:
  """Assays of the Tox21 challenge: seven nuclear receptors and five stress responses; 83 % of the labels are there.

  Args:
    split: "random" or "scaffold", as in `_molecules.recipe`.
    net: "fingerprint" or "graph", as in `_molecules.recipe`.

  Returns:
    The recipe; `data` takes the molecules as `mtl.data.source.molecules("tox21")` does.

  References:
    Huang et al., *Tox21Challenge to Build Predictive Models of Nuclear Receptor and Stress Response Pathways*, 2016.
    Wu et al., *MoleculeNet: A Benchmark for Molecular Machine Learning*, 2018.
  """
  return _molecules.recipe(
    "tox21",
    TASKS,
    split,
    net,
    summary="Toxicity of molecules in 12 assays, labels missing.",
    expected="8,006 molecules, 600 steps; a mean ROC-AUC of 0.838 over 12 tasks.",
    steps=600,
    eval_every=60,
  )
