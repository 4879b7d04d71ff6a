"""Processes that end together, without training anything."""

import signal

import pytest

from tests._launch import finish, free_port, start

pytestmark = pytest.mark.slow  # processes of its own

SCRIPT = """
import os, signal, sys, threading
import mtl_jax as mtl
rank, port, how = int(sys.argv[1]), sys.argv[2], sys.argv[3]
mtl.shard.start_processes(f"127.0.0.1:{port}", int(sys.argv[4]), rank)
mtl.shard.wait_for_all("all are here")
if how == "well":
  sys.exit(0)
if how[-1] == str(rank):
  if how.startswith("kill"):
    os.kill(os.getpid(), signal.SIGKILL)
  raise OSError("no space left")
threading.Event().wait(60)
print("still here")
"""


@pytest.mark.parametrize(
  ("how", "guilty", "count"), [("kill1", 1, 3), ("kill0", 0, 2), ("raise2", 2, 3), ("well", None, 2)]
)
def test_all_end_when_one_does(how, guilty, count):
  port = free_port()
  found = finish([start(["-c", SCRIPT, rank, port, how, count]) for rank in range(count)], seconds=60)
  for rank, (code, out, lines, err) in enumerate(found):
    assert "still here" not in out
    if guilty is None:
      assert (code, lines) == (0, []), err
    elif rank == guilty:
      assert code == (-signal.SIGKILL if how.startswith("kill") else 1), err
    elif how == "kill0" and code == -signal.SIGABRT:  # JAX lost its coordinator a moment before us, and says more
      assert "another task died" in err
    else:
      assert code == 1, err
      told = f"mtl-jax: process {guilty} of {count} ended before the run was done, so process {rank} ends too; "
      assert [line for line in lines if line.startswith(told)], err


def test_mistakes():
  from mtl_jax import UserError
  from mtl_jax.shard import start_processes

  with pytest.raises(UserError, match="coordinator is 'here', expected HOST:PORT"):
    start_processes("here", 2, 0)
  with pytest.raises(UserError, match="process_id is 2 of 2 processes, expected 0 to 1"):
    start_processes("127.0.0.1:1", 2, 2)
  with pytest.raises(UserError, match="process 0 has not come to 127.0.0.1:1 within 0 seconds: .*refused"):
    start_processes("127.0.0.1:1", 2, 1, startup_seconds=0)
  with pytest.raises(UserError, match="cannot join the other processes: .* before anything else uses JAX"):
    import jax

    jax.devices()
    start_processes("127.0.0.1:1", 2, 0)
