"""Six sets of sentences, each with a question of its own, on one encoder of text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mtl_jax import nn, transfer
from mtl_jax._core.errors import UserError
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.data import Description, mixture, source
from mtl_jax.data.source.sentences import CLASSES
from mtl_jax.recipes import _sentences
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose

ROWS = {"sst2": 3, "trec": 2, "subj": 1, "mr": 3, "cr": 2, "mpqa": 1}
"""The shares of the sets in a batch, of twelve rows."""


def sentences(pretrained: bool = True, tuned: int = 3) -> Recipe:
  """Reviews of films and of things one can buy, phrases of newspapers, opinions, and questions: what is said in each.

  Sentences of a set lie in rows of 128 tokens, with hardly any padding. Since MR and SUBJ have sentences of SST-2, a
  training sentence is left out where 40 letters of it are in a sentence of any set that is to tune or test on.

  Args:
    pretrained: Whether the encoder is MiniLM (`mtl.transfer.minilm`), or a small one that begins at random.
    tuned: How many of MiniLM's six layers are trained, from the last one on; the others stay.

  Returns:
    The recipe, with the tasks `sst2`, `trec`, `subj`, `mr`, `cr` and `mpqa` (accuracy). `data` takes the sentences as
    `mtl.data.source.sentences` does.

  Raises:
    UserError: There are not as many layers.

  References:
    Kim, *Convolutional Neural Networks for Sentence Classification*, EMNLP 2014, for the sets.
    Wang et al., *MiniLM*, NeurIPS 2020.
  """
  if not 0 <= tuned <= 6:
    raise UserError(f"sentences: tuned is {tuned}, expected from 0 to 6 layers.")

  def data(seed: int) -> Splits:
    found = _sentences.apart({name: source.sentences(name) for name in CLASSES})
    train = [sentence for parts in found.values() for sentence in parts["train"][0]]
    tokenizer = transfer.minilm_tokenizer() if pretrained else _sentences.words(train)

    def part(name: str):
      return {task: _sentences.packed(tokenizer, pretrained, *parts[name]) for task, parts in found.items()}

    parts = mixture(part("train"), rates=ROWS), mixture(part("valid")), mixture(part("test"))
    return Splits(*parts, about={"tokenizer": tokenizer, "vocabulary": _sentences.vocabulary(tokenizer)})

  def net(names: Sequence[str], vocabulary: int = 30522) -> Parts:
    if pretrained:
      layers = transfer.pretrained(from_linen(nn.Bert(vocabulary, pool=None)), transfer.minilm()).stages
      kept = len(layers) - 1 - tuned
      trunk = chain(*map(transfer.fixed, layers[:kept]), *layers[kept:])
    else:
      trunk = from_linen(nn.TransformerEncoder(vocabulary, layers=2, pool=None, dropout=0.2))
    heads = {
      name: chain(from_linen(nn.SegmentPool(_sentences.MOST)), from_linen(nn.MLP((), len(classes), flatten=False)))
      for name, classes in CLASSES.items()
    }
    return Parts(trunk, choose(heads, names))

  def adapt(described: Description) -> Recipe:
    about = described.about
    files = _sentences.files(about["tokenizer"], lambda lines: _sentences.tokens(about["tokenizer"], pretrained, lines))
    return dataclasses.replace(recipe, net=lambda names: net(names, about["vocabulary"]), files=files)

  recipe = Recipe(
    name="sentences",
    summary="Six sets of sentences, each with a question of its own, on one encoder of text.",
    expected="Six sets from MTL_JAX_DATA, MiniLM from a package; 9 processor minutes; SST-2 0.867, one seed.",
    data=data,
    net=net,
    tasks={name: _sentences.kind(classes) for name, classes in CLASSES.items()},
    optimizer=adamw_cosine,
    learning_rate=4e-4 if pretrained else 2e-3,
    steps=300 if pretrained else 600,
    batch_size=12 if pretrained else 24,
    eval_every=300,
    adapt=adapt,
  )
  return recipe
