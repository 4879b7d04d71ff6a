"""Molecules as fingerprints, scaffolds and graphs, by RDKit."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import UserError
from mtl_jax.data import smiles

ETHANOL, BENZENE, TOLUENE, ACID = "CCO", "c1ccccc1", "Cc1ccccc1", "CC(=O)[O-]"


@pytest.fixture
def rdkit():
  return pytest.importorskip("rdkit")


def test_readable(rdkit):
  assert smiles.readable([ETHANOL, "C(C)(C)(C)(C)C", "?"]).tolist() == [True, False, False]


def test_fingerprints_do_not_depend_on_how_a_molecule_is_written(rdkit):
  found = smiles.fingerprints([ETHANOL, "OCC", BENZENE])
  assert found.shape == (3, 1024) and found.dtype == np.uint8
  np.testing.assert_array_equal(found[0], found[1])
  # By hand: C, C, O; their neighbourhoods of one bond (CC, CCO, CO), those of two being the whole molecule.
  assert found[0].sum() == 6 and found[2].sum() == 3
  assert smiles.fingerprints([ETHANOL], size=64).shape == (1, 64)


def test_scaffolds_are_rings(rdkit):
  assert smiles.scaffolds([ETHANOL, TOLUENE, BENZENE, "CC", "C1CC1"]).tolist() == [0, 1, 1, 0, 2]


def test_graphs(rdkit):
  found = smiles.graphs([ACID, BENZENE], max_atoms=5)
  assert {key: (value.shape, value.dtype) for key, value in found.items()} == {
    "nodes": ((2, 5, smiles.NUM_FEATURES), np.float32),
    "edges": ((2, 5, 5), np.int8),
    "mask": ((2, 5), bool),
  }
  assert found["mask"].sum(axis=1).tolist() == [4, 5]  # the sixth of benzene has no room
  np.testing.assert_array_equal(found["edges"][0, :4, :4], [[0, 1, 0, 0], [1, 0, 2, 1], [0, 2, 0, 0], [0, 1, 0, 0]])
  assert (found["edges"][1] == 4).sum() == 8 and (found["edges"] == found["edges"].transpose(0, 2, 1)).all()
  assert not found["nodes"][0, 4].any()
  methyl, _, _, oxygen = found["nodes"][0, :4]
  assert methyl[0] == 1 and oxygen[2] == 1 and oxygen[-3] == -1 and not oxygen[-2:].any()
  assert found["nodes"][1, :, -2:].all()  # aromatic, in a ring


def test_graphs_are_what_message_passing_takes(rdkit):
  graphs = jax.tree.map(jnp.asarray, smiles.graphs([ACID, BENZENE], max_atoms=6))
  net = mtl.from_linen(mtl.nn.MessagePassing(bonds=5, width=8, layers=1))
  params, state = net.init(jax.random.key(0), graphs)
  assert net.apply(params, state, graphs)[0].shape == (2, 8)


def test_what_cannot_be_read_is_named(rdkit):
  with pytest.raises(UserError, match=r"cannot read molecule 1, 'C\(': leave it out"):
    smiles.graphs([ETHANOL, "C("])


@pytest.mark.parametrize("function", [smiles.readable, smiles.fingerprints, smiles.scaffolds, smiles.graphs])
def test_rdkit_is_missing(function, monkeypatch):
  monkeypatch.setitem(sys.modules, "rdkit", None)
  with pytest.raises(UserError, match="need RDKit"):
    function([ETHANOL])
