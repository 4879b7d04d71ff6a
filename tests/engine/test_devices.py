"""The same step on eight devices, divided by the compiler or written for one of them, is the step on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine._devices import CASES


@pytest.fixture(scope="module")
def distances():
  environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
  command = [sys.executable, "-m", "tests.engine._devices"]
  done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout)


@pytest.mark.parametrize("case", [" ".join(case) for case in CASES])
def test_eight_devices_take_the_step_of_one(distances, case):
  # Sums in another order; gradients before batch normalisation are small differences.
  limit = 5e-3 if case.startswith("conv") else 2e-5
  for way, distance in distances[case].items():
    assert distance < limit, way
