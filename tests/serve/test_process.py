"""The command in a process of its own: it says where it is, answers what it has accepted, and ends with 0."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import pytest


@pytest.fixture
def served(place):
  words = ["serve", str(place / "run"), "--recipe", str(place / "my.py"), "--port", "0", "--max-batch-size", "2"]
  process = subprocess.Popen(
    [sys.executable, "-m", "mtl_jax", *words],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1"},
  )
  assert process.stdout is not None
  line = process.stdout.readline()
  assert "listening on http://127.0.0.1:" in line, line + (process.communicate()[1] if not line else "")
  yield process, int(line.rpartition(":")[2])
  process.kill()
  process.communicate()


@pytest.mark.slow
def test_what_is_accepted_is_answered_after_sigterm(served):
  process, port = served
  while "ready after" not in (line := process.stdout.readline()):
    assert line
  with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as found:
    assert json.load(found) == {"status": "ready"}
  body = json.dumps({"examples": [{"x": np.zeros((3, 4, 1), int).tolist()}] * 5}).encode()
  with socket.create_connection(("127.0.0.1", port)) as client:
    head = "POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
    assert b"100 Continue" in client.recv(1000)  # so the request is accepted
    process.send_signal(signal.SIGTERM)
    client.sendall(body)
    found = b""
    while part := client.recv(65536):
      found += part
  start, _, told = found.partition(b"\r\n\r\n")
  assert b" 200 " in start.splitlines()[0] and len(json.loads(told)["answers"]) == 5
  assert process.wait(20) == 0
  out, error = process.communicate()
  assert "POST /predict 200" in out and out.strip().endswith("stopped") and "Traceback" not in error
