"""Recipes on molecules: labels and splits, the networks, and all of it once on the data themselves."""

import jax
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import UserError, data, recipes
from mtl_jax.data.source import Molecules
from mtl_jax.experiment import configure
from mtl_jax.recipes import _geometry


@pytest.fixture
def tiny(monkeypatch):
  """40 molecules in place of ClinTox."""
  rng = np.random.default_rng(0)
  labels = rng.integers(-1, 2, (40, 2)).astype(np.int8)
  words = np.array([f"molecule {row}" for row in range(40)])
  bits = np.eye(40, 1024, dtype=np.uint8)  # each tells its row
  found = Molecules(("a", "b"), labels, words, bits, np.sort(rng.integers(9, size=40)).astype(np.int32))
  monkeypatch.setattr(data.source, "molecules", lambda name: found)
  return found


def _rows(arrays):
  return arrays["x"].argmax(axis=1)


def test_labels_and_masks(tiny):
  recipe = recipes.load("clintox")
  splits = recipe.data(0)
  assert splits.about == {"columns": ["a", "b"]}
  for arrays in splits[:3]:
    data.check(arrays, recipe.tasks, recipe.inputs)
    own = tiny.labels[_rows(arrays)]
    np.testing.assert_array_equal(arrays["has toxic"], own[:, 1] >= 0)
    np.testing.assert_array_equal(arrays["toxic"][own[:, 1] >= 0], own[own[:, 1] >= 0, 1])
  assert np.sort(np.concatenate([_rows(arrays) for arrays in splits[:3]])).tolist() == list(range(40))
  np.testing.assert_array_equal(recipe.data(7).test["x"], splits.test["x"])


def test_scaffold_split(tiny):
  splits = recipes.load("clintox", split="scaffold").data(0)
  train, valid, test = ({*tiny.scaffolds[_rows(arrays)].tolist()} for arrays in splits[:3])
  assert not (train & valid or train & test or valid & test)
  sizes = np.bincount(tiny.scaffolds)
  assert sizes.argmax() in train and sizes[list(test)].max() < sizes.max()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"split": "scafold"}, r"clintox: unknown split 'scafold' \(did you mean 'scaffold'\?\)"),
    ({"net": "cnn"}, "clintox: unknown net 'cnn': choose from fingerprint, graph"),
  ],
)
def test_unknown_options(options, message):
  with pytest.raises(UserError, match=message):
    recipes.load("clintox", **options)


def test_graph_network():
  net = recipes.load("clintox", net="graph").network(["toxic"])
  x = {
    "nodes": jax.ShapeDtypeStruct((2, 6, data.smiles.NUM_FEATURES), np.float32),
    "edges": jax.ShapeDtypeStruct((2, 6, 6), np.int8),
    "mask": jax.ShapeDtypeStruct((2, 6), bool),
  }
  params, state = jax.eval_shape(net.init, jax.random.key(0), x)
  assert jax.eval_shape(net.apply, params, state, x)[0]["toxic"].shape == (2, 1)


@pytest.mark.slow
def test_clintox_itself_without_single_task_baselines(real_data, tmp_path):
  """A few steps, compared and written."""
  real_data("molecules", "clintox.npz")
  found = mtl.compare(
    "clintox", ["equal"], steps=30, single_task=False, progress=False, out=tmp_path, say=lambda line: None
  )
  (method,) = found.methods
  assert method.name == "equal" and method.delta_m == [] and "equal" in str(found)
  assert found.metrics == {"approved": "roc_auc", "toxic": "roc_auc"} and method.scores["toxic"][0] > 0.55
  assert not (tmp_path / "delta_m.png").exists() and "nan" in (tmp_path / "comparison.csv").read_text()


# One of methanol, CH4O, and one of hydrogen cyanide, CHN.
ATOMS = np.array([[6, 8, 1, 1, 1, 1], [1, 6, 7, 0, 0, 0]], np.uint8)
PLACES = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)


def test_counts():
  np.testing.assert_array_equal(_geometry.counts(ATOMS), [[4, 1, 0, 1, 0, 1], [1, 1, 1, 0, 0, 1]])


def test_graphs_of_geometry_are_the_formula():
  found = _geometry.graphs(ATOMS, PLACES)
  centres = _geometry._CENTRES

  def radial(row, one, other):
    return np.exp(-(((np.linalg.norm(PLACES[row, one] - PLACES[row, other]) - centres) / 0.3) ** 2))

  assert found["mask"].tolist() == [[True, True], [True, True]]
  np.testing.assert_array_equal(found["nodes"][:, :, :4], [[[1, 0, 0, 0], [0, 0, 1, 0]], [[1, 0, 0, 0], [0, 1, 0, 0]]])
  near = sum(radial(0, 1, hydrogen) for hydrogen in (2, 3, 4, 5))
  np.testing.assert_allclose(found["nodes"][0, 1, 4:], near, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(found["edges"][1, 0, 1], radial(1, 1, 2), rtol=1e-4, atol=1e-6)
  assert not found["edges"][:, [0, 1], [0, 1]].any()


def test_turning_a_molecule_changes_nothing():
  turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0].astype(np.float32)
  one, other = (_geometry.graphs(ATOMS, places) for places in (PLACES, PLACES @ turn + 1))
  for key in one:
    np.testing.assert_allclose(one[key], other[key], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_qm9_itself(real_data):
  """The energies less what atoms have alone; units and constants as a run keeps them; a few steps."""
  real_data("qm9", "qm9_20000.npz")
  recipe = recipes.load("qm9", num_molecules=1000)
  splits = recipe.data(0)
  described = data.describe(splits.train, splits.about)
  adapted = recipe.adapt(described)
  assert set(adapted.tasks) == set(recipe.tasks) and len(adapted.tasks) == 11
  whole = data.source.qm9()["u0"][:1000]
  rows = data.parts(1000)[0]
  counts = _geometry.counts(data.source.qm9()["atoms"][:1000][rows])
  fit = np.array(described.about["per_element"]["u0"])
  np.testing.assert_allclose(splits.train["u0"] + counts @ fit, whole[rows], atol=1e-5)
  assert np.std(whole) > 5 and splits.train["u0"].std() < 0.1
  task = adapted.tasks["alpha"]
  assert task.main_metric == "mae" and not task.higher_is_better
  labels, mae = splits.train["alpha"], task.metrics["mae"]
  error = mae.compute(mae.update(np.zeros(800, np.float32), labels, np.ones(800)))  # of predicting the mean
  assert float(error) == pytest.approx(np.abs(labels - labels.mean()).mean(), rel=1e-4)
  experiment = configure(recipe, steps=40, tasks=("r2", "zpve"))
  from mtl_jax.experiment.run import train_run

  _, test = train_run(experiment, splits, progress=False)
  assert test["r2"]["r2"] > 0.3 and test["zpve"]["r2"] > 0.3
