"""Recipes of sentences: words and their characters as the trunk's input, users' text read and told of."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax import nn
from mtl_jax.data import text
from mtl_jax.data.arrays import take
from mtl_jax.recipes._lines import refuse_labels, sentences_of, write_records
from mtl_jax.recipes._recipe import Arrays, Files, Predicted

Record = dict[str, Any]
UNKNOWN = "[UNK]"
"""The class of what is in no training sentence, which is never right."""
SPELLED = 16
"""Of a longer word the first and the last half as many characters are seen."""


def known(sentences: Sequence[Sequence[str]]) -> dict[str, Any]:
  """What a run has to know of training sentences: their words and characters."""
  counts = collections.Counter(character for words in sentences for word in words for character in word)
  alphabet = "".join(sorted(character for character, count in counts.items() if count > 1))
  tokenizer = text.words(sentences)
  return {"tokenizer": tokenizer, "words": text.load_tokenizer(tokenizer).get_vocab_size(), "alphabet": alphabet}


def classes(values: Iterable[str]) -> list[str]:
  """The classes of training data, behind that of all others."""
  return [UNKNOWN, *sorted(set(values))]


def numbers(names: Sequence[str], values: Iterable[str], other: Callable[[str], str] = lambda _: UNKNOWN) -> np.ndarray:
  """The numbers of classes; those that are not known have the number of the name that `other` makes of them."""
  number = {name: i for i, name in enumerate(names)}
  return np.array([number[value] if value in number else number[other(value)] for value in values], np.int32)


def tokens(about: Mapping[str, Any], sentences: Sequence[Sequence[str]]) -> dict[str, list[np.ndarray]]:
  """The words of sentences, (n,), and their characters, (n, SPELLED)."""
  number = {character: i for i, character in enumerate(about["alphabet"], start=2)}

  def spelled(word: str) -> list[int]:
    short = word if len(word) <= SPELLED else word[: SPELLED // 2] + word[-SPELLED // 2 :]
    return [number.get(character, 1) for character in short] + [0] * (SPELLED - len(short))

  characters = [np.array([spelled(word) for word in words], np.int32) for words in sentences]
  return {"tokens": text.encode(about["tokenizer"], sentences), "characters": characters}


def packed(
  about: Mapping[str, Any],
  sentences: Sequence[Sequence[str]],
  of_words: Mapping[str, Sequence[np.ndarray]],
  of_sentences: Mapping[str, Any],
  length: int,
  most: int,
) -> Arrays:
  """Rows of sentences, with their words, characters and segments in the entry `x`, and -1 for missing labels.

  Where each sentence has a row of its own, rows are in the order of the sentences.
  """
  given = {**tokens(about, sentences), **of_words}
  found = text.pack(given, of_sentences, length=length, most=most, fill=dict.fromkeys(of_words, -1))
  rows = take(found.arrays, found.rows) if most == 1 else found.arrays
  return {"x": {key: rows.pop(key) for key in ("tokens", "characters", "segments")}, **rows}


def trunk(about: Mapping[str, Any], **options: Any) -> Sequence[Any]:
  """The stages of a recurrent network over words and characters."""
  sizes = {"vocabulary": about["words"], "characters": len(about["alphabet"]) + 2}
  return nn.stages(nn.RecurrentEncoder(**sizes, pool=None, **options))


def files(
  about: Mapping[str, Any],
  split: Callable[[str], list[str]],
  record: Callable[[list[str], Record], Record],
  tell: Callable[[Record], str],
  length: int,
) -> Files:
  """How a recipe reads text, a sentence per line, and tells what is predicted.

  Args:
    about: As `known` gives it.
    split: Makes words of a line.
    record: `record(words, records)`, what is said of a sentence from what the tasks say of its row, `{task: ...}`.
    tell: What is said of a record in a terminal.
    length: The most words of a sentence.
  """

  def told(name: str, count: int) -> str:
    return f"{name}: {count} words, expected 1 to {length}: {'cut the line' if count else 'leave it out'}."

  def read(path: Path, tasks: Sequence[str], warn: Callable[[str], None] | None = None) -> tuple[Arrays, list[str]]:
    refuse_labels(path, tasks, "text has")
    found = sentences_of(path, lambda lines: list(map(split, lines)), length, told, warn)
    names = [f"{name}\t{line}" for name, (line, _) in found.items()]
    return packed(about, [words for _, words in found.values()], {}, {}, length, 1), names

  def records(predicted: Predicted) -> Iterator[Record]:
    for found in predicted.records():
      name, _, line = found.pop("name").partition("\t")
      yield {"name": name, **({"text": line} if line else {}), **record(split(line), found)}

  def write(path: Path, predicted: Predicted) -> None:
    write_records(path, records(predicted))

  told_of = lambda predicted: "\n".join(map(tell, records(predicted)))  # noqa: E731
  return Files(read, write, ".jsonl", read_good=read, tell=told_of, records=records)
