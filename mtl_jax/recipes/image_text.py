"""Images and sentences: digits and the sentiment of film reviews, through one body of convolutions over sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_jax import nn
from mtl_jax import tasks as families
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain, stems
from mtl_jax.data import Description, mixture, parts, source, text
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose

SIDE, PATCH, WORDS = 28, 4, 56  # pixels of images and patches, and the words of the longest review


def image_text(width: int = 72, blocks: int = 4, embedding: int = 16, dropout: float = 0.3) -> Recipe:
  r"""MNIST and the reviews of SST-2, each a sequence of vectors: of patches of pixels, or of words.

  Each kind of input has a stem of its own, all layers behind are shared. For a loss $L_1 + \lambda L_2$ train it with
  `--balancer constant --balancer.weights 1 2`, one weight for each task.

  Args:
    width: The channels of the body.
    blocks: The number of its blocks.
    embedding: The width of the vectors that the stems give.
    dropout: The share of values that are dropped in each block.

  Returns:
    The recipe, with the tasks `digit` and `sentiment` (accuracy). `data` takes `mtl.data.source.mnist()` and
    `mtl.data.source.sentences("sst2")`.
  """

  def data(seed: int) -> Splits:
    images, reviews = source.mnist(), source.sentences("sst2")
    tokenizer = text.words([own.split() for own in reviews["train"][0]], least=5)
    train, valid = parts(len(images["train_x"]), (11 / 12, 1 / 12))
    rows = {"train": ("train", train), "valid": ("train", valid), "test": ("test", slice(None))}

    def of(part: str) -> Any:
      where, own = rows[part]
      sentences, labels = reviews[part]
      tokens = text.encode(tokenizer, [sentence.split() for sentence in sentences])
      words = text.pack({"tokens": tokens}, {"sentiment": labels}, length=WORDS, most=1).arrays
      answers = words.pop("sentiment")[:, 0]
      digits = {"image": images[f"{where}_x"][own][..., None], "digit": images[f"{where}_y"][own].astype(np.int32)}
      return mixture({"digit": digits, "sentiment": {"text": words, "sentiment": answers}})

    return Splits(*map(of, rows), about={"tokenizer": tokenizer})

  def net(names: Sequence[str], vocabulary: int = 2) -> Parts:
    image = nn.TransformerEncoder(None, embedding, 0, max_length=(SIDE // PATCH) ** 2)
    words = nn.TransformerEncoder(vocabulary, embedding, 0, max_length=WORDS, dropout=dropout)
    fronts = {
      "digit": ("image", chain(from_linen(nn.Pixels(0.13, 0.31)), from_linen(nn.Patches(PATCH)), nn.stages(image)[0])),
      "sentiment": ("text", nn.stages(words)[0]),
    }
    *body, pool = nn.stages(nn.TemporalConv((width,) * blocks, dropout=dropout))
    heads = {"digit": chain(pool, from_linen(nn.MLP((), 10))), "sentiment": chain(pool, from_linen(nn.MLP((), 1)))}
    return Parts(stems(dict(choose(fronts, names).values()), chain(*body), "first"), choose(heads, names))

  def adapt(described: Description) -> Recipe:
    vocabulary = text.load_tokenizer(described.about["tokenizer"]).get_vocab_size()
    return dataclasses.replace(recipe, net=lambda names: net(names, vocabulary))

  recipe = Recipe(
    name="image_text",
    summary="Handwritten digits and the sentiment of film reviews through one body of convolutions.",
    expected="60,000 images and 6920 reviews; MNIST and SST-2 from MTL_JAX_DATA.",
    data=data,
    net=net,
    tasks={
      "digit": families.classification("digit", 10),
      "sentiment": families.binary("sentiment").judged_by("accuracy"),
    },
    optimizer=adamw_cosine,
    learning_rate=2e-3,
    steps=500,
    batch_size=128,
    eval_every=100,
    inputs={"digit": ("image",), "sentiment": ("text",)},
    adapt=adapt,
  )
  return recipe
