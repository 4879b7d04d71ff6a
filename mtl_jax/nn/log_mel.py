"""From waves to features of their frequencies over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.nn._padded import kept

_FLOOR = 1e-8  # of the power of a full-scale tone, -80 dB: below it is noise of 16 bits


class LogMel(nn.Module):
  r"""Maps waves to the logarithm of their power in mel bands, frame by frame; without parameters.

  $$ y_{fm} = \log\Big(\sum_k M_{mk} \Big|\sum_n h_n w_{fH + n} e^{-2 \pi i k n / N}\Big|^2 / (\textstyle\sum_n h_n)^2
     + 10^{-8}\Big) $$

  with a Hann window h and triangles M between points that are evenly spaced in mel, $2595 \log_{10}(1 + f / 700)$. A
  frame begins every `hop` seconds while the wave lasts; what a window sees behind the end is 0, whatever stands at
  padding, so a padded wave has the features of an unpadded one.

  Attributes:
    rate: Samples a second.
    bands: The number of mel bands.
    window: The length of the window in seconds.
    hop: From one frame to the next, in seconds.
    low: Where the lowest band begins, in Hz.
    high: Where the highest band ends, in Hz; None: at half of `rate`.
    normalise: Each wave's features are moved and scaled to mean 0 and variance 1 over all its frames and bands, so how
      loud it is does not matter.

  >>> stage = LogMel(rate=8000, bands=20)
  >>> y = stage.apply({}, {"wave": jnp.zeros((2, 1000), jnp.int16), "length": jnp.array([1000, 150])})
  >>> y["x"].shape, y["mask"].sum(axis=1).tolist()
  ((2, 10, 20), [10, 2])

  References:
    Davis and Mermelstein, *Comparison of Parametric Representations for Monosyllabic Word Recognition*, 1980.
  """

  rate: int = 16000
  bands: int = 40
  window: float = 0.025
  hop: float = 0.0125
  low: float = 60.0
  high: float | None = None
  normalise: bool = True

  @nn.compact
  def __call__(self, x: Any) -> dict[str, jax.Array]:
    """Makes features of waves.

    Args:
      x: Waves (B, S), int16 or floats in [-1, 1], or `{"wave": (B, S), "length": (B,)}` with the number of samples of
        each that are no padding.

    Returns:
      `{"x": (B, L, bands), "mask": (B, L)}`, for trunks of sequences, with L = ceil(S / hop / rate).

    Raises:
      UserError: The input is no such waves, or a band is too narrow for the window.
    """
    wave, length = _waves(x)
    window, hop = round(self.window * self.rate), max(1, round(self.hop * self.rate))
    size = 1 << (window - 1).bit_length()
    weights = filters(self.rate, size, self.bands, self.low, self.high or self.rate / 2)
    dtype = wave.dtype if jnp.issubdtype(wave.dtype, jnp.floating) else jnp.float32
    if jnp.issubdtype(wave.dtype, jnp.integer):
      wave = wave.astype(jnp.float32) / (jnp.iinfo(wave.dtype).max + 1.0)
    wave = jnp.where(jnp.arange(wave.shape[1])[None] < length[:, None], wave.astype(jnp.float32), 0)
    count = -(-wave.shape[1] // hop)
    wave = jnp.pad(wave, ((0, 0), (0, max(0, (count - 1) * hop + window - wave.shape[1]))))
    places = np.arange(count)[:, None] * hop + np.arange(window)[None]
    hann = np.hanning(window + 1)[:-1]
    frames = wave[:, places] * jnp.asarray(hann, jnp.float32)[None, None]
    power = jnp.square(jnp.abs(jnp.fft.rfft(frames, n=size))) / float(hann.sum() ** 2)
    y = jnp.log(power @ jnp.asarray(weights.T, power.dtype) + _FLOOR)
    mask = jnp.arange(count)[None] * hop < length[:, None]
    if self.normalise:
      y = _normalised(y, mask)
    return {"x": kept(y.astype(dtype), mask), "mask": mask}


def _waves(given: Any) -> tuple[jax.Array, jax.Array]:
  wave = given.get("wave") if isinstance(given, Mapping) else given
  real = wave is not None and (jnp.issubdtype(wave.dtype, jnp.floating) or wave.dtype == jnp.int16)
  if wave is None or wave.ndim != 2 or not real:
    found = f"{wave.dtype}{list(wave.shape)}" if wave is not None else ", ".join(map(repr, given))
    raise UserError(f"LogMel: the input is {found}, expected waves (B, S), int16 or floats, or {{'wave', 'length'}}.")
  length = given.get("length") if isinstance(given, Mapping) else None
  if length is None:
    return jnp.asarray(wave), jnp.full(wave.shape[:1], wave.shape[1], jnp.int32)
  if length.shape != wave.shape[:1]:
    raise UserError(f"LogMel: the lengths have shape {length.shape} and the waves {wave.shape}, expected (B,).")
  return jnp.asarray(wave), jnp.asarray(length).astype(jnp.int32)


def _normalised(y: jax.Array, mask: jax.Array) -> jax.Array:
  count = jnp.maximum(mask.sum(axis=1) * y.shape[2], 1).astype(y.dtype)[:, None, None]
  centred = kept(y - kept(y, mask).sum(axis=(1, 2), keepdims=True) / count, mask)
  return centred / jnp.sqrt(jnp.square(centred).sum(axis=(1, 2), keepdims=True) / count + 1e-3)


def filters(rate: int, size: int, bands: int, low: float, high: float) -> np.ndarray:
  """Triangles over the frequencies of a Fourier transform, evenly spaced in mel, each of height 1.

  Args:
    rate: Samples a second.
    size: The length of the transform.
    bands: The number of bands.
    low: Where the lowest begins, in Hz.
    high: Where the highest ends, in Hz.

  Returns:
    (bands, size / 2 + 1).

  Raises:
    UserError: The edges are out of order, or a band has no frequency.
  """
  if not 0 <= low < high <= rate / 2:
    raise UserError(f"LogMel: bands from {low:g} to {high:g} Hz, expected within 0 and half of the rate, {rate / 2:g}.")
  first, last = (2595 * np.log10(1 + edge / 700) for edge in (low, high))
  edges = 700 * (10 ** (np.linspace(first, last, bands + 2) / 2595) - 1)
  at, left, middle, right = np.arange(size // 2 + 1) * rate / size, *(edges[i : i + bands, None] for i in range(3))
  found = np.maximum(0, np.minimum((at - left) / (middle - left), (right - at) / (right - middle)))
  if not (found > 0).any(axis=1).all():
    raise UserError(f"LogMel: {bands} bands are too many for a window of {size / rate:.3g} s: take fewer, or a longer.")
  return found
