"""Tables in Markdown, which terminals and documents both show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """The table, columns padded to their widest cell, numbers to the right."""
  lines = [list(header), *map(list, rows)]
  widths = [max(len(line[i]) for line in lines) for i in range(len(header))]

  rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

  def text(line):
    cells = [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]
    return "| " + " | ".join(cells) + " |"

  return "\n".join(map(text, [lines[0], rule, *lines[1:]]))


def number(value: float) -> str:
  """Two digits."""
  return f"{value:.1e}" if value and not 0.01 <= abs(value) < 1e4 else f"{value:.3g}"
