"""Mixtures: what each source is, how many of its examples a batch has, which, where they lie, and mistakes."""

import hashlib
import json
import math
from fractions import Fraction

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

import mtl_jax as mtl
from mtl_jax.data import Mixture, as_mixture, batches, mixture
from mtl_jax.data._order import Order
from mtl_jax.data.arrays import leaves_of
from mtl_jax.data.mixed import Lane, Mixed, Together, padded
from mtl_jax.data.source import mapped, npy
from mtl_jax.data.source.in_memory import InMemory


def source(size, width=2, first=0):
  rows = np.arange(first, first + size)
  return {"x": np.stack([rows] * width, axis=1).astype(np.float32), "y": rows.astype(np.int32)}


def sources(count, sizes=(5, 7, 9)):
  return {f"s{i}": source(sizes[i % len(sizes)], first=100 * i) for i in range(count)}


def drawn(data, count, batch_size=12, **options):
  iterator = iter(batches(data, batch_size, **options))
  found = [next(iterator) for _ in range(count)]
  iterator.close()
  return found


def counted(found, name):
  """The labels of a source that count, of all batches one after the other, and how many each has."""
  each = []
  for batch in found:
    y = batch.get(f"{name}/y", np.zeros(0, np.int32))
    each.append(y[np.asarray(batch.get(f"{name}/~weight", np.ones(len(y)))) > 0])
  return np.concatenate(each), [len(one) for one in each]


def digest(found):
  told = hashlib.blake2b()
  for batch in found:
    for path, value in leaves_of(batch).items():
      told.update(f"{path} {value.shape} {value.dtype}".encode() + np.ascontiguousarray(value).tobytes())
  return told.hexdigest()


THREE = {"a": source(5), "b": source(7, 3, 100), ("c", "d"): source(30, 1, 200)}
HOWS = {
  "sizes": {"sizes": {"a": 2, "b": 3, "c+d": 4}},
  "whole": {},
  "fractions": {"rates": {"a": 1, "b": 5, "c+d": 11}},
  "turns": {"turns": True},
}


@pytest.mark.parametrize("how", HOWS)
def test_each_epoch_of_each_source_has_every_example_once(how):
  data = mixture(THREE, **HOWS[how])
  found = drawn(data, 120, 12 if data.sizes is None else 9, seed=3)
  for name, own in data.sources.items():
    seen, _ = counted(found, name)
    assert len(seen) >= 2 * len(own)
    for epoch in range(len(seen) // len(own)):
      assert sorted(seen[epoch * len(own) :][: len(own)]) == sorted(own.arrays["y"])


@pytest.mark.parametrize("batch_size", [12, 17, 3])
@pytest.mark.parametrize("rates", ["equal", {"a": 0.07, "b": 0.3, "c+d": 0.63}])
def test_after_n_batches_a_source_has_had_the_floor_of_n_shares(rates, batch_size):
  data = mixture(THREE, rates=rates)
  shares = data.shares(batch_size)
  assert math.isclose(sum(shares.values()), batch_size, rel_tol=1e-9)
  found = drawn(data, 150, batch_size)
  for name, share in shares.items():
    _, counts = counted(found, name)
    assert np.cumsum(counts).tolist() == [math.floor(n * share) for n in range(1, 151)]
    # Filling is of the source itself, so that no statistics of a batch see anything else.
    assert {len(batch[f"{name}/y"]) for batch in found} == {math.ceil(share)}
    assert np.isin(np.concatenate([batch[f"{name}/y"] for batch in found]), data.sources[name].arrays["y"]).all()


def test_rates():
  assert mixture(THREE).rates == {"a": 1 / 3, "b": 1 / 3, "c+d": 1 / 3}
  assert mixture(THREE, rates="proportional").rates == {"a": 5 / 42, "b": 7 / 42, "c+d": 30 / 42}
  assert mixture(THREE, rates=1).rates == pytest.approx(mixture(THREE, rates="proportional").rates)
  roots = [5**0.5, 7**0.5, 30**0.5]
  assert [*mixture(THREE, rates=2).rates.values()] == pytest.approx([root / sum(roots) for root in roots])
  assert [*mixture(THREE, rates=1e9).rates.values()] == pytest.approx([1 / 3] * 3)
  assert mixture(THREE, rates={"b": 3, ("c", "d"): 1}).rates == {"a": 0, "b": 0.75, "c+d": 0.25}


def test_shares_are_exact_and_whole_ones_have_no_filling():
  assert mixture(THREE).shares(128) == dict.fromkeys(["a", "b", "c+d"], Fraction(128, 3))
  # In floating point 0.07 * 100 is 7.000000000000001.
  data = mixture({"a": source(5), "b": source(7)}, rates={"a": 7, "b": 93})
  assert data.shares(100) == {"a": 7, "b": 93} == data.sized(100).sizes and data.filled
  assert not any("~weight" in key for key in drawn(data.sized(100), 1, 100)[0])
  assert data.sized(10) is data
  in_turns = mixture(THREE, turns=True)
  assert in_turns.sized(12) is in_turns


@pytest.mark.parametrize("sizes", [None, {"a": 2, "b": 3, "c+d": 4}])
@pytest.mark.slow
def test_turns_have_their_shares_of_a_thousand_and_go_on_where_each_source_stopped(sizes):
  data = mixture(THREE, rates={"a": 0.123, "b": 0.25, "c+d": 0.627}, sizes=sizes, turns=True)
  total = 4 if sizes is None else 9
  found = drawn(data, 2000, total, seed=1)
  turns = [{key.split("/")[0] for key in batch} for batch in found]
  assert all(len(names) == 1 for names in turns)
  for block in (turns[:1000], turns[1000:]):
    assert [block.count({name}) for name in data.sources] == [123, 250, 627]
  assert turns[:1000] != turns[1000:]
  for name, own in data.sources.items():
    seen, counts = counted(found, name)
    assert set(counts) == {0, 4 if sizes is None else sizes[name]}
    for epoch in range(len(seen) // len(own)):
      assert sorted(seen[epoch * len(own) :][: len(own)]) == sorted(own.arrays["y"])


def test_in_turns_sources_share_no_arrays():
  assert [lane.names for lane in Mixed(mixture(TWENTY, turns=True), 4, 0).lanes] == [(name,) for name in TWENTY]


def test_a_rare_source_has_a_turn_in_each_thousand():
  data = mixture({"a": source(5), "b": source(5)}, rates={"a": 1e-6, "b": 1}, turns=True)
  mixed = Mixed(data, 2, 0)
  assert [sum(mixed.turn(block + i)[0] == "a" for i in range(1000)) for block in (0, 1000)] == [1, 1]


@pytest.mark.parametrize("how", HOWS)
def test_the_order_depends_on_the_seed_alone(how):
  data = mixture(THREE, **HOWS[how])
  size = 12 if data.sizes is None else 9
  one, again, other = (digest(drawn(data, 20, size, seed=seed)) for seed in (0, 0, 1))
  assert one == again != other
  seen, _ = counted(drawn(data, 20, size, shuffle=False), "b")
  assert seen.tolist() == [100 + i % 7 for i in range(len(seen))]


def test_sources_of_one_length_have_orders_of_their_own():
  found = drawn(mixture({"a": source(9), "b": source(9)}, sizes=9), 1, 18)
  assert found[0]["a/y"].tolist() != found[0]["b/y"].tolist()


TWENTY = sources(20)
RATES = {name: 1 + i % 3 for i, name in enumerate(TWENTY)}
LONG = {
  "fractions": (THREE, HOWS["fractions"]),
  "turns": (THREE, HOWS["turns"]),
  "twenty": (TWENTY, {"rates": RATES}),
}


@pytest.mark.parametrize("how", LONG)
@pytest.mark.slow
def test_a_thousand_batches_of_an_interrupted_iterator_are_those_of_another(how):
  given, options = LONG[how]
  data = mixture(given, **options)
  size = data.batch_size(None if data.sizes else 50 if len(given) > 3 else 12)
  straight = drawn(data, 1000, size, seed=5)
  pieces, state = [], None
  for count in (1, 62, 1, 137, 799):  # the numbers of 64 batches are drawn at once
    iterator = iter(batches(data, size, seed=5))
    if state is not None:
      next(iterator)
      iterator.set_state(json.loads(state))
    pieces += [next(iterator) for _ in range(count)]
    state = json.dumps(iterator.get_state())
    iterator.close()
  assert digest(pieces) == digest(straight) != digest(straight[::-1])


class Plain:
  """A source that is read by its rows alone."""

  def __init__(self, arrays):
    self._own = InMemory(arrays)
    self.spec = self._own.spec

  def __len__(self):
    return len(self._own)

  def rows(self, numbers):
    return self._own.rows(numbers)


@pytest.mark.parametrize("options", [{"rates": RATES}, {"sizes": 2}])
@pytest.mark.parametrize("kind", ["memory", "rows"])
def test_twenty_sources_in_few_arrays_are_what_each_is_alone(kind, options):
  data = mixture(TWENTY if kind == "memory" else {name: Plain(own) for name, own in TWENTY.items()}, **options)
  size = data.batch_size(None if data.sizes else 50)
  mixed = Mixed(data, size, 5)
  assert [type(lane) for lane in mixed.lanes] == [Together if kind == "memory" else Lane]
  iterator = iter(batches(data, size, seed=5))
  found = [next(iterator) for _ in range(10)]
  rows = mixed.lanes[0].size
  shapes = [leaf.shape for leaf in jax.tree.leaves(found[0])]
  assert shapes == [(rows, 20, 2), (rows, 20)] + [(rows, 20)] * data.filled
  for name, own in TWENTY.items():
    seen, counts = counted(found, name)
    order = mixed._orders[name](0, len(seen)) % len(own["y"])
    assert seen.tolist() == own["y"][order].tolist() and min(counts) > 0
    np.testing.assert_array_equal(found[3][f"{name}/x"][:, 0], found[3][f"{name}/y"])


def test_a_source_much_larger_in_a_batch_than_others_has_arrays_of_its_own():
  rates = dict.fromkeys(TWENTY, 1.0)
  assert {lane.size for lane in Mixed(mixture(TWENTY, rates=rates | {"s3": 6}), 52, 0).lanes} == {13}
  lanes = Mixed(mixture(TWENTY, rates=rates | {"s3": 40}), 118, 0).lanes
  assert sorted((lane.size, len(lane.names)) for lane in lanes) == [(2, 19), (80, 1)]


@pytest.mark.parametrize("count", [2, 17])
def test_files_and_functions_are_sources(tmp_path, count):
  given = {}
  for name, own in sources(count).items():
    (tmp_path / name).mkdir()
    for key, array in own.items():
      np.save(tmp_path / name / f"{key}.npy", array)
    given[name] = npy(tmp_path / name)
  assert digest(drawn(mixture(given), 20, 40)) == digest(drawn(mixture(sources(count)), 20, 40))

  def shifted(example, rng):
    return {**example, "x": example["x"] + rng.integers(1, 5)}

  data = mixture({name: mapped(own, shifted, threads=2) for name, own in given.items()}, sizes=3)
  found = drawn(data, 6, 3 * count)
  assert digest(found) == digest(drawn(data, 6, 3 * count))
  moved = np.concatenate([batch["s1/x"][:, 0] - batch["s1/y"] for batch in found])
  assert 1 <= moved.min() < moved.max() <= 4


@pytest.mark.slow
def test_processes_read_what_this_one_does():
  given = sources(3)
  data = [mixture({n: mapped(own, _same, workers=w) for n, own in given.items()}, sizes=2) for w in (0, 1)]
  assert digest(drawn(data[0], 5, 6)) == digest(drawn(data[1], 5, 6))


def _same(example, rng):
  return example


@pytest.mark.parametrize("count", [2, 20])
def test_several_processes_read_and_place_their_own_rows(monkeypatch, count):
  """A process that holds the second half of each batch reads no other row, and is given that half."""
  device = jax.devices()[0]
  data = mixture({name: Plain(own) for name, own in sources(count).items()}, rates="proportional")
  size = 7 * count
  whole = drawn(data, 3, size)
  monkeypatch.setattr(SingleDeviceSharding, "is_fully_addressable", property(lambda self: False))
  monkeypatch.setattr(jax, "device_put", lambda *args: pytest.fail("device_put called"))

  def half(shape):
    return slice(shape[0] // 2, shape[0])

  monkeypatch.setattr(
    SingleDeviceSharding, "addressable_devices_indices_map", lambda self, shape: {device: (half(shape),)}
  )
  monkeypatch.setattr(jax, "make_array_from_callback", lambda shape, sharding, own: own((half(shape),)))
  asked = []
  monkeypatch.setattr(Plain, "rows", lambda self, numbers: asked.append(len(numbers)) or self._own.rows(numbers))
  for batch, expected in zip(drawn(data, 3, size, sharding=SingleDeviceSharding(device)), whole, strict=True):
    for key, value in expected.items():
      np.testing.assert_array_equal(batch[key], value[half(value.shape)])
  rooms = {len(whole[0][f"{name}/y"]) for name in data.sources}
  assert set(asked) == {room - room // 2 for room in rooms}


@pytest.mark.parametrize("count", [3, 20])
@pytest.mark.parametrize("pieces", [1, 4])
def test_evaluation_sees_every_example_once_and_in_order(count, pieces):
  data = mixture(sources(count, (5, 90, 33, 1)))
  found = [dict(batch) for batch in padded(data, 32, pieces)]
  total = 0
  for name, own in data.sources.items():
    seen, weights = counted(found, name)
    assert seen.tolist() == own.arrays["y"].tolist()
    (rows,) = {len(batch[f"{name}/y"]) for batch in found}
    assert rows % pieces == 0
    total += rows
  assert total <= 32 + count * pieces or count == 20  # many of one kind lie together, with filling
  assert total <= 5 * 32  # of all sources, however many there are


@pytest.mark.slow
def test_no_batch_of_an_evaluation_is_filling_alone():
  data = mixture({name: source(50) for name in map(str, range(40))})
  found = list(padded(data, 8))  # one of each source at least
  weights = [value for batch in found for key, value in dict(batch).items() if key.endswith("~weight")]
  assert len(found) == 50 and sum(map(np.size, weights)) == 2000 and all(own.all() for own in weights)


def test_steps():
  data = mixture(THREE, sizes={"a": 2, "b": 3, "c+d": 4})
  assert data.steps() == math.ceil(30 / 4) and data.steps(of="shortest") == 3
  assert data.steps(epochs=2.5) == math.ceil(2.5 * 30 / 4) and data.steps(9, epochs=0.1) == 1
  # With batches of 12 the share of each is 4, and by their lengths all end together.
  assert mixture(THREE).steps(12) == 8 and mixture(THREE, rates="proportional").steps(12) == math.ceil(42 / 12)
  assert mixture(THREE, rates={"b": 1}).steps(7) == 1


def test_what_is_a_mixture():
  tasks = {"a": mtl.tasks.regression("y"), "b": mtl.tasks.regression("y")}
  two = {"a": source(5), "b": source(7)}
  made = as_mixture(two, tasks, "x")
  assert isinstance(made, Mixture) and made.tasks == {"a": ("a",), "b": ("b",)}
  assert as_mixture(made, tasks, "x") is made
  mixed = as_mixture({"a": Plain(source(5)), "b": source(7)}, tasks, "x")
  assert mixed is not None and list(mixed.spec) == ["a/x", "a/y", "b/x", "b/y"]
  # Data sets of one source: arrays, an input of several parts, a source.
  for one in (source(5), {"x": {"a": np.ones(3)}}, {"x": {"a": np.ones(3)}, "y": {"b": np.ones(3)}}, Plain(source(5))):
    assert as_mixture(one, tasks, "x") is None
  assert as_mixture(two, tasks, ("x", "a")) is None
  mtl.data.check(two, tasks)


def test_a_user_s_source_may_have_an_attribute_sources():
  one = Plain(source(5))
  one.sources = ["a.txt"]
  assert mtl.data.as_source(one) is one


def test_fingerprints_and_descriptions():
  data = mixture(THREE)
  assert mtl.data.describe(data).arrays["b/x"].shape == (3,)
  prints = [
    mtl.data.fingerprint(mixture(given, **options))
    for given, options in [
      (THREE, {}),
      (THREE, {}),
      (THREE, {"turns": True}),
      (THREE, {"rates": 1}),
      (THREE, {"sizes": 1}),
    ]
  ]
  assert prints[0].examples == 42 and prints[0] == prints[1] and len(set(prints)) == 4
  assert mtl.data.fingerprint(mixture({**THREE, "a": source(5, first=1)})) not in prints


AB = {"a": source(5), "b": source(7)}
TASKS = {"a": mtl.tasks.regression("y"), "b": mtl.tasks.regression("y")}


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: mixture({}), r"a mixture needs at least one source, found none: pass \{task: data\}"),
    (lambda: mixture({"a": source(0)}), "the data set is empty: array 'x'"),
    (lambda: mixture({"a": source(3), ("a", "b"): source(3)}), r"task 'a' has two sources, 'a' and 'a\+b'"),
    (lambda: mixture({"a+b": source(3), ("a", "b"): source(3)}), r"two sources have the name 'a\+b': rename a task"),
    (lambda: mixture({"a/b": source(3)}), "source 'a/b' has a slash in its name"),
    (lambda: mixture({"a": "file.csv"}), "source 'a' is a str, expected a dictionary of arrays"),
    (lambda: mixture({"a": mixture(AB)}), "source 'a' is a mixture of several sources, expected one"),
    (lambda: mtl.data.as_source(mixture(AB)), "data is a mixture of several sources, expected one"),
    (lambda: mixture(AB, rates={"a": 0, "b": 0}), r"rates is \{'a': 0, 'b': 0\}, expected numbers of at least 0"),
    (lambda: mixture(AB, rates={"a": -1, "b": 2}), "rates is .*-1.*, expected numbers of at least 0"),
    (lambda: mixture(AB, rates={"a": math.nan, "b": 2}), "rates is .*nan.*, expected numbers of at least 0"),
    (lambda: mixture(AB, rates={"aa": 1}), "rates has 'aa', which is no source.*'a'"),
    (lambda: mixture(AB, rates=-1.0), "rates is -1.0, expected 'equal', 'proportional', a temperature above 0 or"),
    (lambda: mixture(AB, sizes={"a": 3}), "sizes has None for source 'b', expected a whole number of at least 1"),
    (lambda: mixture(AB, sizes={"a": 3, "b": 3, "c": 3}), "sizes has 'c', which is no source"),
    (lambda: mixture(AB, sizes=0), "sizes has 0 for source 'a', expected a whole number"),
    (lambda: batches(mixture(AB, sizes=3), 7), "batch_size is 7, but the mixture has sizes of its own, 6 in all"),
    (lambda: batches(mixture(AB, rates={"a": 1}), 8), r"source 'b' has a rate of 0, so its tasks \(b\) would never"),
    (lambda: batches(mixture(AB, rates={"a": 1}, turns=True), 8), "source 'b' has a rate of 0"),
    (lambda: batches(mixture(AB), 8, repeat=False), "end at different times: leave out repeat=False"),
    (lambda: batches(mixture(AB), 0), "batch_size is 0, expected at least 1"),
    (lambda: batches(mixture(AB), 8, seed=-1), "seed is -1, expected at least 0"),
    (
      lambda: as_mixture({"a": AB["a"]}, TASKS, "x"),
      "train has no source for task 'b', only for 'a': add its examples",
    ),
    (lambda: as_mixture({**AB, "c": AB["a"]}, TASKS, "x", "valid"), "valid has a source for 'c', which is no task"),
    (lambda: as_mixture(mixture(AB), TASKS, {"a": "x"}), "task 'b' is not in inputs, which has 'a': add it there"),
    (lambda: mtl.data.check(mixture({"a": AB["a"]}), TASKS), "the data set has no source for task 'b'"),
    (lambda: mtl.data.check({**AB, "b": {"x": AB["b"]["x"]}}, TASKS), "source 'b': .*'y'"),
  ],
)
def test_mistakes_are_one_line(make, message):
  with pytest.raises(mtl.UserError, match=message) as caught:
    make()
  assert "\n" not in str(caught.value)


def test_orders_of_several_numbers_are_other_ones():
  assert len({tuple(Order(30, seed)(0, 30)) for seed in (1, 2, (1, 2), (2, 1))}) == 4
