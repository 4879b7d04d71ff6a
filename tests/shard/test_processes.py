"""One run in one process or several: the same parameters, also when it is killed and goes on in another number."""

import signal

import numpy as np
import pytest

from tests._launch import finish, free_port, start

DEVICES = 4
ROUNDING = 1e-6  # twenty steps; between processes sums of four devices' parts are made in another order


def _run(directory, count, doomed=()):
  port = free_port()
  words = ["-m", "tests.shard._job", count]
  return finish([start([*words, rank, port, directory, *doomed], DEVICES // count) for rank in range(count)])


def _params(directory, count):
  found = [np.load(directory.parent / f"{directory.name}-{rank}.npz") for rank in range(count)]
  for one in found[1:]:
    np.testing.assert_array_equal(one["params"], found[0]["params"])
  return found[0]["params"], [int(one["local"]) for one in found]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
  directory = tmp_path_factory.mktemp("unbroken") / "run"
  ((code, _, _, err),) = _run(directory, 1)
  assert code == 0, err[-3000:]
  return _params(directory, 1)


def test_two_processes_train_as_one(tmp_path, unbroken):
  found = _run(tmp_path / "run", 2)
  assert [code for code, *_ in found] == [0, 0], found
  params, local = _params(tmp_path / "run", 2)
  np.testing.assert_allclose(params, unbroken[0], atol=ROUNDING, rtol=0)
  assert sum(local) == unbroken[1][0] and local[0] == local[1]  # each process holds half of every divided parameter
  assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 20 + 5


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_killed_and_resumed_in_another_number_of_processes(tmp_path, unbroken, before, after):
  directory = tmp_path / "run"
  *survivors, victim = _run(directory, before, doomed=(before - 1,))
  assert victim[0] == -signal.SIGKILL, victim[-1][-3000:]
  for code, _, lines, err in survivors:
    assert code == 1 and any("process 1 of 2 ended before the run was done" in line for line in lines), err
  assert (directory / "checkpoints" / "4").exists() and not (directory / "checkpoints" / "12").exists()
  found = _run(directory, after)
  assert [code for code, *_ in found] == [0] * after, found
  np.testing.assert_allclose(_params(directory, after)[0], unbroken[0], atol=ROUNDING, rtol=0)
