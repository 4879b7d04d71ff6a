"""The pickles in files of PyTorch, read without executing anything: tensors and dictionaries, all else is refused."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError

_DTYPES = {
  **{"Float": np.float32, "Double": np.float64, "Half": np.float16, "BFloat16": jnp.bfloat16, "Bool": np.bool_},
  **{"Long": np.int64, "Int": np.int32, "Short": np.int16, "Char": np.int8, "Byte": np.uint8},
}


class Storage(NamedTuple):
  """Numbers in a row that tensors are views of.

  Attributes:
    key: Its name in the file.
    dtype: Of its numbers.
    length: How many there are.
  """

  key: str
  dtype: np.dtype
  length: int


class Tensor(NamedTuple):
  """A tensor as the file describes it: a view of a storage, in numbers, not bytes."""

  storage: Any
  offset: Any
  size: Any
  stride: Any

  def of(self, name: str, buffer: bytes) -> np.ndarray:
    """The array, from the bytes of the storage.

    Raises:
      UserError: It is no view of its storage.
    """
    kind, places = self.storage, (self.offset, self.size, self.stride)
    sizes = (self.size, self.stride)
    if not (isinstance(kind, Storage) and _is_place(self.offset) and all(map(_are_places, sizes))):
      raise UserError(f"{name!r} is described as {places!r}, expected offset, sizes and strides")
    size, stride = tuple(self.size), tuple(self.stride)
    count = int(np.prod([int(n) for n in size], dtype=object))
    last = self.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=False))
    if len(size) != len(stride) or count > kind.length or (count and last >= kind.length):
      raise UserError(f"{name!r} of size {size}, offset {self.offset} and strides {stride} is no part of its storage")
    if len(buffer) != kind.length * kind.dtype.itemsize:
      raise UserError(f"the storage of {name!r} has {len(buffer)} bytes, expected {kind.length} of {kind.dtype}")
    if not count:
      return np.zeros(size, kind.dtype)
    numbers = np.frombuffer(buffer, kind.dtype, offset=self.offset * kind.dtype.itemsize)
    strides = [step * kind.dtype.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers, size, strides, writeable=False).copy()


def _is_place(value: Any) -> bool:
  return type(value) is int and 0 <= value < 2**48


def _are_places(value: Any) -> bool:
  return isinstance(value, tuple) and all(map(_is_place, value))


class _Dict(dict):
  """An `OrderedDict`, whose attributes, such as versions of modules, are dropped."""

  def __setstate__(self, state: Any) -> None:
    """Drops them."""


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
  return Tensor(storage, offset, size, stride)


def _parameter(tensor: Any, *rest: Any) -> Any:
  return tensor


_KNOWN: dict[tuple[str, str], Any] = {
  ("collections", "OrderedDict"): _Dict,
  ("torch._utils", "_rebuild_tensor_v2"): _tensor,
  ("torch._utils", "_rebuild_parameter"): _parameter,
  **{("torch", f"{name}Storage"): np.dtype(dtype) for name, dtype in _DTYPES.items()},
}
"""All that a pickle may name, and what stands for it here."""


class _Unpickler(pickle.Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    """What stands for a name of Python's."""
    if (module, name) not in _KNOWN:
      raise UserError(f"it names {module}.{name}, which would run code: save the state_dict() alone")
    return _KNOWN[module, name]

  def persistent_load(self, pid: Any) -> Storage:
    """A storage, described."""
    match pid:
      case ("storage", np.dtype() as dtype, str(key), _, int(count), *view) if view in ([], [None]) and count >= 0:
        return Storage(key, dtype, count)
    raise UserError(f"it describes a storage as {str(pid)[:80]!r}, expected dtype, key and size")


def unpickle(stream: io.BytesIO) -> Any:
  """The next pickle of a stream.

  Raises:
    UserError: It holds anything but tensors, dictionaries and plain values, or is damaged.
  """
  start = stream.tell()
  try:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
      # Python makes room for as many values as the number says.
      if opcode.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > count:
        raise UserError(f"it numbers a value {argument} where there are {count}")
    stream.seek(start)
    return _Unpickler(stream).load()
  except UserError:
    raise
  except Exception as error:  # whatever Python makes of bytes that are no pickle
    raise UserError(f"it is damaged ({type(error).__name__}: {str(error)[:80]})") from error
