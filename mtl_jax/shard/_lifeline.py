"""Processes that end together: a connection from each to process 0, whose end without a word is that of all.

Left alone, a process whose peer has died hangs in a collective until JAX's heartbeat misses the peer, and is then
aborted with pages of native logs. A connection ends when its process does, however that happened.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import sys
import threading
import time

import jax
import numpy as np

from mtl_jax._core.errors import UserError

_LINE = 512  # bytes, of which all are sent
_GRACE = 2.0  # seconds in which a process that fails for the same reason as another can tell so itself
_current: list[_Lifeline] = []  # at most one: which processes belong together is a fact of the process, as in JAX


class _Lifeline:
  """The connections of this process: of process 0 to all others, of another to process 0."""

  def __init__(self, peers: dict[int, socket.socket], own: int, count: int):
    self._peers, self._own, self._count = peers, own, count
    self._over = False
    self._lock = threading.Lock()
    for peer, connection in peers.items():
      connection.settimeout(None)
      connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
      threading.Thread(target=self._watch, args=(peer, connection), daemon=True).start()

  def say(self, word: str) -> None:
    for connection in self._peers.values():
      with contextlib.suppress(OSError):
        connection.sendall(f"{word}\n".encode())

  def _watch(self, peer: int, connection: socket.socket) -> None:
    word = ""
    with contextlib.suppress(OSError):
      word = connection.makefile().readline().strip()
    if word == "done" or self._over:
      return
    what, _, who = word.partition(" ") if word else ("lost", "", str(peer))
    with self._lock:  # for ever: the first to come here ends the process
      if self._over:  # it has just failed by itself
        return
      if self._own == 0:
        self.say(f"{what} {who}")
      if what == "failed":
        time.sleep(_GRACE)
      sys.stdout.flush()
      print(
        f"mtl-jax: process {who} of {self._count} ended before the run was done, so process {self._own} ends too; "
        f"see what process {who} said, and resume the run.",
        file=sys.stderr,
        flush=True,
      )
      self._leave(1)

  def announce(self) -> None:
    with self._lock:  # which is not to be had when another process has failed before: this one is ending
      self._over = True
      self.say(f"failed {self._own}")

  def fail(self, code: int) -> None:
    self.announce()
    sys.stdout.flush()
    sys.stderr.flush()
    if self._own == 0:
      time.sleep(_GRACE)
    self._leave(code)

  def _leave(self, code: int) -> None:
    if self._own == 0:  # with it goes JAX's coordinator, whose end aborts those that are still there
      time.sleep(_GRACE)
    os._exit(code)

  def at_exit(self) -> None:
    if getattr(sys, "last_value", None) is not None:  # an exception has been printed
      self.fail(1)
    self._over = True
    self.say("done")


def tie(coordinator: str | None, timeout: int) -> None:
  """Connects the processes of `jax.distributed`, of which all call this.

  Args:
    coordinator: The address of process 0 that the others know; None: it tells them where it can be reached.
    timeout: Seconds to wait for the others.
  """
  process, count = jax.process_index(), jax.process_count()  # starts JAX, whose own clean-up so runs after ours
  if count == 1:
    return
  if process == 0:
    with socket.create_server(("", 0), backlog=count) as server:
      hosts = [coordinator.rpartition(":")[0]] if coordinator else _own_addresses()
      _told(" ".join([str(server.getsockname()[1]), *hosts]))
      peers = _accept(server, count - 1, timeout)
  else:
    port, *hosts = _told("").split()
    peers = {0: _connect(hosts, int(port), process, timeout)}
  _current.append(_Lifeline(peers, process, count))
  atexit.register(_current[-1].at_exit)


def _told(text: str) -> str:
  """What process 0 says, in all processes."""
  from jax.experimental import multihost_utils

  said = np.frombuffer(text.encode().ljust(_LINE), np.uint8)
  return bytes(np.asarray(multihost_utils.broadcast_one_to_all(said))).decode().strip()


def _own_addresses() -> list[str]:
  """Where others may reach this machine, as far as it knows: its name, and its addresses."""
  name = socket.getfqdn()
  with contextlib.suppress(OSError):
    return [name, *socket.gethostbyname_ex(socket.gethostname())[2]]
  return [name]


def _accept(server: socket.socket, count: int, timeout: int) -> dict[int, socket.socket]:
  server.settimeout(timeout)
  peers = {}
  while len(peers) < count:
    connection, _ = server.accept()
    connection.settimeout(timeout)
    peers[int(connection.recv(16).decode())] = connection
  return peers


def _connect(hosts: list[str], port: int, process: int, timeout: int) -> socket.socket:
  """A connection to process 0, at the first of its addresses that answers."""
  for host in hosts:
    with contextlib.suppress(OSError):
      connection = socket.create_connection((host.strip("[]"), port), timeout=timeout / len(hosts))
      connection.sendall(f"{process:<16}".encode())
      return connection
  raise UserError(
    f"process {process} cannot reach process 0 at {' or '.join(hosts)}, port {port}: start all processes with "
    "coordinator=HOST:PORT, an address of process 0 that they all can reach."
  )


def is_tied() -> bool:
  """Whether this is one of several processes."""
  return bool(_current)


def announce() -> None:
  """After an exception: ends the other processes, unless one of them is its cause, and then does not return."""
  for lifeline in _current:
    time.sleep(1)  # collectives may fail a moment before the lifeline
    lifeline.announce()


def fail(code: int) -> None:
  """Ends this process with an exit code, and by it the others; returns if it is the only one."""
  for lifeline in _current:
    lifeline.fail(code)
