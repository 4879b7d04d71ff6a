"""Sentences with parts of speech and trees: how users' sentences are read and told of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax.data import source
from mtl_jax.recipes import _words
from mtl_jax.recipes._recipe import Files

NOTHING = {
  **{"tokenizer": "", "words": 2, "alphabet": ""},
  **{"pos": ["", ""], "morphology": ["", ""], "relations": ["", ""]},
}
"""What is known before the data are."""
_WORD = re.compile(
  r"""n't\b | '(?:s|m|d|re|ve|ll)\b           # what English joins to a word
  | (?:[^\W\d_]\.){2,}                        # U.S.
  | \w+?(?=n't\b) | \w+(?:[.,:@/]\w+)*        # 3.5, 10:30, example.com
  | \.\.\.+ | --+ | [^\w\s]""",
  re.VERBOSE | re.IGNORECASE,
)


def up_to(length: int, found: source.Treebank) -> source.Treebank:
  """The sentences of at most so many words."""
  kept = [i for i, words in enumerate(found.words) if len(words) <= length]
  return source.Treebank._make([column[i] for i in kept] for column in found)


def arrays(heads: Sequence[Sequence[int]]) -> list[np.ndarray]:
  """Heads as integers of 32 bits."""
  return [np.array(own, np.int32) for own in heads]


def split(line: str) -> list[str]:
  """The words of a line, about as in the treebank: signs by themselves, and `do n't`, `I 'm`, `dog 's` apart.

  >>> split("I don't like Anna's 3.5 e-mails.")
  ['I', 'do', "n't", 'like', 'Anna', "'s", '3.5', 'e', '-', 'mails', '.']
  """
  return _WORD.findall(line.replace("\u2019", "'"))


def files(about: Mapping[str, Any], length: int) -> Files:
  """How users' sentences are read, and their grammar told."""

  def record(words: list[str], said: dict[str, Any]) -> dict[str, Any]:
    tree = {"dependencies": said["dependencies"]} if "dependencies" in said else {}
    return {**({"words": words} if words else {}), **{task: said[task] for task in said if task not in tree}, **tree}

  return _words.files(about, split, record, tell, length)


def tell(record: Mapping[str, Any]) -> str:
  """A line for each word: its number, itself, part of speech, morphology, and its relation to its head."""
  tree = record.get("dependencies", [])
  columns = [record.get("words", []), record.get("pos", []), record.get("morphology", [])]
  columns += [[one["relation"] for one in tree], [_head(one["head"], record.get("words", [])) for one in tree]]
  there = [column for column in columns if column]
  rows = [[str(i), *row] for i, row in enumerate(zip(*there, strict=True), start=1)]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
  return "\n".join([record["name"], *(f"  {line}" for line in lines), ""])


def _head(number: int, words: Sequence[str]) -> str:
  return f"{number} {words[number - 1]}" if number and words else str(number)
