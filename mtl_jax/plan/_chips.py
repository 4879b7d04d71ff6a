"""Public figures of accelerators: peak rates, memory, links, and the slices one can have."""

from __future__ import annotations

import dataclasses
import math

from mtl_jax._core.errors import UserError, nearest

_CLOUD = "cloud.google.com/tpu/docs/"
_JOUPPI = "Jouppi et al., A Domain-Specific Supercomputer for Training Deep Neural Networks, CACM 2020"
_SCALING = "Austin et al., How to Scale Your Model, 2025, jax-ml.github.io/scaling-book"
_SMALL = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")


@dataclasses.dataclass(frozen=True)
class Chip:
  """Public figures of one chip, all per second where they are rates.

  Attributes:
    name: As in topologies, for example `v5e`.
    platform: `"tpu"` or `"gpu"`.
    flops: Peak dense bfloat16 FLOP/s.
    memory: Bytes of HBM.
    bandwidth: Bytes/s between HBM and the chip.
    links: Bytes/s that the chip can send to others, over all of its links at once.
    slices: The sizes there are; for 3D tori those below a cube of 64 chips.
    largest: Chips in the largest slice.
    source: Where the figures are published.
    usable: The share of the memory that a program gets.
  """

  name: str
  platform: str
  flops: float
  memory: float
  bandwidth: float
  links: float
  slices: tuple[str, ...]
  largest: int
  source: str
  usable: float = 1.0


def _tpu(name, tflops, gib, gbps, links, slices, largest, source):
  return Chip(name, "tpu", tflops * 1e12, gib * 2**30, gbps * 1e9, links * 1e9, slices, largest, source)


def _gpu(name, tflops, gigabytes, gbps, links, source):
  # JAX takes three quarters of a GPU's memory unless told otherwise, see docs.jax.dev, "GPU memory allocation".
  slices = ("1", "2", "4", "8")
  return Chip(name, "gpu", tflops * 1e12, gigabytes * 1e9, gbps * 1e9, links * 1e9, slices, 8, source, usable=0.75)


# Links of TPUs: half of the bidirectional rate of the chip where Google gives that, else links x rate one way.
_CHIPS = {
  chip.name: chip
  for chip in (
    _tpu("v2", 46, 16, 700, 4 * 62, ("2x2", "4x4", "4x8", "8x8", "8x16", "16x16"), 256, _JOUPPI),
    _tpu("v3", 123, 32, 900, 4 * 82, ("2x2", *_SMALL[3:], "16x32", "32x32"), 1024, f"{_CLOUD}v3; links: {_JOUPPI}"),
    _tpu("v4", 275, 32, 1200, 6 * 45, _CUBES, 4096, f"{_CLOUD}v4; links: {_SCALING}"),
    _tpu("v5e", 197, 16, 819, 400 / 2, _SMALL, 256, f"{_CLOUD}v5e"),
    _tpu("v5p", 459, 95, 2765, 1200 / 2, _CUBES, 6144, f"{_CLOUD}v5p"),
    _tpu("v6e", 918, 32, 1640, 800 / 2, _SMALL, 256, f"{_CLOUD}v6e"),
    _tpu("tpu7x", 2307, 192, 7380, 1200 / 2, _CUBES, 9216, f"{_CLOUD}tpu7x"),
    _gpu("a100", 312, 80, 2039, 600 / 2, "NVIDIA A100 Tensor Core GPU datasheet, 80 GB SXM"),
    _gpu("h100", 989.4, 80, 3350, 900 / 2, "NVIDIA H100 Tensor Core GPU architecture, SXM5"),
    _gpu("h200", 989.4, 141, 4800, 900 / 2, "NVIDIA H200 Tensor Core GPU datasheet, SXM"),
  )
}


def names() -> tuple[str, ...]:
  """The names of all chips."""
  return tuple(_CHIPS)


def chip(name: str) -> Chip:
  """The public figures of a chip.

  Args:
    name: As in topologies, for example `v5e`.

  Returns:
    The figures.

  Raises:
    UserError: No such chip.

  >>> chip("v5e").flops
  197000000000000.0
  """
  if name not in _CHIPS:
    raise UserError(f"unknown chip {name!r}{nearest(name, _CHIPS)}: choose from {', '.join(_CHIPS)}, cpu.")
  return _CHIPS[name]


def has_slice(chip: Chip, size: tuple[int, ...]) -> bool:
  """Whether the chip comes in slices of that size.

  >>> has_slice(chip("v5e"), (4, 4)), has_slice(chip("v5e"), (3, 5)), has_slice(chip("v5p"), (4, 4, 8))
  (True, False, True)
  """
  if "x".join(map(str, size)) in chip.slices:
    return True
  is_cuboid = len(size) == 3 and all(n % 4 == 0 for n in size) and list(size) == sorted(size)
  return chip.slices == _CUBES and is_cuboid and 0 < math.prod(size) <= chip.largest


def slices(chip: Chip) -> str:
  """The sizes that the chip comes in, in words."""
  cuboids = f" and AxBxC with A <= B <= C multiples of 4, up to {chip.largest} chips" if chip.slices == _CUBES else ""
  return ", ".join(chip.slices) + cuboids
