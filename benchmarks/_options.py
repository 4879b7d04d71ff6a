"""Options of recipes as benchmarks take them."""

from __future__ import annotations

from collections.abc import Iterable


def words_of(options: Iterable[str]) -> tuple[str, ...]:
  """Options such as `data=bccd` as the words of a command line, `--data bccd`."""
  return tuple(word for option in options for word in (f"--{option.partition('=')[0]}", option.partition("=")[2]))
