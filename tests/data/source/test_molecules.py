"""Sets of MoleculeNet: from a file like its own, with what RDKit made of it before or by RDKit, and what is refused."""

import gzip
import os
import sys

import numpy as np
import pytest

from mtl_jax import UserError, data

# RDKit cannot read the third: its carbon has five neighbours.
CSV = "one,other,mol_id,smiles\n0,1.0,A,CCO\n,1,B,c1ccccc1C\n1,,C,C(C)(C)(C)(C)C\n1,0,D,c1ccccc1\n"


@pytest.fixture(autouse=True)
def _no_data_dir(monkeypatch):
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)


def _write(directory, text=CSV, name="clintox", **kept):
  folder = directory / "molecules"
  folder.mkdir()
  with gzip.open(folder / f"{name}.csv.gz", "wt") as file:
    file.write(text)
  if kept:
    np.savez(folder / f"{name}.npz", **kept)


def _kept(count=4):
  bits = np.random.default_rng(0).integers(2, size=(count, 1024), dtype=np.uint8)
  valid = np.arange(count) != 2
  return bits, {"ecfp4": np.packbits(bits, axis=1), "scaffold": np.arange(count, dtype=np.int32), "valid": valid}


@pytest.mark.parametrize("by_environment", [False, True])
def test_labels_and_what_was_kept(tmp_path, monkeypatch, by_environment):
  bits, kept = _kept()
  _write(tmp_path, **kept)
  if by_environment:
    monkeypatch.setenv("MTL_JAX_DATA", os.fspath(tmp_path))
  found = data.source.molecules("clintox", None if by_environment else tmp_path)
  assert found.tasks == ("one", "other") and found.labels.dtype == np.int8
  assert found.smiles.tolist() == ["CCO", "c1ccccc1C", "c1ccccc1"]
  np.testing.assert_array_equal(found.labels, [[0, 1], [-1, 1], [1, 0]])
  np.testing.assert_array_equal(found.fingerprints, bits[[0, 1, 3]])
  np.testing.assert_array_equal(found.scaffolds, [0, 1, 3])


def test_by_rdkit(tmp_path):
  pytest.importorskip("rdkit")
  _write(tmp_path)
  found = data.source.molecules("clintox", tmp_path)
  assert found.smiles.tolist() == ["CCO", "c1ccccc1C", "c1ccccc1"] and found.fingerprints.shape == (3, 1024)
  assert found.scaffolds.tolist() == [0, 1, 1]


def test_rdkit_is_missing(tmp_path, monkeypatch):
  _write(tmp_path)
  monkeypatch.setitem(sys.modules, "rdkit", None)
  with pytest.raises(UserError, match=r"need RDKit .*pip install 'mtl-jax\[molecules\]'") as error:
    data.source.molecules("clintox", tmp_path)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("one,words\n1,CC\n", "has the columns one, words, expected one named smiles"),
    ("one,smiles\n2,CC\n", "has the label '2', expected 0, 1 or nothing"),
    ("one,smiles\nx,CC\n", "has the label 'x', expected 0, 1 or nothing"),
    ("one,smiles\n1\n", "has a row of 1 columns, expected 2"),
    ("one,smiles\n", "holds no molecules"),
  ],
)
def test_another_file(tmp_path, text, message):
  _write(tmp_path, text)
  with pytest.raises(UserError, match=message) as error:
    data.source.molecules("clintox", tmp_path)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(("change", "message"), [({"valid": None}, "no valid"), ({}, "3 rows of ecfp4, expected 4")])
def test_what_was_kept_is_of_another_file(tmp_path, change, message):
  kept = _kept(4 if change else 3)[1] | change
  _write(tmp_path, **{key: value for key, value in kept.items() if value is not None})
  with pytest.raises(UserError, match=message):
    data.source.molecules("clintox", tmp_path)


def test_what_is_not_there(tmp_path):
  for call, message in [
    (lambda: data.source.molecules("tox12"), r"unknown set 'tox12' \(did you mean 'tox21'\?\)"),
    (lambda: data.source.molecules("tox21"), r"tox21 is not here: get https://\S+ and put it .* set MTL_JAX_DATA=D"),
    (lambda: data.source.molecules("sider", tmp_path), r"sider is not at .*sider\.csv\.gz: get https://"),
  ]:
    with pytest.raises(UserError, match=message) as error:
      call()
    assert "\n" not in str(error.value)


# As MoleculeNet has them, less what RDKit cannot read.
@pytest.mark.parametrize(
  ("name", "count", "tasks", "labelled"),
  [("tox21", 8006, 12, 0.827), ("sider", 1427, 27, 1.0), ("clintox", 1487, 2, 1.0), ("toxcast", 8597, 617, 0.289)],
)
def test_the_sets_themselves(real_data, name, count, tasks, labelled):
  found = data.source.molecules(name, real_data("molecules", f"{name}.csv.gz"))
  assert found.labels.shape == (count, tasks) == (len(found.smiles), len(found.tasks))
  assert found.fingerprints.shape == (count, 1024) and set(np.unique(found.fingerprints)) == {0, 1}
  assert (found.labels >= 0).mean() == pytest.approx(labelled, abs=1e-3)
