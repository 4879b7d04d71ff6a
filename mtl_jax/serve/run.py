"""A service run by uvicorn until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mtl_jax._core.errors import UserError
from mtl_jax._core.extras import extra

if TYPE_CHECKING:
  from starlette.applications import Starlette


def run(app: Starlette, host: str = "127.0.0.1", port: int = 8000) -> None:
  """Serves until SIGTERM or Ctrl-C. Then no more is accepted, and what has been accepted is answered.

  Args:
    app: The application, of `mtl.serve.app`.
    host: The address to listen on: this one is for this machine alone.
    port: The port; 0: any that is free.

  Raises:
    UserError: The address cannot be used, the model cannot be compiled, or the extra `serve` is not installed.
  """
  with extra("serve", "a service needs an extra"):
    import uvicorn
  model = app.state.model
  with _listening(host, port) as listener:
    config = uvicorn.Config(
      app,
      log_level="warning",
      access_log=False,
      server_header=False,
      ws="none",
      lifespan="on",
      timeout_keep_alive=30,
      timeout_graceful_shutdown=round(model.limits.timeout) + 5,
    )
    server = uvicorn.Server(config)

    def stop() -> None:
      server.should_exit = True

    model.stop = stop
    name = f"[{host}]" if ":" in host else host
    with _logging() as log, _signals(stop), warnings.catch_warnings():
      warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of names that clients send, in pictures
      log.info("listening on http://%s:%d", name, listener.getsockname()[1])
      server.run(sockets=[listener])
      log.info("stopped")
  if model.failed:
    raise UserError("the service has stopped: its model cannot be compiled, see above.")


def _listening(host: str, port: int) -> socket.socket:
  try:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)
  except OSError as error:
    told = (error.strerror or str(error)).partition(" (while")[0]  # what follows says the address again
    raise UserError(f"cannot listen on {host}, port {port}: {told}: choose another --port or --host.") from error


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
  """Stops at a signal before uvicorn listens to them; after it has stopped at one it raises that again, for nothing."""
  old = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGTERM, signal.SIGINT)}
  try:
    yield
  finally:
    for number, handler in old.items():
      signal.signal(number, handler)


@contextlib.contextmanager
def _logging() -> Iterator[logging.Logger]:
  """What the service logs, on standard output."""
  log = logging.getLogger("mtl_jax.serve")
  handler = logging.StreamHandler(sys.stdout)
  handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
  level, propagate = log.level, log.propagate
  log.addHandler(handler)
  log.setLevel(logging.INFO)
  log.propagate = False
  try:
    yield log
  finally:
    log.removeHandler(handler)
    log.setLevel(level)
    log.propagate = propagate
