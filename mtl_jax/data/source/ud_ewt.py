"""Sentences of the web with their parts of speech, morphology and syntactic trees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from mtl_jax._core.errors import UserError
from mtl_jax.data.source._folder import folder
from mtl_jax.data.source._lines import lines_of

_PLACE = "https://github.com/UniversalDependencies/UD_English-EWT"
_PARTS = {"train": "train", "valid": "dev", "test": "test"}
_COLUMNS = {6: (0, 1, 3, 4, 5), 10: (1, 3, 5, 6, 7)}  # of form, part of speech, features, head and relation


class Treebank(NamedTuple):
  """Sentences with what is said of each word.

  Attributes:
    words: The words of each sentence.
    pos: The part of speech of each word, such as `NOUN`.
    features: Its morphology, such as `Number=Plur`, `_` for none.
    heads: The number of its head in the sentence, from 1, 0 for the root.
    relations: Its relation to it, such as `nsubj` or `acl:relcl`.
  """

  words: list[list[str]]
  pos: list[list[str]]
  features: list[list[str]]
  heads: list[list[int]]
  relations: list[list[str]]


def ud_ewt(data_dir: str | os.PathLike[str] | None = None) -> dict[str, Treebank]:
  """The English Web Treebank of Universal Dependencies: 12,544 sentences to train, 2001 to tune and 2077 to test on.

  Args:
    data_dir: A directory D with the files of the treebank, `D/ud_ewt/en_ewt-ud-train.conllu`, `-dev` and `-test`; or
      with `D/ud_ewt/train.tsv.xz`, `dev` and `test`, of lines of FORM, UPOS, XPOS, FEATS, HEAD and DEPREL with tabs
      between, and an empty line behind each sentence; None: that of the environment variable `MTL_JAX_DATA`. Lines that
      begin with `#` do not count, nor do words that are no nodes of the tree, those numbered 1-2 or 1.1.

  Returns:
    The parts `train`, `valid` and `test`.

  Raises:
    UserError: A file is missing or damaged.

  References:
    Silveira et al., *A Gold Standard Dependency Corpus for English*, LREC 2014, CC BY-SA 4.0.
    Nivre et al., *Universal Dependencies v2*, LREC 2020.
  """
  directory = folder(data_dir)
  if directory is None:
    raise UserError(
      f"UD English EWT is not here: get en_ewt-ud-train.conllu, -dev and -test from {_PLACE}, and set MTL_JAX_DATA to "
      "the directory D that holds them as D/ud_ewt/en_ewt-ud-train.conllu."
    )
  return {part: _part(directory / "ud_ewt", called) for part, called in _PARTS.items()}


def _part(directory: Path, part: str) -> Treebank:
  path = next((p for p in (directory / f"{part}.tsv.xz", directory / f"en_ewt-ud-{part}.conllu") if p.is_file()), None)
  if path is None:
    missing = directory / f"en_ewt-ud-{part}.conllu"
    raise UserError(f"UD English EWT is not at {missing}: get it from {_PLACE} and put it there.")
  advice = f"get it from {_PLACE} once more"
  found, rows = Treebank([], [], [], [], []), list[tuple[str, str, str, int, str]]()
  for i, line in enumerate([*lines_of(path, advice), ""], start=1):
    row = line.split("\t")
    if not line.strip():
      if rows:
        found.words.append([one[0] for one in rows])
        found.pos.append([one[1] for one in rows])
        found.features.append([one[2] for one in rows])
        found.heads.append([one[3] for one in rows])
        found.relations.append([one[4] for one in rows])
      rows = []
    elif len(row) in _COLUMNS and not (len(row) == 10 and not row[0].isdigit()):
      form, pos, features, head, relation = (row[k] for k in _COLUMNS[len(row)])
      if not head.isdigit():
        raise UserError(f"{path}, line {i}: the head is {head!r}, expected the number of a word or 0: {advice}.")
      rows.append((form, pos, features, int(head), relation))
    elif not line.startswith("#") and len(row) != 10:
      raise UserError(f"{path}, line {i}: {len(row)} columns, expected 6, or 10 as in CoNLL-U: {advice}.")
  if not found.words:
    raise UserError(f"{path} holds no sentences: {advice}.")
  return found
