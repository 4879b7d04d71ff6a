"""`Source`, what training asks of data: how many examples, of which shapes, and some of them by number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from mtl_jax._core.errors import UserError, some
from mtl_jax._core.packed import is_packed
from mtl_jax.data.arrays import leaves_of


@runtime_checkable
class Source(Protocol):
  """Examples that are read by number; any object with these three is one.

  As in Grain, numbers go on beyond the length N: number `n + e N` is example n in epoch e. So a source that draws at
  random can do so anew in each epoch; all others take `numbers % len(self)`.

  A source may be read by several threads at once. One that has an attribute `reading` says how it is best read ahead.
  """

  @property
  def spec(self) -> Mapping[str, Any]:
    """The shapes and dtypes of one example, `{key: tree of jax.ShapeDtypeStruct}`."""
    ...

  def __len__(self) -> int:
    """N, the number of examples."""
    ...

  def rows(self, numbers: np.ndarray) -> Mapping[str, Any]:
    """Some examples.

    Args:
      numbers: Their numbers, (B,).

    Returns:
      `{key: (B, ...)}` in numpy arrays, in the order of the numbers.
    """
    ...


class Reading(NamedTuple):
  """How batches of a source are read ahead, beside the thread that places them.

  Attributes:
    threads: Threads that read batches.
    workers: Processes that do, each with so many threads.
  """

  threads: int = 0
  workers: int = 0


def reading_of(source: Source) -> Reading:
  """How a source is read ahead."""
  return getattr(source, "reading", Reading())


def read(source: Source, numbers: np.ndarray) -> Any:
  """Some examples of a source, which are what its spec says.

  Raises:
    UserError: They are not.
  """
  found = source.rows(numbers)
  check_rows(type(source).__name__, found, source.spec, len(numbers))
  return found if is_packed(found) else dict(found)


def spec_of_rows(rows: Mapping[str, Any]) -> dict[str, Any]:
  """The spec of one example, by some of them.

  >>> spec_of_rows({"x": np.zeros((8, 3))})
  {'x': ShapeDtypeStruct(shape=(3,), dtype=float64)}
  """
  return {
    key: jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), entry)
    for key, entry in rows.items()
  }


def check_rows(what: str, rows: Any, spec: Mapping[str, Any], count: int) -> None:
  """Raises a `UserError` where rows of `what` are not `count` examples of the spec."""
  if not isinstance(rows, Mapping):
    raise UserError(f"{what} gives a {type(rows).__name__}, expected a dictionary of arrays, {{key: (B, ...)}}.")
  found, wanted = leaves_of(rows), leaves_of(spec)
  different = [f"no {path!r}" for path in wanted if path not in found]
  different += [f"{path!r}, which is not in its spec" for path in found if path not in wanted]
  for path, leaf in wanted.items():
    if path in found and _kind(found[path]) != ((count, *leaf.shape), leaf.dtype):
      different.append(f"{path!r} as {_told(found[path])}, expected {np.dtype(leaf.dtype)}{[count, *leaf.shape]}")
  if different:
    raise UserError(
      f"{what} gives {some(different)}: all examples must be of the shapes and dtypes that its spec says."
    )


def _kind(leaf: Any) -> tuple[Any, Any]:
  return getattr(leaf, "shape", None), getattr(leaf, "dtype", None)


def _told(leaf: Any) -> str:
  shape, dtype = _kind(leaf)
  return type(leaf).__name__ if dtype is None else f"{dtype}{list(shape)}"
