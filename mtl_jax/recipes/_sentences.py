"""Recipes of sentences: sets that share sentences taken apart, rows packed with them, and users' own lines of text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mtl_jax.data import text
from mtl_jax.recipes._lines import named, refuse_labels, sentences_of, write_lines
from mtl_jax.recipes._recipe import Arrays, Files, Predicted
from mtl_jax.tasks import Task, classification

LENGTH, MOST = 128, 24
"""Positions of a row, and sentences in one."""
_SHARED = 40
_BRACKETS = re.compile("-[lr]rb-|[^a-z0-9]")

Sets = Mapping[str, Mapping[str, tuple[Sequence[str], np.ndarray]]]
"""`{set: {"train" | "valid" | "test": (sentences, labels)}}`."""


def apart(sets: Sets) -> dict[str, dict[str, tuple[Sequence[str], np.ndarray]]]:
  """The sets without training sentences that share 40 letters in a row with a sentence to tune or test on, of any set.

  Those to tune on share none with those to test on. One set may be made of the sentences of another, or of parts of
  them. Of shorter sentences the whole counts. Signs, spaces, and capitals are no letters.

  Args:
    sets: The sets.

  Returns:
    The sets; those to test on are whole.
  """
  found = {name: dict(parts) for name, parts in sets.items()}
  seen: set[str] = set()
  for part in ("test", "valid", "train"):
    pieces: set[str] = set()
    for name, parts in sets.items():
      sentences, labels = parts[part]
      each = [_pieces(sentence) for sentence in sentences]
      kept = [i for i, own in enumerate(each) if seen.isdisjoint(own)]
      found[name][part] = [sentences[i] for i in kept], labels[kept]
      if part != "train":
        pieces.update(*(each[i] for i in kept))
    seen |= pieces
  return found


def _pieces(sentence: str) -> set[str]:
  letters = _BRACKETS.sub("", sentence.lower())
  return {letters[i : i + _SHARED] for i in range(max(1, len(letters) - _SHARED + 1))}


def words(sentences: Iterable[str]) -> str:
  """A tokenizer that knows the words and signs of training sentences, as JSON."""
  return text.words(list(map(_split, sentences)))


def vocabulary(tokenizer: str) -> int:
  """The number of tokens that a tokenizer knows."""
  return text.load_tokenizer(tokenizer).get_vocab_size()


def _split(sentence: str) -> list[str]:
  return re.findall(r"\w+|[^\w\s]", sentence)


def tokens(tokenizer: str, pretrained: bool, sentences: Sequence[str]) -> list[np.ndarray]:
  """The tokens of sentences, by the tokenizer of pretrained weights, or by one of `words`."""
  return text.encode(tokenizer, sentences if pretrained else [_split(s) or [s] for s in sentences])


def packed(tokenizer: str, pretrained: bool, sentences: Sequence[str], labels: np.ndarray) -> Arrays:
  """Rows of sentences; of too long ones the end is cut, but for the last token, which a tokenizer may have put there.

  Args:
    tokenizer: As JSON.
    pretrained: As in `tokens`.
    sentences: The sentences.
    labels: A label of each.

  Returns:
    `{"x": {"tokens": (N, L), "segments": (N, L)}, "y": (N, K)}`.
  """
  ids = tokens(tokenizer, pretrained, sentences)
  ids = [np.concatenate([own[: LENGTH - 1], own[-1:]]) if len(own) > LENGTH else own for own in ids]
  arrays = text.pack({"tokens": ids}, {"y": labels}, length=LENGTH, most=MOST).arrays
  return {"x": {name: arrays[name] for name in ("tokens", "segments")}, "y": arrays["y"]}


def kind(classes: Sequence[str]) -> Task:
  """The task of a set: which of the classes each sentence of a row is of. Users' rows have one sentence."""
  return named(classification("y", len(classes), ignore=-1), classes)


def files(
  tokenizer: str, split: Callable[[Sequence[str]], Sequence[np.ndarray]], key: str = "x", length: int = LENGTH
) -> Files:
  """How users' sentences are read, one per line, and what is said of them.

  Args:
    tokenizer: As JSON.
    split: Makes tokens of each of several sentences.
    key: That of rows of sentences in a batch.
    length: Positions of a row.

  Returns:
    For `Recipe.files`.
  """

  def read(path: Path, tasks: Sequence[str], warn: Callable[[str], None] | None = None) -> tuple[Arrays, list[str]]:
    refuse_labels(path, tasks, "lines of text have")

    def told(name: str, count: int) -> str:
      return f"{path}: {name} has {count} tokens, expected at most {length}: divide it into sentences."

    found = sentences_of(path, split, length, told, warn)
    rows = text.pack({"tokens": [own for _, own in found.values()]}, length=length, most=1)
    return {key: {name: rows.arrays[name][rows.rows] for name in ("tokens", "segments")}}, list(found)

  def tell(predicted: Predicted) -> str:
    made = text.load_tokenizer(tokenizer)
    lines: list[str] = []
    for row, record in zip(predicted.arrays[key]["tokens"], predicted.records(), strict=True):
      shown = made.decode(row[row > 0].tolist(), skip_special_tokens=False)
      lines += ["", f"{record.pop('name')}  {shown.removeprefix('[CLS] ').removesuffix(' [SEP]')}"]
      lines += [f"  {task}: {own['class']} {own['probability']:.2f}" for task, own in record.items()]
    return "\n".join(lines[1:])

  return Files(read, write_lines, ".jsonl", read_good=read, tell=tell)
