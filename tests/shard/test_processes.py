"""One run in one process or several: the same parameters, also when it is killed and goes on in another number."""

import signal

import numpy as np
import pytest

from tests._launch import finish, free_port, start
from tests.shard._train import arrays

pytestmark = pytest.mark.slow  # processes of its own

DEVICES = 4
ROUNDING = 1e-6  # twenty steps; between processes sums of four devices' parts are made in another order


def _run(directory, count, doomed=()):
  port = free_port()
  words = ["-m", "tests.shard._job", count]
  return finish([start([*words, rank, port, directory, *doomed], DEVICES // count) for rank in range(count)])


def _saved(directory, count):
  """What all processes saved alike, and how many numbers each holds."""
  found = [dict(np.load(directory.parent / f"{directory.name}-{rank}.npz")) for rank in range(count)]
  local = [int(one.pop("local")) for one in found]
  for one in found[1:]:
    for key, value in one.items():
      np.testing.assert_array_equal(value, found[0][key], key)
  return found[0], local


def _steps(directory):
  return [int(path.name) for path in (directory / "checkpoints").iterdir() if path.name.isdigit()]


def test_killed_and_resumed_in_another_number_of_processes(tmp_path):
  """A run that two processes begin, one goes on with and two end, against one in one process."""
  ((code, _, _, err),) = _run(tmp_path / "unbroken", 1)
  assert code == 0, err[-3000:]
  unbroken, (parameters,) = _saved(tmp_path / "unbroken", 1)
  directory = tmp_path / "run"
  # Killed in the third evaluation: 4 or 8 steps are saved. Killed again in the third after these.
  for count, least, end in ((2, 4, 12), (1, 8, 16)):
    *survivors, victim = _run(directory, count, doomed=(count - 1, int(signal.SIGKILL)))
    assert victim[0] == -signal.SIGKILL, victim[-1][-3000:]
    for code, _, lines, err in survivors:
      assert code == 1 and any("process 1 of 2 ended before the run was done" in line for line in lines), err
    assert least <= max(_steps(directory)) < end
  # One process hears that its machine will be taken away; all stop after one step, and keep it.
  found = _run(directory, 2, doomed=(1, int(signal.SIGTERM)))
  assert [code for code, *_ in found] == [75, 75], found
  told = [line for *_, err in found for line in err.splitlines() if "SIGTERM: stopped after step" in line]
  assert len(told) == 1, found
  assert int(told[0].partition("after step ")[2].partition(",")[0]) in _steps(directory)
  found = _run(directory, 2)
  assert [code for code, *_ in found] == [0, 0], found
  saved, local = _saved(directory, 2)
  np.testing.assert_allclose(saved["params"], unbroken["params"], atol=ROUNDING, rtol=0)
  assert sum(local) == parameters and local[0] == local[1]  # each process holds half of every divided parameter
  assert len((directory / "metrics.jsonl").read_text().splitlines()) == 20 + 5
  # A metric of the whole data set has all of it in each process, in order and without what fills up the last batch.
  np.testing.assert_array_equal(saved["labels"], arrays(31, 1)["size"])
  np.testing.assert_array_equal(saved["weights"], np.ones(31))
  np.testing.assert_allclose(saved["scores"], unbroken["scores"], atol=10 * ROUNDING, rtol=0)
  assert unbroken["scores"].shape == (31, 1) and saved["value"] == pytest.approx(saved["scores"].sum())
