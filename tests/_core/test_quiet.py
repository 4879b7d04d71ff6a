"""What is not printed twice, and interrupts that are not lost."""

import asyncio
import gc
import logging
import subprocess
import sys
import textwrap
import warnings

import pytest

from mtl_jax._core.quiet import Quiet, close_coroutines
from tests._coroutines import never_started


@pytest.fixture(autouse=True)
def alone(monkeypatch):
  """Without what checkpoints of other tests, which nobody has closed, hold back."""
  monkeypatch.setattr(logging.getLogger("absl"), "filters", [])


_INTERRUPTED = """
  import signal, sys, time
  from mtl_jax._core.quiet import Quiet

  class Interrupted:
    def __del__(self):
      raise KeyboardInterrupt

  signal.signal(signal.SIGINT, signal.default_int_handler)  # parents may have it ignored
  before, quiet = sys.unraisablehook, Quiet()
  try:
    Interrupted()
    time.sleep(20)
  except KeyboardInterrupt:
    quiet.close()
    print("told", sys.unraisablehook is before)
"""


@pytest.mark.slow
def test_an_interrupt_in_a_destructor_is_not_lost():
  """In a process of its own: its main thread is to be interrupted."""
  done = subprocess.run([sys.executable, "-c", textwrap.dedent(_INTERRUPTED)], capture_output=True, text=True)
  assert done.stdout == "told True\n" and done.stderr == ""


class _Fails:
  def __init__(self, error):
    self.error = error

  def __del__(self):
    raise self.error


def test_of_errors_that_python_drops_only_that_of_a_closed_loop_is_not_told(monkeypatch):
  told = []
  monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(str(unraisable.exc_value)))
  quiet = Quiet()
  for error in (RuntimeError("Event loop is closed"), RuntimeError("other"), ValueError("Event loop is closed")):
    _Fails(error)
  quiet.close()
  assert told == ["other", "Event loop is closed"]


def test_only_the_log_of_orbax_is_dropped(caplog):
  def log(path):
    record = logging.LogRecord("absl", logging.ERROR, path, 1, path, (), None)
    logging.getLogger("absl").handle(record)

  quiet = Quiet()
  log("/lib/orbax/a.py")
  log("/lib/other/b.py")
  quiet.close()
  log("/lib/orbax/c.py")
  assert [record.pathname[-4:] for record in caplog.records] == ["b.py", "c.py"]


def test_tasks_of_orbax_that_nobody_asked_are_not_told(caplog):
  quiet = Quiet()
  quiet.close()
  log = logging.getLogger("asyncio")
  log.error("Task exception was never retrieved\nfuture: <Task coro=<f() done, defined at /lib/orbax/a.py:1>>")
  log.error("Task exception was never retrieved\nfuture: <Task coro=<f() done, defined at /lib/other/a.py:1>>")
  assert len(caplog.records) == 1 and "/lib/other" in caplog.text


@pytest.mark.parametrize("closed", [False, True])
def test_of_coroutines_that_never_start_python_warns_but_for_those_of_orbax_that_are_closed(closed):
  with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for file in ("orbax", "other"):
      never_started(file)
    if closed:
      close_coroutines()
    gc.collect()
  assert sorted(str(each.message) for each in told) == [
    f"coroutine 'in_{file}' was never awaited" for file in ("orbax", "other") if file == "other" or not closed
  ]


def test_coroutines_of_orbax_that_are_to_run_still_run():
  names = {}
  exec(compile("async def in_orbax(): return 1", "site-packages/orbax/write.py", "exec"), names)
  with asyncio.Runner() as runner:
    task = runner.get_loop().create_task(names["in_orbax"]())
    close_coroutines()
    runner.get_loop().run_until_complete(task)
  assert task.result() == 1
