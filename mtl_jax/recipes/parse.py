"""Grammar: the part of speech of every word, its morphology, and the tree of the sentence."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from mtl_jax import nn
from mtl_jax import tasks as families
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.data import source
from mtl_jax.recipes import _grammar, _words
from mtl_jax.recipes._recipe import Arrays, Parts, Recipe, Splits, adamw_cosine, choose
from mtl_jax.train import mean_metric

LENGTH, MOST = 96, 32
_LABELS = {"pos": "pos", "morphology": "features", "relations": "relations"}


def parse(width: int = 192) -> Recipe:
  """Parts of speech, morphology and dependencies of English, by a recurrent network over words and characters.

  Args:
    width: Of the network.

  Returns:
    The recipe, with the tasks `pos` (accuracy), `morphology` (accuracy; all features of a word together are a class)
    and `dependencies` (UAS); `data` takes the sentences as `mtl.data.source.ud_ewt()` does, those to train on of up to
    96 words. What is in no training sentence is a class that is never right.

  References:
    Dozat and Manning, *Deep Biaffine Attention for Neural Dependency Parsing*, ICLR 2017.
  """

  def splits(seed: int) -> Splits:
    found = source.ud_ewt()
    train = _grammar.up_to(LENGTH, found["train"])
    names = {label: _words.classes(itertools.chain(*getattr(train, field))) for label, field in _LABELS.items()}
    about = {**_words.known(train.words), **names}

    def arrays(part: source.Treebank) -> Arrays:
      labels = {
        label: [_words.numbers(names[label], own) for own in getattr(part, field)] for label, field in _LABELS.items()
      }
      return _words.packed(about, part.words, {**labels, "heads": _grammar.arrays(part.heads)}, {}, LENGTH, MOST)

    return Splits(*map(arrays, (train, found["valid"], found["test"])), about=about)

  def net(names: Sequence[str], about: Mapping[str, Any]) -> Parts:
    *layers, _ = _words.trunk(about, width=width, layers=2, embedding=96, filters=64, dropout=0.25)
    heads = {
      "pos": from_linen(nn.TokenHead(len(about["pos"]))),
      "morphology": from_linen(nn.TokenHead(len(about["morphology"]))),
      "dependencies": from_linen(nn.BiaffineHead(len(about["relations"]), 128, 32, dropout=0.2)),
    }
    return Parts(chain(*layers), choose(heads, names))

  def of(about: Mapping[str, Any]) -> Recipe:
    pos, morphology, relations = (about[label] for label in _LABELS)
    return Recipe(
      name="parse",
      summary="Grammar of English: part of speech and morphology of every word, and the tree of the sentence.",
      expected="12,544 sentences, 3 processor minutes; parts of speech 90.7 %, UAS 76.6 %; alone 93.3 and 78.2.",
      data=splits,
      net=functools.partial(net, about=about),
      tasks={
        "pos": families.tagging("pos", len(pos), classes=pos),
        "morphology": families.tagging("morphology", len(morphology), classes=morphology),
        "dependencies": families.dependencies(
          "heads", "relations", len(relations), segments=("x", "segments"), names=relations
        ),
      },
      optimizer=adamw_cosine,
      learning_rate=3e-3,
      steps=1500,
      batch_size=4,
      eval_every=500,
      score=mean_metric({"pos": "accuracy", "morphology": "accuracy", "dependencies": "uas"}),
      files=_grammar.files(about, LENGTH),
      adapt=lambda described: of(described.about),
    )

  return of(_grammar.NOTHING)
