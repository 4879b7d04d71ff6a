"""Texts as numbers of their letters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtl_jax._core.errors import UserError


def letters(texts: Sequence[str], alphabet: Sequence[str], length: int | None = None) -> np.ndarray:
  """The number of each letter of texts in an alphabet, for `mtl.tasks.transcription`.

  Args:
    texts: N texts; they may be empty.
    alphabet: The letters, each one character.
    length: The number S of letters that a text has room for; None: as many as the longest has, at least 1.

  Returns:
    (N, S) int32, -1 behind the last letter.

  Raises:
    UserError: A text has a letter that is not in the alphabet, or more than `length` letters.

  >>> letters(["cab", ""], "abc").tolist()
  [[2, 0, 1], [-1, -1, -1]]
  """
  size = max([1, *map(len, texts)]) if length is None else length
  number = {letter: i for i, letter in enumerate(alphabet)}
  found = np.full((len(texts), size), -1, np.int32)
  for i, text in enumerate(texts):
    if len(text) > size:
      raise UserError(f"letters: text {i} has {len(text)} letters, expected at most {size}: raise length.")
    for j, letter in enumerate(text):
      if letter not in number:
        raise UserError(f"letters: text {i} has {letter!r}, which is not in the alphabet {''.join(alphabet)!r}.")
      found[i, j] = number[letter]
  return found
