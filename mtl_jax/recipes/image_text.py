"""Images and sentences: digits and the sentiment of film reviews, through one body of convolutions over sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import optax

from mtl_jax import nn, tasks
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain, stems
from mtl_jax.data import Description, Mixture, mixture, parts, source, text
from mtl_jax.recipes import _images_texts, _lines
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose
from mtl_jax.transfer import rates

SIDE, PATCH, WORDS = 28, 7, 56  # pixels of images and patches, and the words of the longest review


def image_text(width: int = 96, blocks: int = 4, embedding: int = 32, dropout: float = 0.1) -> Recipe:
  r"""MNIST and the reviews of SST-2, each a sequence of vectors: of patches of pixels, or of words.

  Each kind of input has a stem of its own, all layers behind are shared. For a loss $L_1 + \lambda L_2$ train it with
  `--balancer constant --balancer.weights 1 2`, one weight for each task.

  Args:
    width: The channels of the body.
    blocks: The number of its blocks.
    embedding: The width of the vectors that the stems give.
    dropout: The share of values that are dropped by each convolution, and three times as many of words' vectors.

  Returns:
    The recipe, with the tasks `digit` and `sentiment` (accuracy), of `mtl.data.source.mnist` and `sentences("sst2")`.
  """

  def data(seed: int) -> Splits:
    images, texts = source.mnist(), source.sentences("sst2")
    tokenizer = text.words([own.split() for own in texts["train"][0]], least=5)
    train, valid = parts(len(images["train_x"]), (11 / 12, 1 / 12))
    rows = {"train": ("train", train), "valid": ("train", valid), "test": ("test", slice(None))}

    def of(part: str) -> Mixture:
      where, own = rows[part]
      sentences, labels = texts[part]
      tokens = text.encode(tokenizer, [sentence.split() for sentence in sentences])
      words = text.pack({"tokens": tokens}, {"sentiment": labels}, length=WORDS, most=1).arrays
      digits = {"image": images[f"{where}_x"][own][..., None], "digit": images[f"{where}_y"][own].astype(np.int32)}
      reviews = {"sentiment": words.pop("sentiment")[:, 0], "text": words}
      return mixture({"digit": digits, "sentiment": reviews}, rates={"digit": 1, "sentiment": 1})

    return Splits(*map(of, rows), about={"tokenizer": tokenizer})

  def net(names: Sequence[str], vocabulary: int = 2) -> Parts:
    image = nn.TransformerEncoder(None, embedding, 0, max_length=(SIDE // PATCH) ** 2)
    words = nn.TransformerEncoder(vocabulary, embedding, 0, max_length=WORDS, dropout=3 * dropout)
    fronts = {
      "digit": ("image", chain(from_linen(nn.Pixels(0.13, 0.31)), from_linen(nn.Patches(PATCH)), nn.stages(image)[0])),
      "sentiment": ("text", nn.stages(words)[0]),
    }
    *body, pool = nn.stages(nn.TemporalConv((width,) * blocks, dropout=dropout))
    heads = {"digit": chain(pool, from_linen(nn.MLP((), 10))), "sentiment": chain(pool, from_linen(nn.MLP((), 1)))}
    return Parts(stems(dict(choose(fronts, names).values()), chain(*body), "first"), choose(heads, names))

  def adapt(described: Description) -> Recipe:
    tokenizer = described.about["tokenizer"]
    size, files = text.load_tokenizer(tokenizer).get_vocab_size(), _images_texts.files(tokenizer, SIDE, WORDS)
    return dataclasses.replace(recipe, net=lambda names: net(names, size), files=files)

  recipe = Recipe(
    name="image_text",
    summary="Handwritten digits and the sentiment of film reviews through one body of convolutions.",
    expected="60,000 images and 6920 reviews; MNIST and SST-2 from MTL_JAX_DATA; accuracies 0.98 and 0.78.",
    data=data,
    net=net,
    tasks={
      "digit": _lines.named(tasks.classification("digit", 10), range(10)),
      "sentiment": _lines.named(tasks.binary("sentiment").judged_by("accuracy"), ("negative", "positive")),
    },
    optimizer=lambda rate, steps: optax.chain(adamw_cosine(rate, steps), rates({"embedding/": 5.0})),  # they begin at 1
    learning_rate=2e-3,
    steps=2400,
    batch_size=96,
    eval_every=200,
    inputs={"digit": ("image",), "sentiment": ("text",)},
    adapt=adapt,
  )
  return recipe
