"""Options of recipes as benchmarks take them."""

from __future__ import annotations

from collections.abc import Iterable


def words_of(options: Iterable[str]) -> tuple[str, ...]:
  """Options such as `data=bccd` as the words of a command line, `--data bccd`; `a=False` as `--no-a`."""
  return tuple(word for option in options for word in _words(*option.split("=", 1)))


def _words(name: str, value: str) -> tuple[str, ...]:
  return {"True": (f"--{name}",), "False": (f"--no-{name}",)}.get(value, (f"--{name}", value))
