"""Text as arrays: tokens by a tokenizer, and sentences of all lengths packed into rows of one.

- `words`: a tokenizer that knows the words of training sentences.
- `encode`: sentences as integers.
- `pack`: sentences, and what is known of them, in rows; `Packed`: what it gives.
- `read_lines`: users' own files, a sentence per line.
- `load_tokenizer`: a tokenizer of the library `tokenizers` from its JSON.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtl_jax._core.errors import UserError, some
from mtl_jax._core.files import using
from mtl_jax.data._tokenizers import tokenizers

__all__ = ["Packed", "encode", "load_tokenizer", "pack", "read_lines", "words"]

PAD, UNKNOWN = "[PAD]", "[UNK]"


def words(sentences: Sequence[Sequence[str]], *, least: int = 2, lowercase: bool = True) -> str:
  """A tokenizer for sentences that are split into words: the number of each word, 0 for padding, 1 for unknown ones.

  Args:
    sentences: The words of each training sentence.
    least: How often a word must be there to be known. Below 2 no unknown word is ever seen in training.
    lowercase: Whether `The` is `the`.

  Returns:
    The tokenizer as the JSON of the library `tokenizers`, to be kept in a recipe's `Splits.about`.

  Raises:
    UserError: There are no sentences, or the extra `text` is not installed.

  >>> tokenizer = words([["a", "b", "a"], ["A", "b"]])
  >>> [ids.tolist() for ids in encode(tokenizer, [["b", "a", "c"]])]
  [[3, 2, 1]]
  """
  library = tokenizers("text")
  if not sentences:
    raise UserError("words: there are no sentences to take words from.")
  made = library.Tokenizer(library.models.WordLevel(unk_token=UNKNOWN))
  if lowercase:
    made.normalizer = library.normalizers.Lowercase()
  trainer = library.trainers.WordLevelTrainer(
    vocab_size=2**31 - 1, min_frequency=least, special_tokens=[PAD, UNKNOWN], show_progress=False
  )
  # Words as they are: they may hold spaces, or signs at which other tokenizers would split.
  made.train_from_iterator((word for sentence in sentences for word in sentence), trainer)
  return made.to_str()


def encode(tokenizer: str, sentences: Sequence[str] | Sequence[Sequence[str]]) -> list[np.ndarray]:
  """The tokens of sentences.

  Args:
    tokenizer: The JSON of a tokenizer, such as `words` gives.
    sentences: Strings, which the tokenizer splits; or the words of each, which have one token each where it is one of
      words.

  Returns:
    For each sentence its tokens, (n,) int32.

  Raises:
    UserError: The JSON is no tokenizer, or the extra `text` is not installed.
  """
  made = load_tokenizer(tokenizer)
  split = bool(sentences) and not isinstance(sentences[0], str)
  found = made.encode_batch([list(one) for one in sentences] if split else list(sentences), is_pretokenized=split)
  return [np.asarray(one.ids, np.int32) for one in found]


class Packed(NamedTuple):
  """Sentences in rows.

  Attributes:
    arrays: `{"segments": (N, L), key: (N, L, ...), ...}`.
    rows: The row of each sentence, (S,).
    slots: Which sentence of its row it is, (S,), from 0 on; the segments of its positions are one more.
    begins: The position of its first token, (S,).
  """

  arrays: dict[str, np.ndarray]
  rows: np.ndarray
  slots: np.ndarray
  begins: np.ndarray


def pack(
  tokens: Mapping[str, Sequence[np.ndarray]],
  sentences: Mapping[str, Any] | None = None,
  *,
  length: int,
  most: int,
  fill: Mapping[str, int] | None = None,
) -> Packed:
  """Sentences one after the other in rows of one length, each in the first row that has room, longest first.

  So there is one shape, and little padding. Which positions belong together is told by `"segments"`, (N, L) int32: k
  for the k-th sentence of a row, 0 at padding. `mtl.nn.TransformerEncoder` keeps them apart.

  Args:
    tokens: `{key: [(n_s, ...) for each sentence s]}`, what is known of each of its n_s tokens. All keys agree on n_s.
    sentences: `{key: (S, ...)}`, what is known of each sentence, such as its class. It becomes (N, K, ...).
    length: The number L of positions of a row.
    most: The largest number K of sentences of a row; 1: each has a row of its own.
    fill: `{key: value}` of what stands where there is nothing; for other keys 0 in `tokens` and -1 in `sentences`.

  Returns:
    The rows. Without sentences there are none.

  Raises:
    UserError: A sentence has no tokens, more than `length`, or other numbers of tokens by other keys.

  >>> packed = pack({"tokens": [np.array([7, 8, 9]), np.array([5])]}, {"kind": np.array([0, 1])}, length=4, most=2)
  >>> {key: values.tolist() for key, values in packed.arrays.items()}
  {'segments': [[1, 1, 1, 2]], 'tokens': [[7, 8, 9, 5]], 'kind': [[0, 1]]}
  """
  sentences, fill = dict(sentences or {}), dict(fill or {})
  sizes = _sizes(tokens, sentences, length)
  rows, slots, begins = _places(sizes, length, most)
  count = int(rows.max(initial=-1)) + 1
  arrays = {"segments": np.zeros((count, length), np.int32)}
  for key, own in tokens.items():
    example = np.asarray(own[0]) if len(own) else np.zeros(0, np.int32)
    arrays[key] = np.full((count, length, *example.shape[1:]), fill.get(key, 0), example.dtype)
  for s, (row, begin, size) in enumerate(zip(rows, begins, sizes, strict=True)):
    arrays["segments"][row, begin : begin + size] = slots[s] + 1
    for key, own in tokens.items():
      arrays[key][row, begin : begin + size] = own[s]
  for key, values in sentences.items():
    values = np.asarray(values)
    arrays[key] = np.full((count, most, *values.shape[1:]), fill.get(key, -1), values.dtype)
    arrays[key][rows, slots] = values
  return Packed(arrays, rows, slots, begins)


def _sizes(tokens: Mapping[str, Sequence[Any]], sentences: Mapping[str, Any], length: int) -> np.ndarray:
  """The number of tokens of each sentence."""
  if not tokens:
    raise UserError("pack: there are no tokens: {key: [tokens of each sentence]}.")
  counts = {key: len(own) for key, own in {**tokens, **sentences}.items()}
  if len(set(counts.values())) > 1:
    told = ", ".join(f"{key!r} of {count}" for key, count in counts.items())
    raise UserError(f"pack: the keys are of different numbers of sentences: {told}.")
  lengths = {key: [len(one) for one in own] for key, own in tokens.items()}
  first, *others = lengths
  for key in others:
    for s, (one, other) in enumerate(zip(lengths[first], lengths[key], strict=True)):
      if one != other:
        raise UserError(f"pack: sentence {s} has {one} of {first!r}, but {other} of {key!r}.")
  sizes = np.asarray(lengths[first], int)
  if wrong := [f"sentence {s} has {size}" for s, size in enumerate(sizes) if not 0 < size <= length]:
    raise UserError(f"pack: {some(wrong, 3)} tokens, expected 1 to {length}: leave such out, or cut them.")
  return sizes


def _places(sizes: np.ndarray, length: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Row, slot and first position of each sentence: first fit, longest first."""
  rows, slots, begins = (np.zeros(len(sizes), int) for _ in range(3))
  used = np.zeros(len(sizes), int)  # positions and sentences of each row
  held = np.zeros(len(sizes), int)
  for s in np.argsort(-sizes, kind="stable"):
    row = int(np.argmax((used + sizes[s] <= length) & (held < most)))
    rows[s], slots[s], begins[s] = row, held[row], used[row]
    used[row] += sizes[s]
    held[row] += 1
  return rows, slots, begins


def read_lines(path: str | Path, warn: Callable[[str], None] | None = None) -> tuple[list[str], list[str]]:
  """The lines of a file of text, or of all .txt files of a folder in the order of their names.

  Args:
    path: The file, in UTF-8, or the folder.
    warn: Is told of each line that is empty or no UTF-8, which is then left out; None: that is an error. Empty lines
      at a file's end are none.

  Returns:
    The lines, without spaces around them, and their names, `file.txt:1`.

  Raises:
    UserError: There is no such file, no text in it, an empty line, or other bytes than UTF-8.
  """
  path = Path(path)
  files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
  found: dict[str, str] = {}
  for file in files:
    with using(file):
      lines = file.read_bytes().removeprefix(codecs.BOM_UTF8).rstrip().split(b"\n")
    for number, line in enumerate(lines, start=1):
      name = f"{file.name if file == path else file.relative_to(path)}:{number}"
      try:
        text = line.decode().strip()
        told = "" if text or lines == [b""] else f"line {number} is empty: expected a sentence."
      except UnicodeDecodeError:
        text, told = "", f"line {number} is not UTF-8: store the file in that encoding."
      if text:
        found[name] = text
      elif told:
        if warn is None:
          raise UserError(f"{file}: {told}")
        warn(f"{file}: {told}")
  if not found:
    raise UserError(f"{path}: there is no text in it: expected a sentence per line.")
  return list(found.values()), list(found)


def load_tokenizer(tokenizer: str) -> Any:
  """A tokenizer of the library `tokenizers`.

  Args:
    tokenizer: Its JSON.

  Returns:
    The tokenizer.

  Raises:
    UserError: It is no such JSON, or the extra `text` is not installed.
  """
  library = tokenizers("text")
  try:
    return library.Tokenizer.from_str(tokenizer)
  except Exception as error:  # the library raises no other type
    raise UserError(f"this is not the JSON of a tokenizer: {error}.") from error
