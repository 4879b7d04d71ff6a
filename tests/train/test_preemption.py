"""SIGTERM: the step is finished and kept, the program ends with its own code, and the run goes on exactly."""

import os
import signal
import time

import pytest

import mtl_jax as mtl
from mtl_jax.train._preemption import PREEMPTED, notices
from tests._launch import finish, start
from tests.train._run import digest, run


def _at(step):
  """A probe that sends this program SIGTERM in the evaluation of a step."""

  def probe(state):
    if int(state.step) == step:
      os.kill(os.getpid(), signal.SIGTERM)
    return {}

  return {"probe": probe, "checkpoint_every": 30}


def test_a_preempted_run_keeps_its_step_and_goes_on_exactly(tmp_path):
  unbroken = run(steps=30)
  before = signal.getsignal(signal.SIGTERM)
  with pytest.warns(UserWarning, match=r"SIGTERM: stopped after step 11, which is saved; resume"):  # noqa: SIM117
    with pytest.raises(mtl.train.Preempted) as stopped:
      run(tmp_path / "run", steps=30, loop=_at(10))
  assert stopped.value.code == PREEMPTED and stopped.value.step == 11 and stopped.value.run_dir == tmp_path / "run"
  assert signal.getsignal(signal.SIGTERM) is before
  assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["11"]
  resumed = run(tmp_path / "run", steps=30, resume=True, loop={"checkpoint_every": 30})
  assert digest(resumed.state) == digest(unbroken.state) and digest(resumed.params) == digest(unbroken.params)


def test_a_notice_in_the_last_step_is_no_reason_to_stop(tmp_path):
  finished = run(tmp_path / "run", steps=11, loop=_at(10))
  assert int(finished.state.step) == 11


def test_a_program_that_hears_sigterm_itself_goes_on_to(tmp_path):
  heard = []
  before = signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
  try:
    run(tmp_path / "run", steps=20, loop=_at(10))
    with notices() as noticed:
      assert not noticed(1)
  finally:
    signal.signal(signal.SIGTERM, before)
  assert heard == [True]


@pytest.mark.slow
def test_a_command_that_is_preempted_ends_with_code_75(tmp_path):
  words = "train digits --tasks left --steps 100000 --checkpoint-every 1000 --run-dir".split()
  process = start(["-m", "mtl_jax", *words, tmp_path / "run"])
  deadline = time.monotonic() + 100
  log = tmp_path / "run" / "metrics.jsonl"
  while not (log.exists() and log.read_text().count("\n") > 1) and process.poll() is None:
    assert time.monotonic() < deadline
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  ((code, _, lines, err),) = finish([process], seconds=60)
  assert code == PREEMPTED, err[-3000:]
  assert len(lines) == 1 and lines[0].startswith("mtl-jax: SIGTERM: stopped after step ")
  assert f"which is saved; resume the run in {tmp_path / 'run'} to go on." in lines[0]
