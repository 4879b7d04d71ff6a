"""QM9: quantum-chemical properties of small organic molecules."""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.source._folder import arrays_of, folder

_COLUMNS = {  # of qm9pack's tables
  "rot_a": "RotA_GHz",
  "rot_b": "RotB_GHz",
  "rot_c": "RotC_GHz",
  "mu": "Dipole_debye",
  "alpha": "Polarizability_bohr3",
  "homo": "HOMO_au",
  "lumo": "LUMO_au",
  "gap": "HOMO_LUMO_gap_au",
  "r2": "R2_bohr2",
  "zpve": "ZPVE_au",
  "u0": "InternalEnergy_0K_au",
  "u": "InternalEnergy_298K_au",
  "h": "Enthalphy_298K_au",
  "g": "GibbsFreeEnergy_298K_au",
  "cv": "Heatcapacity_Cv_cal_mol_K",
}
_NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
_FILE, _ARRAYS = "qm9_20000.npz", ("z", "pos", "off", "y")


def qm9(data_dir: str | os.PathLike[str] | None = None) -> dict[str, np.ndarray]:
  """Molecules of up to nine atoms of C, N, O and F, and hydrogen: their geometry and 15 properties, by DFT.

  Args:
    data_dir: A directory with a file `qm9/qm9_20000.npz` of any number N of molecules: `z` the atomic numbers and `pos`
      (M, 3) the places of all M atoms, molecule i those from `off[i]` to `off[i + 1]`, and `y` (N, 15) the properties,
      in the order below; None: that of the environment variable `MTL_JAX_DATA`, and where this is not set either, the
      130,831 molecules of the package qm9pack.

  Returns:
    `atoms` (N, A) uint8, the atomic numbers, 0 at padding; `positions` (N, A, 3) float32 in Angstrom; and (N,) float64
    the rotational constants `rot_a`, `rot_b`, `rot_c` in GHz, the dipole moment `mu` in Debye, the polarizability
    `alpha` in Bohr^3, `homo`, `lumo` and their `gap` in Hartree, the extent `r2` in Bohr^2, the zero point energy
    `zpve`, the energies `u0`, `u`, the enthalpy `h` and the free energy `g` in Hartree, and the heat capacity `cv` in
    cal / (mol K).

  Raises:
    UserError: The file is missing or incomplete, or the package is.

  References:
    Ramakrishnan et al., *Quantum Chemistry Structures and Properties of 134 Kilo Molecules*, 2014.
  """
  directory = folder(data_dir)
  return _from_package() if directory is None else _from_file(directory / "qm9" / _FILE)


def _from_file(path: Path) -> dict[str, np.ndarray]:
  if not path.is_file():
    raise UserError(
      f"QM9 is not at {path}: pip install qm9pack and unset MTL_JAX_DATA, or put there what "
      "help(mtl.data.source.qm9) tells of."
    )
  z, pos, off, y = arrays_of("QM9", path, _ARRAYS).values()
  cuts = off[1:-1]
  return _padded(np.split(z, cuts), np.split(pos, cuts), y)


def _from_package() -> dict[str, np.ndarray]:
  found = importlib.util.find_spec("qm9pack")
  if found is None or not found.submodule_search_locations:
    raise UserError(
      f"QM9 is not here: pip install qm9pack, or set MTL_JAX_DATA to a directory D that holds D/qm9/{_FILE}."
    )
  folder = Path(next(iter(found.submodule_search_locations))) / "data"  # the package itself would import pandas
  atoms, positions, values = [], [], []
  for path in sorted(folder.glob("qm9_part*.csv")):
    with path.open(newline="") as file:
      for row in csv.DictReader(file):
        elements = row["Elements"].strip("[]").replace("'", "").split(",")
        places = row["XYZ_Ang"].replace("[", "").replace("]", "").split(",")
        atoms.append(np.array([_NUMBERS[element] for element in elements], np.uint8))
        positions.append(np.array([_number(place) for place in places], np.float32).reshape(-1, 3))
        values.append([_number(row[column]) for column in _COLUMNS.values()])
  if not atoms:
    raise UserError(f"qm9pack has no tables in {folder}, expected qm9_part1.csv and on: install qm9pack 1.0.3.")
  return _padded(atoms, positions, np.array(values))


def _number(word: str) -> float:
  return float(word.replace("*^", "e"))  # as Mathematica writes 1e-6


def _padded(atoms: Sequence[Any], positions: Sequence[Any], values: np.ndarray) -> dict[str, np.ndarray]:
  lengths = np.array([len(own) for own in atoms])
  room = np.arange(lengths.max()) < lengths[:, None]
  numbers, places = np.zeros(room.shape, np.uint8), np.zeros((*room.shape, 3), np.float32)
  numbers[room], places[room] = np.concatenate(atoms), np.concatenate(positions)
  return {"atoms": numbers, "positions": places, **dict(zip(_COLUMNS, values.T, strict=True))}
