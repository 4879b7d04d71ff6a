"""One training run in several processes, each with some of the devices."""

from __future__ import annotations

import os
import socket
import time
import traceback

import jax

from mtl_jax._core.errors import UserError
from mtl_jax.shard import _lifeline


def start_processes(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  *,
  startup_seconds: int = 300,
  lost_after_seconds: int = 30,
) -> None:
  """Joins this process to the others of a run; `jax.devices()` are then those of all of them.

  To be called first of all, in every process. Then each runs the same program: `mtl.make_mesh("data=-1")` is a mesh
  over all devices, `fit` loads in each process the rows of its own devices, and process 0 writes the logs.

  When a process dies or fails, the others say so in one line and exit with code 1 within seconds. Where a machine or
  network is gone, and now and then where process 0 is, JAX itself aborts the process, after `lost_after_seconds` at the
  latest and with a longer message. Nobody waits for ever.

  Args:
    coordinator: Address and free port of process 0, such as `10.0.0.1:8476`, the same everywhere; None: the environment
      variable `JAX_COORDINATOR_ADDRESS`, or what JAX finds out on Cloud TPU and under SLURM, Open MPI and Kubernetes.
    num_processes: How many there are; None: as JAX finds out.
    process_id: Which this is, from 0; None: as JAX finds out.
    startup_seconds: How long to wait for the others at the start.
    lost_after_seconds: After how long a silent process counts as lost.

  Raises:
    UserError: JAX has started already, it does not find out what was not given, or process 0 does not come. Where
      others do not come, JAX aborts those that wait.
  """
  address = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
  if address is not None and not address.rpartition(":")[2].isdigit():
    raise UserError(f"coordinator is {address!r}, expected HOST:PORT, for example 10.0.0.1:8476.")
  if num_processes is not None and process_id is not None and not 0 <= process_id < num_processes:
    raise UserError(f"process_id is {process_id} of {num_processes} processes, expected 0 to {num_processes - 1}.")
  if address is not None and process_id:
    _wait_for(address, startup_seconds)
  try:
    jax.distributed.initialize(
      address,
      num_processes,
      process_id,
      initialization_timeout=startup_seconds,
      heartbeat_timeout_seconds=lost_after_seconds,
      shutdown_timeout_seconds=max(lost_after_seconds, 60),
    )
  except (ValueError, RuntimeError) as error:
    reason = str(error).strip().splitlines()[0]
    raise UserError(
      f"cannot join the other processes: {reason} Start every process with coordinator, num_processes and process_id, "
      "before anything else uses JAX."
    ) from error
  _lifeline.tie(address, startup_seconds)


def _wait_for(address: str, seconds: int) -> None:
  """Returns when the coordinator listens; JAX would abort the process where it never does."""
  host, _, port = address.rpartition(":")
  deadline = time.monotonic() + seconds
  while True:
    try:
      socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
      return
    except OSError as error:
      if time.monotonic() > deadline:
        raise UserError(f"process 0 has not come to {address} within {seconds} seconds: {error}.") from error
      time.sleep(0.2)


def is_first() -> bool:
  """Whether this is process 0, which writes what is written once."""
  return jax.process_index() == 0


def wait_for_all(what: str) -> None:
  """Returns when all processes have come here.

  Args:
    what: A name of this place for error messages, the same in all processes.
  """
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(what)


def end(code: int) -> None:
  """Ends this process after an error, if it is one of several, and the others by it; else returns."""
  _lifeline.fail(code)


def end_by_exception() -> None:
  """`end` after any exception, which is printed unless another process turns out to be its cause; else returns."""
  if _lifeline.is_tied():
    failing()
    traceback.print_exc()
    _lifeline.fail(1)


def failing() -> None:
  """To be called on an unexpected exception: ends the other processes; if one of them is its cause, ends this one."""
  _lifeline.announce()
