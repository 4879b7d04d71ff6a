"""Molecules in space as graphs: every heavy atom sees every other, and the hydrogens, at their distances."""

from __future__ import annotations

import numpy as np

_HEAVY = (6, 7, 8, 9)
_CENTRES = np.linspace(0.8, 6.5, 20, dtype=np.float32)  # Angstrom, from bonds to the ends of a molecule


def counts(atoms: np.ndarray) -> np.ndarray:
  """How many atoms of H, C, N, O and F each molecule has, and a column of ones: (N, 6) of atomic numbers (N, A)."""
  elements = [(atoms == number).sum(axis=1) for number in (1, *_HEAVY)]
  return np.stack([*elements, np.ones(len(atoms))], axis=1)


def graphs(atoms: np.ndarray, positions: np.ndarray) -> dict[str, np.ndarray]:
  r"""Graphs for `mtl.nn.MessagePassing`, whose nodes are the heavy atoms.

  A distance d is seen through radial functions, $\exp(-(d - c)^2 / s^2)$, with centres c at intervals s of 0.3.

  Args:
    atoms: Atomic numbers, (N, A), 0 at padding.
    positions: In Angstrom, (N, A, 3).

  Returns:
    `nodes` (N, V, 4 + 20) float32, the element as one 1 among zeros and the sum of the radial functions of the
    hydrogens; `edges` (N, V, V, 20) float32, the radial functions; `mask` (N, V) bool.
  """
  order = np.argsort(atoms <= 1, axis=1, kind="stable")[:, : (atoms > 1).sum(axis=1).max()]  # heavy atoms first
  heavy = np.take_along_axis(atoms, order, axis=1)
  places = np.take_along_axis(positions, order[..., None], axis=1)
  mask = heavy > 1
  # One atom after the other, since all at once take much memory.
  hydrogens = ((positions[:, [atom]], atoms[:, atom] == 1) for atom in range(atoms.shape[1]))
  near = sum(_radial(places, place)[:, :, 0] * there[:, None, None] for place, there in hydrogens)
  elements = (heavy[..., None] == np.array(_HEAVY)).astype(np.float32)
  nodes = np.concatenate([elements, near], axis=2) * mask[..., None]
  others = mask[:, :, None] & mask[:, None, :] & ~np.eye(mask.shape[1], dtype=bool)
  return {"nodes": nodes, "edges": _radial(places, places) * others[..., None], "mask": mask}


def _radial(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
  distances = np.linalg.norm(ones[:, :, None] - others[:, None], axis=-1)
  return np.exp(-np.square((distances[..., None] - _CENTRES) / (_CENTRES[1] - _CENTRES[0])))
