"""Parts and folds: every row once, classes in proportion, groups whole, times in order, and what is refused."""

import numpy as np
import pytest

from mtl_jax import UserError
from mtl_jax.data import folds, parts

RNG = np.random.default_rng(0)
CLASSES = RNG.choice(["a", "b", "c"], size=400, p=[0.7, 0.2, 0.1])
GROUPS = RNG.zipf(1.8, size=400) % 90
TIMES = np.datetime64("2020-01-01") + RNG.permutation(400)
WAYS = [{}, {"stratify": CLASSES}, {"groups": GROUPS}, {"order": TIMES}, {"groups": GROUPS, "largest_first": True}]


@pytest.mark.parametrize("how", WAYS, ids=str)
@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (0.5, 0.25), (0.3, 0.3, 0.2, 0.2), (1.0,)])
def test_parts_are_disjoint_and_of_their_sizes(how, shares):
  found = parts(400, shares, **how)
  rows = np.concatenate(found)
  assert len(set(rows.tolist())) == len(rows) and rows.min() >= 0 and rows.max() < 400
  if "groups" not in how:
    assert [len(part) for part in found] == [round(400 * share) for share in shares]
  elif sum(shares) == 1:
    assert len(rows) == 400
  assert all((np.diff(part) > 0).all() for part in found)


@pytest.mark.parametrize("how", WAYS[:3], ids=str)
def test_the_seed_draws_the_parts(how):
  first, again, other = (parts(400, seed=seed, **how) for seed in (0, 0, 1))
  assert all(map(np.array_equal, first, again)) and not any(map(np.array_equal, first, other))


def test_classes_are_in_proportion():
  for shares in [(0.8, 0.1, 0.1), (0.34, 0.33, 0.33), (0.2,) * 5]:
    for part, share in zip(parts(400, shares, stratify=CLASSES), shares, strict=True):
      for label in "abc":
        assert abs((CLASSES[part] == label).sum() - share * (CLASSES == label).sum()) <= 2


def test_many_small_classes_have_no_part_empty():
  """Rounding class by class would give 100 classes of 4 rows none to the last part."""
  found = parts(400, stratify=np.arange(400) // 4)
  assert [len(part) for part in found] == [320, 40, 40]


def test_no_group_is_in_two_parts_and_shares_are_close():
  groups = RNG.integers(100, size=2000)
  found = parts(2000, groups=groups, seed=3)
  held = [set(groups[part].tolist()) for part in found]
  assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])
  # The last group that a part takes overshoots by at most that group.
  np.testing.assert_allclose([len(part) for part in found], [1600, 200, 200], atol=np.bincount(groups).max())


def test_the_oldest_are_trained_on():
  train, valid, test = parts(400, order=TIMES)
  assert TIMES[train].max() < TIMES[valid].min() and TIMES[valid].max() < TIMES[test].min()


def reference(groups, shares):
  """MoleculeNet's scaffold split as its paper's code does it: sets, sorted by size and first row, in three lists."""
  sets = {}
  for row, group in enumerate(groups):
    sets.setdefault(group, []).append(row)
  train, valid, test = [], [], []
  ends = shares[0] * len(groups), (shares[0] + shares[1]) * len(groups)
  for rows in sorted(sets.values(), key=lambda rows: (len(rows), rows[0]), reverse=True):
    if len(train) + len(rows) > ends[0]:
      (test if len(train) + len(valid) + len(rows) > ends[1] else valid).extend(rows)
    else:
      train.extend(rows)
  return [sorted(part) for part in (train, valid, test)]


@pytest.mark.parametrize("groups", [GROUPS, RNG.integers(300, size=1000), np.sort(GROUPS)[::-1]], ids=range(3))
def test_largest_first_is_moleculenets_scaffold_split(groups):
  found = parts(len(groups), groups=groups, largest_first=True)
  assert [part.tolist() for part in found] == reference(groups.tolist(), (0.8, 0.1, 0.1))


@pytest.mark.parametrize("how", WAYS[:3], ids=str)
def test_folds_test_on_each_row_once(how):
  found = folds(400, 7, **how)
  np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in found])), np.arange(400))
  for train, test in found:
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(400))
  if "groups" in how:
    assert not any(set(GROUPS[train]) & set(GROUPS[test]) for train, test in found)


def test_stratified_folds_have_the_classes_of_scikit_learns():
  """Counts per class and fold, which there differ by at most one."""
  splitter = pytest.importorskip("sklearn.model_selection").StratifiedKFold(5)
  theirs = [np.unique(CLASSES[test], return_counts=True)[1] for _, test in splitter.split(CLASSES, CLASSES)]
  ours = [np.unique(CLASSES[test], return_counts=True)[1] for _, test in folds(400, 5, stratify=CLASSES)]
  np.testing.assert_array_equal(np.sort(ours, axis=0), np.sort(theirs, axis=0))


def test_folds_in_time_train_on_the_past():
  found = folds(400, 4, order=TIMES)
  assert [(len(train), len(test)) for train, test in found] == [(80 * i, 80) for i in range(1, 5)]
  assert all(TIMES[train].max() < TIMES[test].min() for train, test in found)


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: parts(9, (0.9, 0.2)), "shares are 0.9, 0.2, expected above 0 and a sum of at most 1: they sum to 1.1"),
    (lambda: parts(9, (1.2, -0.2)), "shares are 1.2, -0.2, expected above 0"),
    (lambda: parts(9, ()), "shares are none, expected above 0"),
    (lambda: parts(4), "part 2, a share of 0.1 of 4 rows, would be empty"),
    (lambda: parts(4, groups=[1, 1, 1, 2]), "part 2, .* would be empty: .* or smaller groups"),
    (lambda: parts(9, stratify=[0] * 7 + [1] * 2), "class 1 of stratify has 2 rows, expected one for each of 3 parts"),
    (lambda: parts(9, order=range(9), groups=range(9)), "groups and order are given, expected at most one of"),
    (lambda: parts(9, order=range(8)), r"order has shape \(8,\), expected \(9,\)"),
    (lambda: parts(2, (0.5, 0.5), order=[1.0, np.nan]), r"order is missing \(NaN\) in 1 rows"),
    (lambda: parts(2, (0.5, 0.5), groups=np.array([1, "a"], object)), "groups holds values of several types"),
    (lambda: parts(9, largest_first=True), "largest_first is of groups, and there are none"),
    (lambda: parts(9, seed=-1), "seed is -1, expected at least 0"),
    (lambda: folds(3, 4), "k is 4 with 3 rows, expected at least 2 folds, and 4 rows for so many"),
    (lambda: folds(9, 4, groups=[0, 1, 2] * 3), "k is 4 with 3 groups"),
    (lambda: folds(4, 4, order=range(4)), "k is 4 with 4 rows, expected at least 2 folds, and 5 rows"),
    (lambda: folds(9, 1), "k is 1 with 9 rows, expected at least 2 folds"),
    (lambda: folds(9, 3, stratify=[0] * 7 + [1] * 2), "class 1 of stratify has 2 rows"),
  ],
)
def test_what_is_refused(call, message):
  with pytest.raises(UserError, match=message) as error:
    call()
  assert "\n" not in str(error.value)
