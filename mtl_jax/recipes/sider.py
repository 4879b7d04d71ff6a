"""SIDER: the side effects of marketed drugs, in 27 classes of organs."""

from __future__ import annotations

from mtl_jax.recipes import _molecules
from mtl_jax.recipes._recipe import Recipe

TASKS = (
  *("hepatobiliary", "metabolism", "product", "eye", "investigations", "musculoskeletal", "gastrointestinal"),
  *("social", "immune", "reproductive", "neoplasms", "general", "endocrine", "surgical", "vascular", "blood", "skin"),
  *("congenital", "infections", "respiratory", "psychiatric", "renal", "pregnancy", "ear", "cardiac", "nervous"),
  "injury",
)


def sider(split: _molecules.SplitBy = "random", net: _molecules.Network = "fingerprint") -> Recipe:
  """Which side effects drugs have, by the classes of MedDRA, each named by its first word; all labels are there.

  Args:
    split: "random" or "scaffold", as in `_molecules.recipe`.
    net: "fingerprint" or "graph", as in `_molecules.recipe`.

  Returns:
    The recipe; `data` takes the molecules as `mtl.data.source.molecules("sider")` does.

  References:
    Kuhn et al., *The SIDER Database of Drugs and Side Effects*, 2016.
    Wu et al., *MoleculeNet: A Benchmark for Molecular Machine Learning*, 2018.
  """
  return _molecules.recipe(
    "sider",
    TASKS,
    split,
    net,
    summary="Side effects of drugs in 27 classes.",
    steps=300,
    eval_every=30,
  )
