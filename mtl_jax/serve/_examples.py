"""What a request asks: examples in JSON or in a file of the user's, and of which tasks."""

from __future__ import annotations

import base64
import itertools
import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtl_jax import data
from mtl_jax._core.errors import UserError, nearest, reason, some
from mtl_jax._core.inputs import input_keys, keys_read
from mtl_jax.data.arrays import check_lengths, leaves_of
from mtl_jax.experiment.files import entries_like, files_of
from mtl_jax.recipes import Files
from mtl_jax.train import Trained

PACKED = (".gz", ".bz2", ".zst", ".lz4", ".br", ".parquet")
"""Names of files that a reader would unpack, nobody knows to how much."""


class Examples(NamedTuple):
  """Examples that a model can read.

  Attributes:
    arrays: The inputs, `{key: (N, ...)}`, of the shapes and dtypes trained on.
    names: What each is called.
    tasks: The tasks that are asked, in the order of the model's.
  """

  arrays: dict[str, Any]
  names: Sequence[str]
  tasks: list[str]


class Reader:
  """What requests to one model are read by.

  Attributes:
    trained: The model.
    paths: Shape and dtype of one example of each input, by its path.
    needed: The paths of the inputs of each task.
  """

  def __init__(self, trained: Trained, files: Files | None, most: int) -> None:
    """Begins.

    Args:
      trained: The model.
      files: How its recipe reads files; None: it has no way of its own.
      most: How many bytes the arrays of a file may be unpacked.
    """
    self.trained, self._files, self._most = trained, files, most
    problem, known = trained.problem, trained.entries()
    keys = input_keys(problem.tasks, problem.inputs)
    self._keys = {task: (own,) if isinstance(own, str) else own for task, own in keys.items()}
    self._known = {key: known[key] for key in keys_read(problem.inputs)}
    self.paths = leaves_of(self._known)
    self.needed = {task: tuple(leaves_of({key: known[key] for key in keys})) for task, keys in self._keys.items()}

  def json(self, body: bytes, tasks: Sequence[str]) -> Examples:
    """The examples of a JSON body, `{"examples": [{path: nested lists or base64}], "tasks": [...]}`.

    Args:
      body: The body.
      tasks: The tasks that are asked beside those of the body; none of both: all.

    Raises:
      UserError: It is no JSON, or not of that form; as in `_checked`.
    """
    asked = _parsed(body)
    examples, wanted = asked["examples"], asked.get("tasks", [])
    if not all(isinstance(name, str) for name in wanted):
      raise UserError("'tasks' holds something else than the names of tasks.")
    columns: dict[str, list[np.ndarray]] = {path: [] for path in examples[0]}
    for i, example in enumerate(examples):
      if not isinstance(example, dict):
        raise UserError(f"examples[{i}] is {_shown(example)}, expected an object, {{input: value, ...}}.")
      if example.keys() != columns.keys():
        raise UserError(
          f"examples[{i}] has the inputs {_listed(example)}, expected {_listed(columns)} as in the first."
        )
      for path, value in example.items():
        if path not in self.paths:
          told = f"{_shown(path)}{nearest(path[:99], self.paths)}"
          raise UserError(f"examples[{i}] has an input {told}, expected {_listed(self.paths)}.")
        columns[path].append(_array(f"examples[{i}]: input {path!r}", value, self.paths[path]))
    arrays = {path: np.stack(values) for path, values in columns.items()}
    return self._checked(arrays, list(map(str, range(len(examples)))), [*tasks, *wanted])

  def file(self, body: bytes, name: str, tasks: Sequence[str]) -> Examples:
    """The examples of a file, as `mtl-jax predict` reads it.

    Args:
      body: The file.
      name: Its name, whose ending may tell what it is.
      tasks: The tasks that are asked; none: all.

    Raises:
      UserError: It is packed, or cannot be read; as in `_checked`.
    """
    if name.lower().endswith(PACKED):
      raise UserError(f"{safe_name(name)}: files that are packed are not taken: send what is in it.")
    with tempfile.TemporaryDirectory(prefix="mtl-serve-") as directory:
      path = Path(directory, safe_name(name))
      path.write_bytes(body)
      try:
        arrays, names = files_of(self._files, self.trained, path, self._most).read(path, ())
      except UserError as error:
        raise UserError(str(error).replace(f"{directory}/", "")) from error
    return self._checked(leaves_of(arrays), names, tasks)

  def _checked(self, arrays: Mapping[str, np.ndarray], names: Sequence[str], tasks: Sequence[str]) -> Examples:
    """Examples and tasks that the model can answer.

    Args:
      arrays: The arrays, (N, ...), by their paths.
      names: What each example is called.
      tasks: The tasks that are asked; none: those whose inputs are there.

    Raises:
      UserError: There is no such task; an input is missing, of another shape or kind, or not finite.
    """
    for name in tasks:
      if name not in self._keys:
        raise UserError(f"there is no task {_shown(name)}{nearest(name[:99], self._keys)}: {_listed(self._keys)}.")
    read = entries_like(self._known, arrays, list(self._known))
    there = [task for task, keys in self._keys.items() if read.keys() >= {*keys}]
    asked = [task for task in self._keys if task in tasks] if tasks else there or list(self._keys)
    needed = list(dict.fromkeys(key for task in asked for key in self._keys[task]))
    for key in needed:
      if key not in read:
        expected = _listed(leaves_of({key: self._known[key]}))
        raise UserError(f"there is no input {expected}, only {_listed(arrays) or 'nothing'}.")
    read = {key: read[key] for key in needed}
    check_lengths(read)
    data.check(read, {}, tuple(needed))
    return Examples(read, names, asked)


def _listed(names: Iterable[str]) -> str:
  return some(map(_shown, names))


def safe_name(name: str) -> str:
  r"""The name of a file in a directory of its own, of a name that anybody may have sent.

  >>> safe_name("../../etc/cat.png"), safe_name(".."), safe_name("a\\b.csv")
  ('cat.png', 'upload', 'b.csv')
  """
  last = "".join(c for c in name.replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable())
  while len(last.encode(errors="replace")) > 100:
    last = last[1:]
  return last.encode(errors="replace").decode() if last.strip(". ") else "upload"


def _parsed(body: bytes) -> dict[str, Any]:
  """The body as JSON of the right form, down to the examples."""
  try:
    asked = json.loads(body.decode(), parse_constant=_refused)
  except (ValueError, RecursionError) as error:
    raise UserError(f"the body is no JSON: {reason(error).rstrip('.')}.") from error
  form = '{"examples": [{input: value, ...}, ...], "tasks": [name, ...]}'
  if not isinstance(asked, dict):
    raise UserError(f"the body is {_shown(asked)}, expected {form}.")
  for key, value in asked.items():
    if key not in ("examples", "tasks"):
      raise UserError(f"the body has {_shown(key)}{nearest(key, ('examples', 'tasks'))}, expected {form}.")
    if not isinstance(value, list) or not value:
      raise UserError(f"{key!r} is {_shown(value)}, expected a list with something in it.")
  if "examples" not in asked:
    raise UserError(f"the body has no 'examples', expected {form}.")
  if not isinstance(asked["examples"][0], dict):
    raise UserError(f"examples[0] is {_shown(asked['examples'][0])}, expected {{input: value, ...}}.")
  return asked


def _refused(constant: str) -> Any:
  raise ValueError(f"{constant} is no number of JSON")


def _array(what: str, value: Any, leaf: Any) -> np.ndarray:
  """The array of nested lists of numbers, or of base64."""
  if isinstance(value, str):
    return _decoded(what, value, leaf)
  level = [value]
  # One list of all numbers, so that what is made of them is no larger than the shape says.
  for depth, size in enumerate(leaf.shape):
    for part in level:
      if not isinstance(part, list) or len(part) != size:
        found = f"a list of {len(part)}" if isinstance(part, list) else _shown(part)
        raise UserError(f"{what} has {found} at depth {depth}, expected a list of {size}, of shape {leaf.shape}.")
    level = list(itertools.chain.from_iterable(level))
  allowed = {bool} if leaf.dtype == bool else {int, float}
  if not set(map(type, level)) <= allowed:
    wrong = next(part for part in level if type(part) not in allowed)
    raise UserError(f"{what} holds {_shown(wrong)}, expected numbers of dtype {leaf.dtype} in shape {leaf.shape}.")
  return np.asarray(level).reshape(leaf.shape)


def _decoded(what: str, text: str, leaf: Any) -> np.ndarray:
  size = math.prod(leaf.shape) * leaf.dtype.itemsize
  try:
    raw = base64.b64decode(text, validate=True)
  except ValueError as error:
    raise UserError(f"{what} is a string that is no base64, expected that of {size} bytes, or lists.") from error
  if len(raw) != size:
    raise UserError(
      f"{what} is the base64 of {len(raw)} bytes, expected {size}: dtype {leaf.dtype} in shape {leaf.shape}, "
      "little-endian."
    )
  if leaf.dtype == bool:
    return np.frombuffer(raw, np.uint8).reshape(leaf.shape) != 0
  return np.frombuffer(raw, leaf.dtype.newbyteorder("<")).reshape(leaf.shape)


def _shown(value: Any) -> str:
  """A value of JSON in a few words.

  >>> _shown([1]), _shown({}), _shown("a" * 99), _shown(None)
  ('a list', 'an object', "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'...", 'null')
  """
  if isinstance(value, list | dict):
    return "a list" if isinstance(value, list) else "an object"
  if isinstance(value, str):
    return repr(value[:40]) + ("..." if len(value) > 40 else "")
  return json.dumps(value)
