"""Reports side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mtl_jax.plan._report import Report

_FITS = {True: "yes", False: "no", None: "?"}


def table(reports: Sequence[Report]) -> Any:
  """The reports of one topology as a rich table, every figure for one device.

  "moved" are the bytes accessed, "on ring" the bytes that a device sends if collectives run around a ring.

  Args:
    reports: From `plan`, at least one.

  Returns:
    A `rich.table.Table`.
  """
  from rich.table import Table

  first = reports[0]
  count = "1 device" if first.devices == 1 else f"{first.devices} devices"
  room = "" if first.capacity is None else f", {first.capacity / 2**30:.2f} GiB each"
  result = Table(title=f"{first.topology}: {count}{room}; all figures for one device and one step")
  result.add_column("engine", no_wrap=True)
  result.add_column("fits")
  for title in ("arguments\nMiB", "temp\nMiB", "outputs\nMiB", "peak\nMiB", "GFLOP", "moved\nMiB"):
    result.add_column(title, justify="right")
  result.add_column("collectives\nnumber, kind, MiB", no_wrap=True)
  for title in ("on ring\nMiB", "predicted\nms", "compile\ns"):
    result.add_column(title, justify="right")
  for report in reports:
    result.add_row(*_cells(report))
  return result


def _cells(report: Report) -> list[str]:
  memory = report.memory
  kinds = (memory.arguments, memory.temporary, memory.outputs, memory.peak) if memory else (None,) * 4
  predicted = report.roofline
  return [
    report.engine,
    _FITS[report.fits],
    *map(_mib, kinds),
    "" if report.flops is None else _short(report.flops / 1e9),
    _mib(report.accessed),
    "\n".join(f"{entry.calls} {entry.kind} {_mib(entry.bytes)}" for entry in report.collectives),
    _mib(sum(entry.sent for entry in report.collectives)) if memory else "",
    "" if predicted is None else f"{_short(1e3 * predicted.seconds)}\n({predicted.bound})",
    f"{report.compile_seconds:.1f}",
  ]


def _mib(count: float | None) -> str:
  return "" if count is None else _short(count / 2**20)


def _short(value: float) -> str:
  return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
