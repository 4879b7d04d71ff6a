"""What is not printed twice, and interrupts that are not lost."""

import logging
import sys
import time

import pytest

from mtl_jax._quiet import Quiet


class _Interrupted:
  def __del__(self):
    raise KeyboardInterrupt


def test_an_interrupt_in_a_destructor_is_not_lost(capsys):
  before, quiet = sys.unraisablehook, Quiet()
  with pytest.raises(KeyboardInterrupt):
    _Interrupted()
    time.sleep(5)
  quiet.close()
  assert sys.unraisablehook is before and capsys.readouterr().err == ""


def test_only_tracebacks_of_orbax_are_dropped(caplog):
  def log(path, exc_info):
    record = logging.LogRecord("absl", logging.ERROR, path, 1, path, (), exc_info)
    logging.getLogger("absl").handle(record)

  quiet = Quiet()
  error = (ValueError, ValueError("x"), None)
  log("/lib/orbax/a.py", error)
  log("/lib/orbax/b.py", None)
  log("/lib/other/c.py", error)
  quiet.close()
  log("/lib/orbax/d.py", error)
  assert [record.pathname[-4:] for record in caplog.records] == ["b.py", "c.py", "d.py"]
