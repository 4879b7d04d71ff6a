"""Clients of a service: connections that are kept, each with one request at a time, as fast as they are answered."""

from __future__ import annotations

import asyncio
import collections
import time
from typing import NamedTuple


class Load(NamedTuple):
  """What clients have seen.

  Attributes:
    seconds: How long they asked.
    latencies: Seconds from request to answer, of each answer of status 200.
    statuses: How many answers of each status; `"lost"`: connections that ended behind a request without an answer.
  """

  seconds: float
  latencies: list[float]
  statuses: collections.Counter[str]


def request(host: str, body: bytes) -> bytes:
  """A request for predictions, as bytes."""
  head = (
    f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
  )
  return head.encode() + body


async def ask(port: int, clients: int, seconds: float, body: bytes, patience: float = 0.0) -> Load:
  """Lets clients ask for some seconds; who gets another status than 200 waits for `patience` seconds."""
  sent, latencies, statuses = request(f"127.0.0.1:{port}", body), list[float](), collections.Counter[str]()
  begun = time.perf_counter()

  async def client() -> None:
    reader = writer = None
    while time.perf_counter() - begun < seconds:
      try:
        if writer is None:
          reader, writer = await asyncio.open_connection("127.0.0.1", port)
      except OSError:  # the service has stopped
        return
      since = time.perf_counter()
      try:
        writer.write(sent)
        status, kept = await _answer(reader)
      except (OSError, EOFError):
        statuses["lost"] += 1
        writer = None
        continue
      statuses[status] += 1
      if status == "200":
        latencies.append(time.perf_counter() - since)
      elif patience:
        await asyncio.sleep(patience)
      if not kept:
        writer.close()
        writer = None
    if writer is not None:
      writer.close()

  await asyncio.gather(*(client() for _ in range(clients)))
  return Load(time.perf_counter() - begun, latencies, statuses)


async def _answer(reader) -> tuple[str, bool]:
  """The status of an answer that has been read whole, and whether its connection is kept."""
  head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
  (length,) = (int(line.partition(":")[2]) for line in head.split("\r\n") if line.startswith("content-length:"))
  await reader.readexactly(length)
  return head.split()[1], "connection: close" not in head
