"""What a run was made with: versions, platform, devices."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import jax

PACKAGES = ("mtl-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def environment() -> dict[str, Any]:
  """The versions of Python and of the packages that training depends on, and the kind and number of the devices.

  >>> sorted(environment())
  ['devices', 'machine', 'packages', 'python']
  """
  devices = [device.device_kind for device in jax.devices()]
  return {
    "python": platform.python_version(),
    "machine": f"{platform.system()} {platform.machine()}",
    "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    "devices": {kind: devices.count(kind) for kind in dict.fromkeys(devices)},
  }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """What is other now, in words.

  >>> changes({"python": "3.11.7", "packages": {"jax": "0.10.2"}}, {"python": "3.13.1", "packages": {"jax": "0.10.2"}})
  ['python 3.11.7 -> 3.13.1']
  """
  told = []
  for key in [*before, *(key for key in now if key not in before)]:
    was, is_now = before.get(key), now.get(key)
    if isinstance(was, Mapping) and isinstance(is_now, Mapping):
      told += changes(was, is_now)
    elif was != is_now:
      told.append(f"{key} {was} -> {is_now}")
  return told
