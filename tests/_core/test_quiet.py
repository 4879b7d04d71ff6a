"""What is not printed twice, and interrupts that are not lost."""

import logging
import subprocess
import sys
import textwrap

import pytest

from mtl_jax._core.quiet import Quiet


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
