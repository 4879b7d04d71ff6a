"""`Report`, what a compiled train step would need of its devices."""

from __future__ import annotations

from typing import Any, NamedTuple

from mtl_jax.plan._chips import Chip
from mtl_jax.plan._collectives import Collective


class Memory(NamedTuple):
  """Bytes on each device.

  Attributes:
    arguments: The train state and the device's part of the batch.
    outputs: The new train state and the metrics.
    aliased: Outputs that take the place of arguments, since the state is donated.
    temporary: What exists only within the step.
    peak: What the device must have for all of it: by the compiler's own count, at least the sum of the others.
  """

  arguments: int
  outputs: int
  aliased: int
  temporary: int
  peak: int


class Roofline(NamedTuple):
  """Seconds of a step by the chip's public peak rates; None where the compiler does not tell.

  No kernel reaches the peaks, and what XLA keeps on the chip needs no HBM, so this tells engines and bottlenecks apart
  better than it tells time.

  Attributes:
    compute: FLOPs at the peak rate of bfloat16 products.
    memory: The bytes that operations read and write, as if each came from HBM or went there.
    links: What a ring sends, over all links of the chip at once.
  """

  compute: float | None
  memory: float | None
  links: float

  @property
  def seconds(self) -> float:
    """The predicted time of a step, the largest of the three: as if they overlapped perfectly."""
    return max(value or 0.0 for value in self)

  @property
  def bound(self) -> str:
    """Which of the three that is."""
    return max(self._fields, key=lambda field: getattr(self, field) or 0.0)


class Report(NamedTuple):
  """What one compiled train step would need, each figure for one device.

  Attributes:
    engine: Its name.
    topology: As given.
    devices: How many.
    fits: Whether the step fits the devices' memory; None where their memory is not known (CPU devices).
    reason: Why it does not fit and what to change, "" if it does.
    capacity: Bytes of memory that a program gets on a device, None if not known.
    memory: By kind; None if it does not even compile for want of memory.
    flops: FLOPs a step, None if the compiler does not tell. Bodies of loops count once.
    accessed: Bytes that operations read and write, on-chip memories included; None if the compiler does not tell.
    collectives: By kind.
    roofline: The predicted time of a step; None without public figures.
    compile_seconds: What compiling took here.
  """

  engine: str
  topology: str
  devices: int
  fits: bool | None
  reason: str
  capacity: float | None
  memory: Memory | None
  flops: float | None
  accessed: float | None
  collectives: tuple[Collective, ...]
  roofline: Roofline | None
  compile_seconds: float

  def as_json(self) -> dict[str, Any]:
    """The report as plain dictionaries and lists."""
    record = self._asdict()
    record["memory"] = self.memory and self.memory._asdict()
    record["collectives"] = [entry._asdict() for entry in self.collectives]
    record["roofline"] = self.roofline and {
      **self.roofline._asdict(),
      "seconds": self.roofline.seconds,
      "bound": self.roofline.bound,
    }
    return record


def roofline(
  chip: Chip, devices_per_chip: int, flops: float | None, accessed: float | None, found: tuple[Collective, ...]
) -> Roofline:
  """The predicted time of a step on devices that are a `devices_per_chip`-th part of a chip each."""
  share = 1 / devices_per_chip
  return Roofline(
    None if flops is None else flops / (share * chip.flops),
    None if accessed is None else accessed / (share * chip.bandwidth),
    sum(entry.sent for entry in found) / (share * chip.links),
  )
