"""Spoken digits of six speakers."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.source._folder import arrays_of, folder

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
RATE = 8000

_PLACE = "https://github.com/Jakobovski/free-spoken-digit-dataset"
_FILE = "fsdd_wav8k_idx0-24.npz"
_KEYS = ("wav", "off", "digit", "speaker", "index")
_TEST, _VALID = 5, 8  # takes before these are to test and to tune on


class SpokenDigits(NamedTuple):
  """Clips of one spoken digit each.

  Attributes:
    waves: N arrays (n,) int16, 8000 samples a second.
    digit: (N,) int32, which digit is said.
    speaker: (N,) int32, who says it, by the number in `SPEAKERS`.
  """

  waves: list[np.ndarray]
  digit: np.ndarray
  speaker: np.ndarray


def spoken_digits(data_dir: str | os.PathLike[str] | None = None) -> dict[str, SpokenDigits]:
  """The digits zero to nine, said 25 times by each of six speakers, of the Free Spoken Digit Dataset.

  Args:
    data_dir: A directory with a file `fsdd/fsdd_wav8k_idx0-24.npz`; None: that of the environment variable
      `MTL_JAX_DATA`. It holds the recordings 0 to 24 of each digit and speaker one behind the other, `wav` int16, clip
      i being `wav[off[i] : off[i + 1]]`, and for each clip `digit`, `speaker` (in alphabetical order) and `index`, the
      number of the recording.

  Returns:
    The parts `train` (1020 clips, recordings 8 to 24), `valid` (180, recordings 5 to 7) and `test` (300, recordings 0
    to 4, the official part).

  Raises:
    UserError: The file is missing, is another or is damaged.

  References:
    Jackson et al., *Free Spoken Digit Dataset*, 2018, CC BY-SA 4.0.
  """
  directory = folder(data_dir)
  told = f"make it of {_PLACE}, as the docstring of mtl.data.source.spoken_digits says"
  if directory is None:
    raise UserError(f"spoken digits need a file D/fsdd/{_FILE}: {told}, and set MTL_JAX_DATA to the directory D.")
  path = directory / "fsdd" / _FILE
  if not path.is_file():
    raise UserError(f"spoken digits are not at {path}: {told}.")
  wave, starts, digit, speaker, take = arrays_of("spoken digits", path, _KEYS).values()
  count = len(digit)
  fits = len(speaker) == len(take) == count == len(starts) - 1 and starts[-1] == len(wave) and wave.dtype == np.int16
  if not fits or digit.max(initial=0) >= len(WORDS) or speaker.max(initial=0) >= len(SPEAKERS):
    raise UserError(f"{path} holds arrays that do not fit each other: {told}.")
  part_of = np.where(take < _TEST, 2, np.where(take < _VALID, 1, 0))

  def clips(part: int) -> SpokenDigits:
    rows = np.flatnonzero(part_of == part)
    waves = [wave[starts[row] : starts[row + 1]] for row in rows]
    return SpokenDigits(waves, digit[rows].astype(np.int32), speaker[rows].astype(np.int32))

  return {name: clips(part) for part, name in enumerate(("train", "valid", "test"))}
