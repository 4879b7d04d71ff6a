"""What error messages share: naming the nearest thing the user may have meant, and how user mistakes travel."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
  """A mistake of the user, told in one line: the command line prints it and exits with code 2."""

  __module__ = "mtl_jax"  # as users see it


def check_choice(function: str, option: str, value: str, known: Iterable[str]) -> None:
  """Raises a `UserError` where the value of an option is none of those known.

  >>> check_choice("random", "distribution", "normal", ("normal", "uniform"))
  """
  names = list(known)
  if value not in names:
    raise UserError(f"{function}: unknown {option} {value!r}{nearest(value, names)}: choose from {', '.join(names)}.")


def some(names: Iterable[str], most: int = 6) -> str:
  """The first names, six unless told, and how many more there are.

  >>> some("abcdefgh")
  'a, b, c, d, e, f and 2 more'
  """
  known = list(names)
  return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")


def nearest(name: str, known: Iterable[str]) -> str:
  """` (did you mean 'pcgrad'?)` for the known name nearest to `name`, or nothing when none is near.

  >>> nearest("pcgard", ["pcgrad", "mgda"])
  " (did you mean 'pcgrad'?)"
  """
  close = difflib.get_close_matches(name, list(known), n=1)
  return f" (did you mean {close[0]!r}?)" if close else ""


def reason(error: Exception) -> str:
  r"""What another library says went wrong, in one short line.

  >>> reason(ValueError("no  such\nthing"))
  'ValueError: no such thing'
  """
  return " ".join(f"{type(error).__name__}: {error}".split())[:200]
