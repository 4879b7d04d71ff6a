"""What figures were measured on, and where they are written."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import jax

RESULTS = Path(__file__).parent / "results"


def describe(*packages: str) -> str:
  """The processor, its cores, and the versions of JAX and other packages, in one line."""
  versions = [f"{name} {importlib.metadata.version(name)}" for name in ("jax", *packages)]
  return f"{_processor()}, {os.cpu_count()} cores, {jax.default_backend()}; Python {platform.python_version()}, " + (
    ", ".join(versions)
  )


def _processor() -> str:
  info = Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.exists() else []
  names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
  return names[0] if names else platform.machine()


def write(name: str, text: str) -> None:
  """Prints the text and writes it to `benchmarks/results/<name>`."""
  print(text)
  RESULTS.mkdir(exist_ok=True)
  (RESULTS / name).write_text(text + "\n")
