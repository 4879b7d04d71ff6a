"""Dependencies: trees against all trees, the loss against numpy, what is refused."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

import mtl_jax as mtl
from mtl_jax.tasks import _trees

RELATIONS = 4
NONE = np.finfo(np.float32).min
best_trees = jax.jit(_trees.best_trees)


def is_tree(heads):
  """Whether every word, numbered from 1, comes to 0, of which one word is the head's."""
  for word in range(1, len(heads) + 1):
    for _ in heads:
      word = heads[word - 1] if word else 0
    if word:
      return False
  return heads.count(0) == 1


def all_trees(size):
  return [heads for heads in itertools.product(range(size + 1), repeat=size) if is_tree(heads)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_trees_are_the_best_of_all(size):
  rng = np.random.default_rng(size)
  scores = log_softmax(4 * rng.normal(size=(50, size, size + 1)), axis=-1).astype(np.float32)
  for i in range(size):
    scores[:, i, i + 1] = NONE
  trees = all_trees(size)
  assert len(trees) == size ** (size - 1)  # Cayley
  totals = [[one[np.arange(size), list(heads)].sum() for heads in trees] for one in scores.astype(float)]
  found = [tuple(map(int, row)) for row in best_trees(scores)]
  assert set(found) <= set(trees)
  got = [totals[i][trees.index(heads)] for i, heads in enumerate(found)]
  np.testing.assert_allclose(got, np.max(totals, axis=1), atol=1e-3)  # float32 at 40 (size + 1)
  greedy = scores.argmax(-1)
  assert size < 3 or any(tuple(own) not in trees for own in greedy)  # so that there is something to do


def test_sentences_of_a_row_have_trees_of_their_own():
  rng = np.random.default_rng(0)
  segments = np.array([[1] * 4 + [2] * 3 + [3] + [0] * 2, [1] * 10])
  scores = (3 * rng.normal(size=(2, 10, 11))).astype(np.float32)
  possible = (segments[:, :, None] == segments[:, None]) & ~np.eye(10, dtype=bool)
  possible = np.pad(possible, ((0, 0), (0, 0), (1, 0)), constant_values=True) & (segments > 0)[..., None]
  found = np.asarray(best_trees(np.where(possible, scores, NONE)))
  for begin, end in ((0, 4), (4, 7), (7, 8)):
    alone = scores[:1, begin:end, [0, *range(begin + 1, end + 1)]]
    alone = np.where(np.eye(end - begin, end - begin + 1, 1, dtype=bool), NONE, alone)
    own = np.asarray(best_trees(alone))[0]
    np.testing.assert_array_equal(found[0, begin:end], np.where(own > 0, own + begin, 0))
  assert not found[0, 8:].any() and is_tree(list(map(int, found[1])))


SEGMENTS = np.array([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 2, 2]])
HEADS = np.array([[2, 0, 2, 0, 1, -1], [0, 2, 0, 2, 3, -1]])
KINDS = np.array([[1, 0, 2, 0, 3, -1], [0, 1, 0, 2, 3, -1]])
COLUMNS = np.array([[2, 0, 2, 0, 4, 0], [0, 3, 0, 3, 4, 0]])
BATCH = {"h": HEADS, "r": KINDS, "x": {"segments": SEGMENTS}}
task = mtl.tasks.dependencies("h", "r", RELATIONS, segments=("x", "segments"), names=["root", "nsubj", "obj", "case"])


def prediction(rng=None):
  """Of a head with random weights."""
  rng = rng or np.random.default_rng(0)
  head = mtl.from_linen(mtl.nn.BiaffineHead(RELATIONS, 8, 4))
  x = {"x": jnp.asarray(rng.normal(size=(2, 6, 5)), jnp.float32), "segments": jnp.asarray(SEGMENTS, jnp.int32)}
  params, state = head.init(jax.random.key(0), x)
  return head.apply(params, state, x)[0]


@pytest.mark.slow
def test_the_loss_is_that_of_head_and_relation():
  found = prediction()
  task.check("t", BATCH)
  label = task.label(BATCH)
  np.testing.assert_array_equal(np.where(HEADS >= 0, label["head"], 0), COLUMNS)
  counted = HEADS >= 0
  arcs = log_softmax(np.asarray(found["arc"], float), axis=-1)
  scores = np.einsum("blrd,bjd->bljr", found["dependent"], found["head"])
  kinds = log_softmax(scores, axis=-1)
  rows, places = np.nonzero(counted)
  heads, relations = COLUMNS[counted], KINDS[counted]
  want = -(arcs[rows, places, heads] + kinds[rows, places, heads, relations]).mean()
  assert float(mtl.tasks.loss.masked_mean("t", task, found, BATCH)) == pytest.approx(want, rel=1e-5)


def sure(columns, kinds):
  """A prediction of these heads and relations."""
  possible = (SEGMENTS[:, :, None] == SEGMENTS[:, None]) & ~np.eye(6, dtype=bool)
  possible = np.pad(possible, ((0, 0), (0, 0), (1, 0)), constant_values=True) & (SEGMENTS > 0)[..., None]
  arc = np.where(possible, 9.0 * np.eye(7)[columns], NONE)
  dependent = 9.0 * np.eye(RELATIONS)[np.maximum(kinds, 0)][..., None]
  found = {"arc": arc, "dependent": dependent, "head": np.ones((2, 7, 1))}
  return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), found)


@pytest.mark.slow
def test_metrics_and_what_is_said():
  found = sure(COLUMNS, KINDS)
  outputs = task.output(found)
  complete = np.where(HEADS < 0, [[-1] * 6, [2] * 6], HEADS)  # the last word of the second row is in no tree of labels
  np.testing.assert_array_equal(outputs["head"][0], HEADS[0])
  np.testing.assert_array_equal(outputs["head"][1][:5], complete[1][:5])
  first = jax.tree.map(lambda a: np.asarray(a)[0], outputs)
  said = json.loads(json.dumps(task.record(first)))
  assert said == [
    {"head": head, "relation": ["root", "nsubj", "obj", "case"][kind]}
    for head, kind in zip(HEADS[0, :5], KINDS[0, :5], strict=True)
  ]
  other_head, other_kind = COLUMNS.copy(), KINDS.copy()
  other_head[1, 4], other_kind[0, 0] = 3, 2  # one wrong head, one wrong relation
  wrong = sure(other_head, other_kind)
  values = {}
  for name, metric in task.metrics.items():
    states = [
      metric.of_batch(one, jax.tree.map(lambda a, i=i: a[i : i + 1], task.label(BATCH)), HEADS[i : i + 1] >= 0, {})
      for i in (0, 1)
      for one in [jax.tree.map(lambda a, i=i: a[i : i + 1], wrong)]
    ]
    values[name] = float(metric.compute(metric.merge(states)))
  assert values == pytest.approx({"uas": 9 / 10, "las": 8 / 10}) and task.main_metric == "uas"


def test_outputs_are_trees():
  outputs = jax.jit(task.output)(prediction())
  for row, segments in zip(np.asarray(outputs["head"]), SEGMENTS, strict=True):
    for number in set(segments[segments > 0]):
      assert is_tree(list(map(int, row[segments == number])))
    assert (row[segments == 0] == -1).all()


@pytest.mark.slow
def test_what_does_not_count_may_hold_anything():
  masked = mtl.tasks.dependencies("h", "r", RELATIONS, segments=("x", "segments"), mask="m")
  mask = np.array([[1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 0, 0]], np.float32)
  dirty = {**BATCH, "h": np.where(mask > 0, HEADS, 99), "r": np.where(mask > 0, KINDS, 77), "m": mask}
  clean = {**BATCH, "h": np.where(mask > 0, HEADS, -1)}
  masked.check("t", dirty)
  found = prediction()

  def loss(task, batch):
    return jax.value_and_grad(lambda p: mtl.tasks.loss.masked_mean("t", task, p, batch))(found)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), loss(masked, dirty), loss(task, clean)
  )


def changed(key, row, place, value):
  array = BATCH[key].copy()
  array[row, place] = value
  return {**BATCH, key: array}


@pytest.mark.parametrize(
  ("arrays", "line"),
  [
    (changed("h", 0, 1, 3), "is no tree in example 0: from the word at position 0 no way along the heads leads to the"),
    (changed("h", 1, 2, 3), "is no tree in example 1: from the word at position 1 no way"),
    (changed("h", 0, 4, 3), "has head 3 in example 0, position 4, outside of its sentence of 2 words"),
    (changed("h", 1, 1, 9), "has head 9 in example 1, position 1, outside of its sentence of 5 words"),
    (
      changed("h", 0, 5, 0) | {"r": np.maximum(KINDS, 0)},
      "has a head in example 0, position 5, where the segments have",
    ),
    (changed("h", 0, 2, -2), "holds -2 in example 0, expected the number of a word from 1, 0 for the root"),
    (changed("r", 0, 2, 4), r"'r' holds 4 in example 0, position 2, expected \[0, 3\] for the word of head 2"),
    (changed("r", 1, 0, -1), r"'r' holds -1 in example 1, position 0, expected \[0, 3\]"),
    ({**BATCH, "r": KINDS[:, :5]}, r"label 'r' has shape \(2, 5\) and 'h' \(2, 6\), expected one"),
    ({**BATCH, "h": HEADS.astype(np.float32)}, "'h' has dtype float32, expected integers"),
    ({**BATCH, "h": np.full_like(HEADS, -1)}, "label 'h' is missing everywhere"),
    ({**BATCH, "x": {}}, "'x' has no entry 'segments'"),
  ],
)
def test_labels_that_are_refused(arrays, line):
  with pytest.raises(mtl.UserError, match=line) as error:
    task.check("tree", arrays)
  assert "\n" not in str(error.value) and "tree" in str(error.value)


def test_predictions_of_another_form():
  with pytest.raises(mtl.UserError, match=r"is \(2, 6, 7\), expected arc \(B, L, L \+ 1\), .* R = 4: what mtl.nn.Bi"):
    task.loss(jnp.zeros((2, 6, 7)), BATCH)
  with pytest.raises(mtl.UserError, match=r"dependent \(2, 6, 3, 5\)"):
    task.loss({**prediction(), "dependent": jnp.zeros((2, 6, 3, 5))}, BATCH)
  with pytest.raises(mtl.UserError, match=r"label 'r' is float64 \(2, 6\), expected integers \(B, L\)"):
    task.label({**BATCH, "r": KINDS.astype(float)})


@pytest.mark.parametrize(
  ("make", "line"),
  [
    (lambda: mtl.tasks.dependencies("h", "r", 1), "dependencies of 'h': num_relations is 1, expected at least 2"),
    (lambda: mtl.tasks.dependencies("h", "r", 2, names=["a"]), r"names are \['a'\], expected 2 of them"),
  ],
)
def test_options_out_of_range(make, line):
  with pytest.raises(mtl.UserError, match=line):
    make()
