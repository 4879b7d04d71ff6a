"""Data sets that lie in files of text, compressed or not."""

from __future__ import annotations

import gzip
import lzma
import zlib
from pathlib import Path

from mtl_jax._core.errors import UserError, reason

_OPEN = {".gz": gzip.decompress, ".xz": lzma.decompress}


def text_of(path: Path, advice: str, expected: str | None = None) -> str:
  """The text of a file, decompressed if its name ends in .gz or .xz.

  Args:
    path: The file.
    advice: What to do where it cannot be read, for the message.
    expected: What it is to be, for the message; None: that goes without saying.

  Returns:
    The text, with the ends of lines that it has.

  Raises:
    UserError: It cannot be read, is damaged or no UTF-8.
  """
  try:
    return _OPEN.get(path.suffix, bytes)(path.read_bytes()).decode()
  except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError, zlib.error) as error:
    wanted = f", expected {expected}" if expected else ""
    raise UserError(f"cannot read {path}{wanted}: {reason(error).rstrip('.')}: {advice}.") from error


def lines_of(path: Path, advice: str, expected: str | None = None) -> list[str]:
  """The lines of such a file: only a line feed ends one, since sentences may hold other signs that do elsewhere."""
  return text_of(path, advice, expected).removesuffix("\n").split("\n")
