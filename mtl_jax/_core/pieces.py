"""Long axes in pieces of one size, so that what is made on the way is as large as one piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax

Carry = TypeVar("Carry")


def in_pieces(
  count: int,
  size: int,
  body: Callable[[jax.Array | int, int, Carry], Carry],
  carry: Carry,
  *,
  first: jax.Array | int = 0,
) -> Carry:
  """Calls `carry = body(start, size, carry)` for each piece of an axis; the last may be smaller.

  Args:
    count: The length of the axis.
    size: That of a piece.
    body: Traced once for all whole pieces, with the start of the piece, and once more for a smaller last one.
    carry: Any pytree; arrays that pieces are written into are changed in place.
    first: 0, which the compiler may not know: nothing is done before that number is there.

  Returns:
    The last carry.

  >>> in_pieces(5, 2, lambda start, size, total: total + size, 0)
  Array(5, dtype=int32, weak_type=True)
  """
  if not count:
    return carry
  whole = count // size
  if whole:
    carry = jax.lax.fori_loop(first, whole, lambda i, carry: body(i * size, size, carry), carry)
  return body(whole * size, count % size, carry) if count % size else carry


def even(count: int, most: int) -> int:
  """The size of pieces of at most `most`, as equal as can be.

  >>> even(12, 8), even(32, 8), even(9, 8)
  (6, 8, 5)
  """
  return -(-count // max(-(-count // most), 1))
