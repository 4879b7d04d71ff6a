"""Molecules written as SMILES: fingerprints, scaffolds and graphs of them, by RDKit.

RDKit is the extra `molecules`: `pip install 'mtl-jax[molecules]'`.

- `readable`: which molecules RDKit can read.
- `fingerprints`: which substructures they have, as vectors of 0 and 1.
- `scaffolds`: a number for the scaffold of each, by which a data set is split.
- `graphs`: atoms and bonds, for `mtl.nn.MessagePassing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.extras import extra

__all__ = ["fingerprints", "graphs", "readable", "scaffolds"]

_ELEMENTS = ("C", "N", "O", "F", "P", "S", "Cl", "Br", "I", "B", "Si")
_HYBRIDS = ("SP", "SP2", "SP3")
_BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
NUM_FEATURES = len(_ELEMENTS) + len(_HYBRIDS) + 6 + 5 + 3
"""Numbers for each atom in `graphs`."""


def readable(smiles: Sequence[str] | np.ndarray) -> np.ndarray:
  """Which molecules RDKit can read: SMILES may be wrong, or break its rules of valence.

  Args:
    smiles: N molecules.

  Returns:
    (N,) bool.

  Raises:
    UserError: RDKit is not installed.
  """
  return np.array([molecule is not None for molecule in _parsed(smiles)], bool)


def fingerprints(smiles: Sequence[str] | np.ndarray, size: int = 1024, radius: int = 2) -> np.ndarray:
  """Extended-connectivity (Morgan) fingerprints: a bit for each circular substructure, folded into `size` bits.

  Args:
    smiles: N molecules.
    size: The number of bits.
    radius: How many bonds around each atom a substructure reaches; 2: ECFP4.

  Returns:
    (N, size) uint8, 0 or 1.

  Raises:
    UserError: RDKit is not installed, or cannot read a molecule.

  References:
    Rogers and Hahn, *Extended-Connectivity Fingerprints*, 2010.
  """
  molecules = _molecules(smiles)
  from rdkit.Chem import rdFingerprintGenerator

  generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=size)
  return np.array([generator.GetFingerprintAsNumPy(molecule) for molecule in molecules], np.uint8).reshape(-1, size)


def scaffolds(smiles: Sequence[str] | np.ndarray) -> np.ndarray:
  """The number of each molecule's Bemis-Murcko scaffold: its rings and what joins them.

  `mtl.data.parts(N, groups=scaffolds(smiles), largest_first=True)` is MoleculeNet's scaffold split.

  Args:
    smiles: N molecules.

  Returns:
    (N,) int32, equal for molecules of one scaffold. All those without rings have the same.

  Raises:
    UserError: RDKit is not installed, or cannot read a molecule.

  References:
    Bemis and Murcko, *The Properties of Known Drugs. 1. Molecular Frameworks*, 1996.
  """
  molecules = _molecules(smiles)
  from rdkit.Chem.Scaffolds import MurckoScaffold

  words = [MurckoScaffold.MurckoScaffoldSmiles(mol=molecule, includeChirality=False) for molecule in molecules]
  numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
  return np.array([numbers[word] for word in words], np.int32)


def graphs(smiles: Sequence[str] | np.ndarray, max_atoms: int = 64) -> dict[str, np.ndarray]:
  """Atoms and bonds without hydrogen, for `mtl.nn.MessagePassing(bonds=5)`.

  Args:
    smiles: N molecules.
    max_atoms: The room A for atoms. Those that a larger molecule has beyond are left out, with their bonds.

  Returns:
    `nodes` (N, A, 28) float32: element, neighbours, hydrogens and hybridization, each as one 1 among zeros, formal
    charge, and whether the atom is aromatic or in a ring; `edges` (N, A, A) int8: 0 for no bond, 1 single, 2 double,
    3 triple, 4 aromatic; `mask` (N, A) bool: False at padding.

  Raises:
    UserError: RDKit is not installed, or cannot read a molecule.
  """
  molecules = _molecules(smiles)
  count = len(molecules)
  nodes = np.zeros((count, max_atoms, NUM_FEATURES), np.float32)
  edges = np.zeros((count, max_atoms, max_atoms), np.int8)
  mask = np.zeros((count, max_atoms), bool)
  for row, molecule in enumerate(molecules):
    atoms = list(molecule.GetAtoms())[:max_atoms]
    nodes[row, : len(atoms)] = [_features(atom) for atom in atoms]
    mask[row, : len(atoms)] = True
    for bond in molecule.GetBonds():
      one, other = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
      if max(one, other) < max_atoms:
        edges[row, one, other] = edges[row, other, one] = _kind(bond)
  return {"nodes": nodes, "edges": edges, "mask": mask}


def _features(atom: Any) -> list[float]:
  def one_of(value, known):
    return [float(value == each) for each in known]

  return [
    *one_of(atom.GetSymbol(), _ELEMENTS),
    *one_of(str(atom.GetHybridization()), _HYBRIDS),
    *one_of(min(atom.GetDegree(), 5), range(6)),
    *one_of(min(atom.GetTotalNumHs(), 4), range(5)),
    float(atom.GetFormalCharge()),
    float(atom.GetIsAromatic()),
    float(atom.IsInRing()),
  ]


def _kind(bond: Any) -> int:
  word = str(bond.GetBondType())
  return 1 + _BONDS.index(word) if word in _BONDS else 1  # bonds that are given and taken count as single ones


def _parsed(smiles: Sequence[str] | np.ndarray) -> list[Any]:
  """RDKit's molecules, None for those that it cannot read."""
  with extra("molecules", "molecules written as SMILES need RDKit for fingerprints, scaffolds and graphs"):
    from rdkit import Chem, rdBase
  with rdBase.BlockLogs():
    return [Chem.MolFromSmiles(str(one)) for one in smiles]


def _molecules(smiles: Sequence[str] | np.ndarray) -> list[Any]:
  found = _parsed(smiles)
  for row, molecule in enumerate(found):
    if molecule is None:
      raise UserError(
        f"RDKit cannot read molecule {row}, {str(smiles[row])!r}: leave it out, mtl.data.smiles.readable says which."
      )
  return found
