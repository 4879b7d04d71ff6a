"""Data sets of text that lie in compressed files of lines."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

from mtl_jax._core.errors import UserError, reason

_OPEN = {".gz": gzip.decompress, ".xz": lzma.decompress}


def lines_of(path: Path, advice: str) -> list[str]:
  """The lines of a file, decompressed if its name ends in .gz or .xz.

  Raises:
    UserError: It cannot be read, is damaged or no UTF-8.
  """
  try:
    raw = path.read_bytes()
    text = _OPEN.get(path.suffix, bytes)(raw).decode()
  except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
    raise UserError(f"cannot read {path}: {reason(error)}: {advice}.") from error
  return text.removesuffix("\n").split("\n")
