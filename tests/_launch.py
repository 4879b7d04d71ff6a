"""Processes of their own on this machine, with virtual devices."""

import json
import os
import signal
import socket
import subprocess
import sys


def free_port():
  with socket.create_server(("127.0.0.1", 0)) as server:
    return server.getsockname()[1]


def start(words, devices=1):
  """Starts `python WORDS` with that many virtual devices."""
  flags = os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={devices}"
  environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)}
  ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as in what a shell starts in the background
  if ignored:  # the new process would ignore interrupts, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    return subprocess.Popen(
      [sys.executable, *map(str, words)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
  finally:
    if ignored:
      signal.signal(signal.SIGINT, signal.SIG_IGN)


def finish(processes, seconds=120):
  """What each wrote and how it ended: [(exit code, stdout, lines of stderr without those of native libraries)]."""
  found = []
  try:
    for process in processes:
      out, err = process.communicate(timeout=seconds)
      lines = [line for line in err.splitlines() if line.startswith("mtl-jax:") or "Error" in line]
      found.append((process.returncode, out, lines, err))
  finally:
    for process in processes:
      process.kill()
      process.communicate()  # closes its pipes
  return found


def found_by(module, devices=8):
  """What a module prints as its last line, JSON, when it is run with so many virtual devices."""
  process = start(["-m", module], devices)
  out, err = process.communicate()
  assert process.returncode == 0, err[-3000:]
  return json.loads(out.splitlines()[-1])
