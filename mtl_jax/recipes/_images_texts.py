"""Recipes of images and of sentences: which of the two a user's files are, and what is said of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mtl_jax.data import text
from mtl_jax.recipes import _grammar, _sentences
from mtl_jax.recipes._lines import write_lines
from mtl_jax.recipes._photos import photos
from mtl_jax.recipes._recipe import Arrays, Files, Predicted


def files(tokenizer: str, side: int, length: int) -> Files:
  """How gray images, in `image`, and sentences, in `text`, are read.

  Args:
    tokenizer: Of words as corpora of parsed English have them, as JSON.
    side: Height and width of the images trained on.
    length: The most words of a sentence.

  Returns:
    For `Recipe.files`.
  """

  def split(lines: Sequence[str]) -> Sequence[np.ndarray]:
    return text.encode(tokenizer, [_grammar.split(line.lower()) for line in lines])

  return either(photos((side, side), 1, "image"), _sentences.files(tokenizer, split, "text", length), "text")


def either(images: Files, sentences: Files, key: str) -> Files:
  """How a recipe with tasks of images and tasks of sentences reads files: each kind by itself, for its own tasks.

  Args:
    images: Reads images: a file, or a folder.
    sentences: Reads text: a file whose name ends in .txt, or a folder that holds some.
    key: That of sentences in a batch.

  Returns:
    For `Recipe.files`.
  """

  def of(path: Path) -> Files:
    return sentences if path.suffix.lower() == ".txt" or any(path.rglob("*.txt")) else images

  def read(path: Path, tasks: Sequence[str]) -> tuple[Arrays, Sequence[str]]:
    return of(path).read(path, tasks)

  def read_good(path: Path, tasks: Sequence[str], warn: Callable[[str], None]) -> tuple[Arrays, Sequence[str]]:
    good = of(path).read_good
    assert good is not None
    return good(path, tasks, warn)

  def tell(predicted: Predicted) -> str:
    say = sentences.tell if key in predicted.arrays else _classes
    assert say is not None
    return say(predicted)

  return Files(read, write_lines, ".jsonl", read_good=read_good, tell=tell)


def _classes(predicted: Predicted) -> str:
  """A line for each image: its name, and its class by each task, with the probability of that."""
  lines = []
  for record in predicted.records():
    name = record.pop("name")
    said = (f"{task}: {own['class']} {own['probability']:.2f}" for task, own in record.items())
    lines.append("  ".join([name, *said]))
  return "\n".join(lines)
