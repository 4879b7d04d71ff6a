"""QM9: from a file and from the package qm9pack (a small one in its place), and what is said when both fail."""

import os

import numpy as np
import pytest

from mtl_jax import UserError, data

HEADER = (
  "Index,Elements,XYZ_Ang,RotA_GHz,RotB_GHz,RotC_GHz,Dipole_debye,Polarizability_bohr3,HOMO_au,LUMO_au,HOMO_LUMO_gap_au,"
  "R2_bohr2,ZPVE_au,InternalEnergy_0K_au,InternalEnergy_298K_au,Enthalphy_298K_au,GibbsFreeEnergy_298K_au,"
  "Heatcapacity_Cv_cal_mol_K\n"
)
VALUES = np.arange(30.0).reshape(2, 15) - 7
ATOMS = np.array([[8, 1, 1], [6, 7, 0]], np.uint8)
PLACES = np.array([[[0, 0, 0], [0.5, 0, 1e-6], [-0.5, 0, 1]], [[0, 0, 0], [0, 1.25, 0], [0, 0, 0]]], np.float32)


@pytest.fixture(autouse=True)
def _no_data_dir(monkeypatch):
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)


def _assert_right(found):
  assert list(found)[:2] == ["atoms", "positions"] and len(found) == 17
  np.testing.assert_array_equal(found["atoms"], ATOMS)
  np.testing.assert_allclose(found["positions"], PLACES, rtol=1e-6)
  assert (found["mu"].tolist(), found["gap"].tolist(), found["cv"].tolist()) == ([-4, 11], [0, 15], [7, 22])
  assert found["u0"].dtype == np.float64


def _arrays():
  room = ATOMS > 0
  return {"z": ATOMS[room], "pos": PLACES[room], "off": np.array([0, 3, 5], np.int32), "y": VALUES}


@pytest.mark.parametrize("by_environment", [False, True])
def test_from_file(tmp_path, monkeypatch, by_environment):
  (tmp_path / "qm9").mkdir()
  np.savez(tmp_path / "qm9" / "qm9_20000.npz", **_arrays())
  if by_environment:
    monkeypatch.setenv("MTL_JAX_DATA", os.fspath(tmp_path))
  _assert_right(data.source.qm9(None if by_environment else tmp_path))


def test_from_package(tmp_path, monkeypatch):
  folder = tmp_path / "qm9pack" / "data"
  folder.mkdir(parents=True)
  (tmp_path / "qm9pack" / "__init__.py").write_text("raise ImportError('needs pandas')")
  places = ('"[[0.,0.,0.],[0.5,0.,1.*^-6],[-0.5,0.,1.]]"', '"[[0.,0.,0.],[0.,1.25,0.]]"')
  elements = ("\"['O','H','H']\"", "\"['C','N']\"")
  for part in range(2):
    row = ",".join([str(part), elements[part], places[part], *map(str, VALUES[part])])
    (folder / f"qm9_part{part + 1}.csv").write_text(f"{HEADER}{row}\n")
  monkeypatch.syspath_prepend(tmp_path)
  _assert_right(data.source.qm9())


def test_what_is_not_there(tmp_path, monkeypatch):
  (tmp_path / "qm9").mkdir()
  with pytest.raises(UserError, match=r"QM9 is not at .*qm9_20000\.npz: pip install qm9pack"):
    data.source.qm9(tmp_path)
  arrays = _arrays()
  del arrays["off"]
  np.savez(tmp_path / "qm9" / "qm9_20000.npz", **arrays)
  with pytest.raises(UserError, match="has no off, expected the arrays z, pos, off, y"):
    data.source.qm9(tmp_path)
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"QM9 is not here: pip install qm9pack, or set MTL_JAX_DATA") as error:
    data.source.qm9()
  assert "\n" not in str(error.value)


def test_the_molecules_themselves(real_data):
  found = data.source.qm9(real_data("qm9", "qm9_20000.npz"))
  assert found["atoms"].shape == (20_000, 29) and (found["atoms"] > 1).sum(axis=1).max() == 9
  # A C-C bond is longer than a C-H bond, and none is as short as 0.9 Angstrom.
  distances = np.linalg.norm(found["positions"][:50, :, None] - found["positions"][:50, None], axis=-1)
  real = (found["atoms"][:50, :, None] > 0) & (found["atoms"][:50, None] > 0) & ~np.eye(29, dtype=bool)
  assert 0.9 < distances[real].min() < 1.15
  np.testing.assert_allclose(found["lumo"] - found["homo"], found["gap"], atol=2e-4)
