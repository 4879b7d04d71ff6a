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
from mtl_jax.train import mean_metric


def sentences(pretrained: bool = True, tuned: int = 3, own: int = 0) -> Recipe:
  """Reviews of films and of things one can buy, phrases of newspapers, opinions, and questions: what is said in each.

  Sentences of a set lie in rows of 128 tokens, with hardly any padding; a batch has equally many of each set. Since MR
  and SUBJ have sentences of SST-2, a training sentence is left out where 40 letters of it are in a sentence of any set
  that is to tune or test on.

  Args:
    pretrained: Whether the encoder is MiniLM (`mtl.transfer.minilm`), or a small one that begins at random.
    tuned: How many of MiniLM's six layers are trained, from the last one on; the others stay.
    own: How many of these, from the last one on, each task has for itself.

  Returns:
    The recipe, with the tasks `sst2`, `trec`, `subj`, `mr`, `cr` and `mpqa` (accuracy). `data` takes the sentences as
    `mtl.data.source.sentences` does.

  Raises:
    UserError: There are not as many layers, or not as many trained ones.

  References:
    Kim, *Convolutional Neural Networks for Sentence Classification*, EMNLP 2014, for the sets.
    Wang et al., *MiniLM*, NeurIPS 2020.
  """
  if not 0 <= tuned <= 6:
    raise UserError(f"sentences: tuned is {tuned}, expected from 0 to 6 layers.")
  if not 0 <= own <= tuned * pretrained:
    raise UserError(f"sentences: own is {own}, expected from 0 to {tuned * pretrained}, the layers that are trained.")

  def data(seed: int) -> Splits:
    found = _sentences.apart({name: source.sentences(name) for name in CLASSES})
    train = [sentence for parts in found.values() for sentence in parts["train"][0]]
    tokenizer = transfer.minilm_tokenizer() if pretrained else _sentences.words(train)

    def part(name: str):
      return {task: _sentences.packed(tokenizer, pretrained, *parts[name]) for task, parts in found.items()}

    parts = mixture(part("train")), mixture(part("valid")), mixture(part("test"))
    return Splits(*parts, about={"tokenizer": tokenizer, "vocabulary": _sentences.vocabulary(tokenizer)})

  def net(names: Sequence[str], vocabulary: int = 30522) -> Parts:
    if pretrained:
      *layers, end = transfer.pretrained(from_linen(nn.Bert(vocabulary, pool=None)), transfer.minilm()).stages
      fixed, shared = len(layers) - tuned, len(layers) - own
      trunk, last = chain(*map(transfer.fixed, layers[:fixed]), *layers[fixed:shared], end), layers[shared:]
    else:
      trunk, last = from_linen(nn.TransformerEncoder(vocabulary, layers=2, pool=None, dropout=0.2)), []
    last = [*last, from_linen(nn.SegmentPool(_sentences.MOST))]
    heads = {name: chain(*last, from_linen(nn.MLP((), len(each), flatten=False))) for name, each in CLASSES.items()}
    return Parts(trunk, choose(heads, names))

  def adapt(described: Description) -> Recipe:
    about = described.about
    files = _sentences.files(about["tokenizer"], lambda lines: _sentences.tokens(about["tokenizer"], pretrained, lines))
    return dataclasses.replace(recipe, net=lambda names: net(names, about["vocabulary"]), files=files)

  recipe = Recipe(
    name="sentences",
    summary="Six sets of sentences, each with a question of its own, on one encoder of text.",
    expected="Six sets from MTL_JAX_DATA, MiniLM from a package; 8 processor minutes; SST-2 0.862, one seed.",
    data=data,
    net=net,
    tasks={name: _sentences.kind(classes) for name, classes in CLASSES.items()},
    optimizer=adamw_cosine,
    learning_rate=4e-4 if pretrained else 2e-3,
    steps=300 if pretrained else 600,
    batch_size=12 if pretrained else 24,
    eval_every=300,
    score=mean_metric("accuracy"),
    adapt=adapt,
  )
  return recipe
