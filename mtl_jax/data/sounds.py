"""Sounds of users' own: files and folders of them as waves of one rate; and waves as arrays of one length.

- `read`: all wav files of a folder, or one.
- `padded`: waves of different lengths as one array and their lengths, as `mtl.nn.LogMel` takes them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError, reason
from mtl_jax.data._files import Kind, read_each

__all__ = ["padded", "read"]

SUFFIXES = (".wav", ".wave")
"""Of the files that count as sounds in a folder."""

_KIND = Kind(SUFFIXES, "wav files", "give a folder of wav files", "used")
_CLIPPED = 0.05  # the share of samples in flat peaks from which on a recording is of no use


def read(
  path: str | Path, rate: int, seconds: float, warn: Callable[[str], None] | None = None
) -> tuple[dict[str, np.ndarray], list[str]]:
  """The sounds of a folder and of the folders in it, in the order of their names, or that of one file.

  Integers of 8 to 32 bits and floats become 16 bits. The channels of stereo are averaged. Another rate is changed to
  that which is asked for, by `scipy.signal.resample_poly`.

  Args:
    path: A folder, or a wav file.
    rate: Samples a second.
    seconds: The longest sound that there is room for.
    warn: Is told of each file that cannot be used, which is then left out; None: that is an error.

  Returns:
    `{"wave": (N, S) int16, "length": (N,) int32}`, with S = rate seconds, 0 behind the end of each, and the files'
    names, relative to the folder.

  Raises:
    UserError: There is nothing there, or no wav file; a file cannot be read, is cut short, is longer than `seconds`,
      is silent (all samples are the same), or clipped (more than 5 % of them lie in flat peaks).

  >>> import tempfile
  >>> from scipy.io import wavfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   wavfile.write(f"{folder}/a.wav", 16000, np.arange(8, dtype=np.int16))
  ...   found, names = read(folder, rate=16000, seconds=0.001)
  >>> found["wave"].shape, found["length"].tolist(), names
  ((1, 16), [8], ['a.wav'])
  """
  found = read_each(path, _KIND, lambda file: _wave(file, rate, seconds), warn)
  return padded(list(found.values()), round(rate * seconds)), list(found)


def padded(waves: Sequence[Any], length: int) -> dict[str, np.ndarray]:
  """Waves as one array, with 0 behind the end of each.

  Args:
    waves: N waves, int16 (n,).
    length: The number S of samples that each has room for.

  Returns:
    `{"wave": (N, S) int16, "length": (N,) int32}`.

  Raises:
    UserError: A wave is longer.

  >>> padded([np.array([3, -4], np.int16)], 3)["wave"].tolist()
  [[3, -4, 0]]
  """
  found = np.zeros((len(waves), length), np.int16)
  for i, wave in enumerate(waves):
    if len(wave) > length:
      raise UserError(f"padded: wave {i} has {len(wave)} samples, expected at most {length}: raise length.")
    found[i, : len(wave)] = wave
  return {"wave": found, "length": np.array([len(wave) for wave in waves], np.int32)}


def _wave(file: Path, rate: int, seconds: float) -> np.ndarray:
  """The samples of a file, int16."""
  own, values = _samples(file)
  wave = values.mean(axis=1) if values.ndim == 2 else values
  if not wave.size:
    raise UserError(f"{file} is empty: it holds no samples.")
  if not np.isfinite(wave).all():
    raise UserError(f"{file} holds samples that are no finite numbers.")
  if wave.size > seconds * own * (1 + 1e-6):
    raise UserError(f"{file} takes {wave.size / own:.2f} s, expected at most {seconds:g} s: cut it into pieces.")
  if np.ptp(wave) == 0:
    raise UserError(f"{file} is silent: all its samples are the same.")
  peak = np.abs(wave).max()
  flat = float(((np.abs(wave[1:]) == peak) & (wave[1:] == wave[:-1])).mean()) if peak > 0.9 else 0.0
  if flat > _CLIPPED:
    raise UserError(f"{file} is clipped: {flat:.0%} of its samples lie in flat peaks: record it at a lower level.")
  if own != rate:
    from scipy.signal import resample_poly

    common = math.gcd(own, rate)
    wave = resample_poly(wave, rate // common, own // common)[: round(rate * seconds)]
  return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def _samples(file: Path) -> tuple[int, np.ndarray]:
  """The rate of a file, and its samples (n,) or (n, channels), floats in [-1, 1]."""
  from scipy.io import wavfile

  try:
    with warnings.catch_warnings(record=True) as told:
      warnings.simplefilter("always")
      rate, values = wavfile.read(file)
  except Exception as error:  # whatever becomes of files that are none, or are damaged
    raise UserError(f"cannot read {file} as a wav file: {reason(error).rstrip('.')}.") from error
  if any("EOF" in str(one.message) for one in told):
    raise UserError(f"{file} is cut short: its header tells of more samples than there are.")
  if values.dtype == np.uint8:
    return rate, (values.astype(np.float64) - 128) / 128
  scale = -float(np.iinfo(values.dtype).min) if np.issubdtype(values.dtype, np.integer) else 1.0
  return rate, values.astype(np.float64) / scale
