"""Topologies: groups of devices to compile for, described by compiler plugins on machines without them."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.plan._chips import Chip, chip, has_slice, slices
from mtl_jax.plan._cuda import target_config


class Target(NamedTuple):
  """Devices to compile for.

  Attributes:
    name: For example `v5e:4x4`.
    chip: Its public figures; None for CPU devices.
    platform: As `jax.default_backend()` would call it there.
    mesh: All devices along the axis `data`.
    devices_per_chip: The devices as which JAX shows one chip, 2 where each core is one.
    compiler_options: For `lowered.compile`.
  """

  name: str
  chip: Chip | None
  platform: str
  mesh: jax.sharding.Mesh
  devices_per_chip: int = 1
  compiler_options: Mapping[str, Any] = {}


# The extras that bring a compiler, and its package. JAX calls the plugins of both versions of CUDA "cuda".
_COMPILERS = {"tpu": {"tpu": "libtpu"}, "gpu": {"cuda12": "jax_cuda12_plugin", "cuda13": "jax_cuda13_plugin"}}
# Without them libtpu asks the cloud's metadata server who it is, and two processes exclude each other by a lock file.
_LIBTPU = {
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-8",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def parse(name: str) -> tuple[str, tuple[int, ...]]:
  """The chip and the size of a topology.

  Raises:
    UserError: Not of the form CHIP:SIZE, no such chip, or it does not come in that size.

  >>> parse("v5e:4x4")
  ('v5e', (4, 4))
  """
  kind, _, text = name.partition(":")
  if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
    raise UserError(f"topology is {name!r}, expected CHIP:SIZE, for example v5e:4x4, h100:8 or cpu:8.")
  size = tuple(map(int, text.split("x")))
  if kind == "cpu":
    if len(size) > 1:
      raise UserError(f"topology is {name!r}, expected a number of CPU devices, for example cpu:8.")
  elif not has_slice(chip(kind), size):
    raise UserError(f"topology {name!r} does not exist: {kind} comes as {slices(chip(kind))}.")
  return kind, size


def open_topology(name: str) -> Target:
  """The devices of a topology, without touching any; CPU devices are made if JAX has not started yet.

  Args:
    name: As in `plan`, for example `v5e:4x4`, `h100:8` or `cpu:8`.

  Returns:
    The devices, for `plan` or `plan_step`.

  Raises:
    UserError: Another form, no such chip, or it does not come in that size; the compiler for the chip is not installed;
      too few CPU devices.
  """
  kind, size = parse(name)
  if kind == "cpu":
    return Target(name, None, "cpu", _mesh(_cpu_devices(size[0])))
  found = chip(kind)
  package = _compiler(found)
  from jax.experimental import topologies

  try:
    if found.platform == "gpu":
      described = topologies.get_topology_desc(
        platform="cuda", target_config=target_config(found), topology=f"1x1x{size[0]}"
      )
      # Triton's matrix products are tuned by running them, for which there is no device.
      return Target(name, found, "gpu", _mesh(described.devices), 1, {"xla_gpu_enable_triton_gemm": False})
    # A host has four chips unless told otherwise; a slice of one chip needs a host of one.
    host = {"chips_per_host_bounds": (1, 1, 1)} if math.prod(size) == 1 else {}
    with _environment(_LIBTPU):
      described = topologies.get_topology_desc(platform="tpu", topology_name=name, **host)
  except (RuntimeError, NotImplementedError) as error:
    reason = str(error).splitlines()[0]
    raise UserError(f"the installed {package} cannot describe {name}: {reason} Try a newer one.") from error
  return Target(name, found, "tpu", _mesh(described.devices), len(described.devices) // math.prod(size))


def _compiler(chip: Chip) -> str:
  """The installed package that compiles for a chip."""
  extras = _COMPILERS[chip.platform]
  for package in extras.values():
    if importlib.util.find_spec(package) is not None:
      return package
  raise UserError(
    f"planning for {chip.name} needs the compiler of the extra {' or '.join(map(repr, extras))}: "
    f"pip install 'mtl-jax[{next(iter(extras))}]'."
  )


def _mesh(devices: Any) -> jax.sharding.Mesh:
  return jax.sharding.Mesh(np.array(devices), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def _cpu_devices(count: int) -> list[Any]:
  with contextlib.suppress(RuntimeError):  # JAX has started: there are the devices that there are
    if "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
      jax.config.update("jax_num_cpu_devices", count)
  devices = jax.devices("cpu")
  if len(devices) < count:
    raise UserError(
      f"cpu:{count} needs {count} CPU devices and JAX has started with {len(devices)}: plan before anything else "
      f"runs, or start with XLA_FLAGS=--xla_force_host_platform_device_count={count}."
    )
  return devices[:count]


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
  """Environment variables for the time in which libtpu is loaded; those that are set stay as they are."""
  added = {key: value for key, value in values.items() if key not in os.environ}
  os.environ.update(added)
  try:
    yield
  finally:
    for key in added:
      del os.environ[key]
