"""Which entries of a batch are a task's input: `inputs=` of the whole library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mtl_jax._core.errors import UserError, nearest

Keys = str | tuple[str, ...]


class Entry(str):
  """The name of an entry in the batch of a mixture, which knows what its source calls it.

  The net gets several entries under the latter names, whichever source they are of.

  >>> input_of({"a/text": 1}, (Entry("a/text", "text"),))
  {'text': 1}
  """

  known_as: str

  def __new__(cls, path: str, known_as: str) -> Entry:
    made = super().__new__(cls, path)
    made.known_as = known_as
    return made


Inputs = str | Sequence[str] | Mapping[str, str | Sequence[str]]


def input_keys(tasks: Iterable[str], inputs: Inputs) -> dict[str, Keys]:
  """For each task the key of its input, or the keys in alphabetical order.

  Raises:
    UserError: No key, or one twice.

  >>> input_keys("ab", ("text", "image"))
  {'a': ('image', 'text'), 'b': ('image', 'text')}
  """
  if isinstance(inputs, Mapping):
    return {name: _ordered(given) for name, given in inputs.items()}
  return dict.fromkeys(tasks, _ordered(inputs))


def tasks_by_keys(keys: Mapping[str, Keys]) -> dict[Keys, list[str]]:
  """The tasks that read the same inputs, from `input_keys`.

  >>> tasks_by_keys({"a": "image", "b": "text", "c": "image"})
  {'image': ['a', 'c'], 'text': ['b']}
  """
  groups: dict[Keys, list[str]] = {}
  for name, own in keys.items():
    groups.setdefault(own, []).append(name)
  return groups


def _ordered(given: str | Sequence[str]) -> Keys:
  if isinstance(given, str):
    return given
  if not given or len(set(given)) < len(given):
    raise UserError(f"inputs holds {given!r}, expected a key or several different ones.")
  return tuple(sorted(given))


def keys_read(inputs: Inputs) -> list[str]:
  """The entries of a batch that inputs are made of.

  >>> keys_read({"a": "x", "b": ("x", "z")})
  ['x', 'z']
  """
  found = input_keys(("",), inputs).values()
  return list(dict.fromkeys(key for keys in found for key in ((keys,) if isinstance(keys, str) else keys)))


def initial_input(keys: Mapping[str, Keys], entries: Callable[[str], Mapping[str, Any]]) -> Any:
  """The input that a net is initialised with: that of the first task, or where all read several keys, all of them.

  So a net with a part for each key gets the parameters of every part, though each task reads some of the keys.

  Args:
    keys: As `input_keys` gives them.
    entries: What a task sees of a batch.

  Returns:
    The input.

  >>> initial_input({"a": ("image",), "b": ("text",)}, lambda task: {"image": 1, "text": 2})
  {'image': 1, 'text': 2}
  >>> initial_input({"a": "x", "b": "z"}, lambda task: {"x": 1, "z": 2})
  1
  """
  if not all(isinstance(own, tuple) for own in keys.values()):
    task, own = next(iter(keys.items()))
    return input_of(entries(task), own)
  readers = {_known_as(key): (task, key) for task, own in reversed([*keys.items()]) for key in own}
  return {name: input_of(entries(task), key) for name, (task, key) in sorted(readers.items())}


def input_of(batch: Mapping[str, Any], keys: Keys, what: str = "batch") -> Any:
  """The input that the net gets: one entry of a batch, or the dictionary of several; one clear line when it is missing.

  >>> input_of({"image": 1, "text": 2, "y": 3}, ("image", "text"))
  {'image': 1, 'text': 2}
  """
  if not isinstance(keys, str):
    return {_known_as(key): input_of(batch, key, what) for key in keys}
  if keys not in batch:
    raise UserError(
      f"the {what} has no input {keys!r}, only {', '.join(map(repr, batch))}"
      f"{nearest(keys, batch)}: set inputs= to the key that holds the input."
    )
  return batch[keys]


def _known_as(key: str) -> str:
  return key.known_as if isinstance(key, Entry) else key
