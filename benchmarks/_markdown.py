"""Tables in Markdown, which terminals and documents both show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """The table, columns padded to their widest cell, numbers to the right."""
  lines = [list(header), *map(list, rows)]
  widths = [max(len(line[i]) for line in lines) for i in range(len(header))]

  def text(line):
    return "| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))) + " |"

  rule = "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |"
  return "\n".join([text(lines[0]), rule, *map(text, lines[1:])])


def number(value: float) -> str:
  """Two digits."""
  return f"{value:.1e}" if value and not 0.01 <= abs(value) < 1e4 else f"{value:.3g}"
