"""`Origin`, where the rows of a table are from, so that messages name file and line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Origin(NamedTuple):
  """Where the rows of a table are from; as text, its files.

  Attributes:
    files: Their names, or what else the table is called.
    file: Of which of them each row is, (N,).
    line: On which line of it, (N,), where no cell has line breaks.
    word: What lines are called, `"line"` or `"row"`.
  """

  files: tuple[str, ...]
  file: np.ndarray
  line: np.ndarray
  word: str = "line"

  def take(self, rows: np.ndarray) -> Origin:
    """That of some of the rows.

    Args:
      rows: Their numbers.

    Returns:
      The origin.
    """
    return self._replace(file=self.file[rows], line=self.line[rows])

  def then(self, other: Origin) -> Origin:
    """That of the rows of two tables, one below the other.

    Args:
      other: Of the rows below.

    Returns:
      The origin.
    """
    file = np.concatenate([self.file, other.file + len(self.files)])
    return Origin(self.files + other.files, file, np.concatenate([self.line, other.line]), self.word)

  def at(self, row: int) -> str:
    """The place of a row.

    Args:
      row: Its number.

    Returns:
      The file and the line.

    >>> origin_of("people.csv", 3).at(1)
    'people.csv line 3'
    """
    return f"{self.files[self.file[row]]} {self.word} {self.line[row]}"

  def __str__(self) -> str:
    return ", ".join(self.files)


def origin_of(name: str, count: int, first: int = 2, word: str = "line") -> Origin:
  """Where the rows of one table are from, which are one below the other.

  Args:
    name: The file, or what else the table is called.
    count: The number of rows.
    first: The line of the first.
    word: What lines are called.

  Returns:
    The origin.
  """
  return Origin((name,), np.zeros(count, np.int32), np.arange(first, first + count), word)
