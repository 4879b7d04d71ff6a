"""Spoken commands, each with its intent and a tag for every word: ATIS and SNIPS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from mtl_jax._core.errors import UserError
from mtl_jax.data.source._folder import folder
from mtl_jax.data.source._lines import lines_of

_PLACE = "https://github.com/monologg/JointBERT/tree/master/data"
_PARTS = {"train": "train", "valid": "dev", "test": "test"}
_COLUMNS = ("label", "seq.in", "seq.out")


class Commands(NamedTuple):
  """Sentences with what is said of them.

  Attributes:
    words: The words of each sentence.
    tags: A tag for each word: "O", "B-..." or "I-...", as the spans of slots such as `fromloc.city_name`.
    intents: What each sentence is meant to bring about.
  """

  words: list[list[str]]
  tags: list[list[str]]
  intents: list[str]


def atis(data_dir: str | os.PathLike[str] | None = None) -> dict[str, Commands]:
  """Questions about flights: 4478 to train, 500 to tune and 893 to test on, of 21 intents and 120 tags.

  Args:
    data_dir: A directory D with the files of JointBERT, `D/atis/train/seq.in`, `seq.out` and `label`, and so for `dev`
      and `test`; or with `D/atis_snips/atis_train.tsv.gz` and so on, of lines `intent`, words and tags, with tabs
      between these and blanks between words and tags; None: that of the environment variable `MTL_JAX_DATA`.

  Returns:
    The parts `train`, `valid` and `test`. Some test sentences have two intents, joined by `#`.

  Raises:
    UserError: A file is missing or damaged, or a sentence has not as many tags as words.

  References:
    Hemphill et al., *The ATIS Spoken Language Systems Pilot Corpus*, 1990.
    Chen et al., *BERT for Joint Intent Classification and Slot Filling*, 2019, for the files.
  """
  return _commands("ATIS", "atis", data_dir)


def snips(data_dir: str | os.PathLike[str] | None = None) -> dict[str, Commands]:
  """Commands to a voice assistant: 13,084 to train, 700 to tune and 700 to test on, of 7 intents and 72 tags.

  Args:
    data_dir: As in `atis`, with `snips` in place of `atis`.

  Returns:
    The parts `train`, `valid` and `test`.

  Raises:
    UserError: A file is missing or damaged, or a sentence has not as many tags as words.

  References:
    Coucke et al., *Snips Voice Platform*, 2018, CC0.
  """
  return _commands("SNIPS", "snips", data_dir)


def _commands(title: str, name: str, data_dir: str | os.PathLike[str] | None) -> dict[str, Commands]:
  directory = folder(data_dir)
  if directory is None:
    raise UserError(
      f"{title} is not here: get the folder {name} from {_PLACE}, and set MTL_JAX_DATA to the directory D that holds "
      f"it as D/{name}/train/seq.in."
    )
  return {part: _part(title, name, directory, called) for part, called in _PARTS.items()}


def _part(title: str, name: str, directory: Path, part: str) -> Commands:
  advice = f"get it from {_PLACE} once more"
  single = directory / "atis_snips" / f"{name}_{part}.tsv.gz"
  apart = [directory / name / part / column for column in _COLUMNS]
  if single.is_file():
    rows, where = [line.split("\t") for line in lines_of(single, advice)], single
  elif all(path.is_file() for path in apart):
    columns, where = [lines_of(path, advice) for path in apart], apart[2]
    counts = [len(column) for column in columns]
    if len({*counts}) > 1:
      told = ", ".join(f"{path.name} {count}" for path, count in zip(apart, counts, strict=True))
      raise UserError(f"{apart[0].parent}: {told} lines, expected as many in each: {advice}.")
    rows = zip(*columns, strict=True)
  else:
    missing = next(path for path in apart if not path.is_file())
    raise UserError(f"{title} is not at {missing}: get the folder {name} from {_PLACE} and put it there.")
  found = Commands([], [], [])
  for i, row in enumerate(rows, start=1):
    if len(row) != 3:
      raise UserError(f"{where}, line {i}: {len(row)} columns, expected intent, words and tags: {advice}.")
    intent, words, tags = row[0].strip(), row[1].split(), row[2].split()
    if not words or len(words) != len(tags) or not intent:
      raise UserError(
        f"{where}, line {i}: intent {intent!r}, {len(words)} words and {len(tags)} tags, expected an intent and a tag "
        f"for each word: {advice}."
      )
    found.words.append(words)
    found.tags.append(tags)
    found.intents.append(intent)
  return found
