"""ArrayRecord files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mtl_jax._core.errors import UserError, reason
from mtl_jax.data.source.examples import Examples

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def array_record(paths: Paths, decode: Callable[[bytes], Mapping[str, Any]] | None = None) -> Examples:
  """The examples of ArrayRecord files, through Grain, one record each.

  Args:
    paths: One file or several, whose records follow each other.
    decode: Makes an example `{key: array or number}` of a record. None: the records are MessagePack as
      `flax.serialization.msgpack_serialize({key: array})` writes it, which holds arrays and nothing that could run.

  Returns:
    The source. Files written with the option `group_size:1` are read fastest.

  Raises:
    UserError: A file is missing or damaged, has no records, or a record cannot be decoded.
  """
  import grain
  from flax.serialization import msgpack_restore

  names = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
  told = f"ArrayRecord {names[0] if names else names}" + (f" and {len(names) - 1} more" if names[1:] else "")
  for name in names:
    if not os.path.isfile(name):
      raise UserError(f"there is no ArrayRecord file {name}: check the path.")
  try:
    records = grain.sources.ArrayRecordDataSource([os.fspath(name) for name in names])
  except Exception as error:  # of the layers below, without a common base
    raise UserError(f"{told} cannot be read, it is damaged or no ArrayRecord file ({reason(error)}).") from error
  return Examples(_Decoded(records, msgpack_restore if decode is None else decode, told), told)


class _Decoded:
  """Records, read several at once and then decoded."""

  def __init__(self, records: Any, decode: Callable[[bytes], Any], told: str):
    self._records, self._decode, self._told = records, decode, told

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, number: int) -> Any:
    return self.__getitems__([number])[0]

  def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
    try:
      records = self._records.__getitems__(numbers)
    except Exception as error:
      raise UserError(f"{self._told} is damaged ({reason(error)}): write it anew.") from error
    return list(map(self._example, numbers, records))

  def _example(self, number: int, record: bytes) -> Any:
    try:
      return self._decode(record)
    except Exception as error:
      name = getattr(self._decode, "__name__", type(self._decode).__name__)
      raise UserError(
        f"record {number} of {self._told} cannot be decoded by {name} ({reason(error)}): give decode= the function "
        "that reads what was written."
      ) from error
