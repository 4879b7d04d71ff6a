"""What eight TPU v5e send to each other in one step, read off programs that the TPU compiler wrote."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plan._traffic import INPUTS, TASKS, WIDTHS, K

pytestmark = pytest.mark.slow  # the compiler for TPUs

SHARED = 4 * sum(a * b + b for a, b in itertools.pairwise((INPUTS, *WIDTHS)))
HEADS = 4 * TASKS * (WIDTHS[-1] + 1)


@pytest.fixture(scope="module")
def traffic():
  """Bytes of all collectives by kind, by balancer and engine."""
  compiler = Path(sys.prefix) / "tpu"
  assert (compiler / "libtpu").is_dir(), f"no TPU compiler in {compiler}: run `make test`, which installs it there"
  environment = {key: value for key, value in os.environ.items() if key != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
  environment |= {"PYTHONPATH": str(compiler), "JAX_PLATFORMS": "cpu"}
  command = [sys.executable, "-m", "tests.plan._traffic"]
  done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout)


@pytest.mark.parametrize(
  ("step", "expected"),
  [
    ("equal losses", 2 * SHARED),
    ("pcgrad features", 2 * SHARED),
    ("pcgrad stacked", (TASKS + 1) * SHARED),
    ("pcgrad gram", (TASKS + 2) * SHARED),
    (f"pcgrad sketched({K})", 2 * SHARED + 2 * TASKS * 4 * K),
    ("pcgrad factored", (TASKS + 2) * SHARED),  # no layer pays: 1024 examples, layers of 512
    ("pcgrad stacked shard_map", (TASKS + 1) * SHARED),
    ("pcgrad gram shard_map", (TASKS + 2) * SHARED),
    ("pcgrad stacked zero", (TASKS + 1) * SHARED),  # the new parameters are gathered in place of the gradient
  ],
)
def test_a_ring_sends(traffic, step, expected):
  """Twice the size of an all-reduce, once the unsharded size of a reduce-scatter or all-gather; the heads aside."""
  found = {kind: size for kind, size in traffic[step].items() if kind != "arguments"}
  assert found.keys() <= {"all-reduce", "reduce-scatter", "all-gather"}, found
  sent = sum((2 if kind == "all-reduce" else 1) * size for kind, size in found.items()) - 2 * HEADS
  assert sent == pytest.approx(expected, rel=0.05), found


@pytest.mark.parametrize("arch", ["mmoe", "ple"])
def test_no_experts_parameters_are_gathered(traffic, arch):
  """On data=2,expert=4: what does not grow with the batch is less than the smallest part of a layer of experts."""
  small, large = ({"all-gather": 0, "all-to-all": 0} | traffic[f"{arch} {size}"] for size in (512, 1024))
  for kind in ("all-gather", "all-to-all"):
    assert 2 * small[kind] - large[kind] < 4 * WIDTHS[0] * INPUTS / 4
  assert large["all-reduce"] > 0


def test_sharded_parameters_stay_sharded(traffic):
  """FSDP: parameters and rows in parts, parameters gathered for use, and no activations sent."""
  found = traffic["pcgrad stacked fsdp"]
  assert found.keys() == {"all-reduce", "reduce-scatter", "all-gather", "arguments"}
  assert found["reduce-scatter"] == pytest.approx(TASKS * SHARED, rel=0.05)
  assert found["all-gather"] <= 3 * SHARED  # forward, and backward again, at most
  assert found["all-reduce"] < 0.05 * SHARED
  batch = 4 * 1024 * (INPUTS + TASKS) / 8
  assert found["arguments"] - batch < 1.1 * 3 * (SHARED / 8 + HEADS)  # parameters and two moments
  assert traffic["pcgrad stacked zero"]["arguments"] - batch < 1.1 * (SHARED + 2 * SHARED / 8 + 3 * HEADS)
