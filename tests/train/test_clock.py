"""The share of time that counts as waiting for data."""

import itertools

import pytest

from mtl_jax.train import clock as _clock


class _Result:
  def __init__(self, ready):
    self._ready = ready

  def is_ready(self):
    return self._ready


def test_only_an_idle_device_waits_for_data(monkeypatch):
  ticks = itertools.count()
  monkeypatch.setattr(_clock.time, "perf_counter", lambda: float(next(ticks)))  # each look at the clock is a second
  clock = _clock.Clock()  # 0
  loader = iter("abcd")
  assert clock.wait(loader) == "a"  # 1 to 2: the device has nothing to do yet
  assert clock.wait(loader, _Result(False)) == "b"  # 3: it is busy
  assert clock.wait(loader, _Result(True)) == "c"  # 4 to 5: it has caught up
  assert clock.lap(3) == pytest.approx((3 / 6, 2 / 6))
  clock.restart()  # 7
  assert clock.wait(loader, _Result(False)) == "d"  # 8
  assert clock.lap(1) == pytest.approx((1 / 2, 0.0))
