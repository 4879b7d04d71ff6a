"""Speech and language: what is said, who says it, and the next letter of a text, from one shared trunk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mtl_jax import nn, terms
from mtl_jax import tasks as families
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain, hard_sharing, stems, with_terms
from mtl_jax.data import mixture, source
from mtl_jax.data.source.spoken_digits import RATE, SPEAKERS
from mtl_jax.recipes import _spoken
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose

LETTERS = len(_spoken.ALPHABET) + 2  # with padding and the mark at both ends of a text


def speech_language(width: int = 96, strings: int = 1500, l1: float = 1e-6) -> Recipe:
  """Strings of spoken digits as text, letter by letter, their speaker, and a language model of letters.

  Sounds and texts have stems of their own in front of one trunk of causal convolutions; that of sounds sees 0.3 seconds
  ahead, since a word is to be known before it can be spelled. The penalty of all kernels makes them sparse. Texts are
  short film reviews and digits in words; the two sources are a mixture.

  Args:
    width: The width of the network.
    strings: How many strings of two or three digits are joined of the clips to train on, beside the clips themselves.
    l1: The strength of the penalty.

  Returns:
    The recipe, with the tasks `words` (wer), `speaker` (accuracy) and `letters` (perplexity); `data` takes
    `mtl.data.source.spoken_digits()` and `mtl.data.source.sentences("sst2")`.

  References:
    Graves et al., *Connectionist Temporal Classification*, ICML 2006, for the loss of `words`.
  """

  def data(seed: int) -> Splits:
    clips, rng = source.spoken_digits(), np.random.default_rng(seed)
    parts = [
      mixture({
        ("words", "speaker"): _spoken.strings(clips[part], count, rng),
        "letters": _spoken.texts(part, count // 3, rng),
      }, rates={("words", "speaker"): 4, "letters": 1})
      for part, count in (("train", strings), ("valid", 180), ("test", 300))
    ]  # fmt: skip
    return Splits(*parts, about={"alphabet": _spoken.ALPHABET, "speakers": SPEAKERS, "rate": RATE})

  def net(names: Sequence[str]) -> Parts:
    sound = [nn.LogMel(RATE), nn.SpecAugment(6, 8), nn.StackFrames(2), nn.TemporalConv((width, width), 5, pool=None)]
    text = nn.stages(nn.TransformerEncoder(LETTERS, width, 0, positions=None))[0]
    *blocks, pool = nn.stages(nn.TemporalConv((width,) * 3, 3, causal=True))
    fronts = {"sound": chain(*map(from_linen, sound)), "text": text}
    used = {"sound": "words" in names or "speaker" in names, "text": "letters" in names}
    heads = {
      "words": from_linen(nn.SequenceHead(len(_spoken.ALPHABET) + 1)),
      "speaker": chain(pool, from_linen(nn.MLP((), len(SPEAKERS)))),
      "letters": from_linen(nn.SequenceHead(LETTERS)),
    }
    trunk = stems({key: front for key, front in fronts.items() if used[key]}, chain(*blocks), "first")
    return Parts(trunk, choose(heads, names))

  def sparse(trunk, heads):
    return with_terms(hard_sharing(trunk, heads), {"sparse": terms.l1("shared/.*conv.*/kernel", l1)})

  return Recipe(
    name="speech_language",
    summary="Spoken digits as text by CTC, their speaker, and a language model of letters, from one trunk.",
    expected="2500 strings of digits and 3000 texts; FSDD and SST-2 from MTL_JAX_DATA; word error rate 0.053.",
    data=data,
    net=net,
    tasks={
      "words": families.transcription("words", _spoken.ALPHABET, beam=8),
      "speaker": dataclasses.replace(families.classification("speaker", len(SPEAKERS)), record=_spoken.speaker),
      "letters": families.language_model("text", LETTERS),
    },
    optimizer=adamw_cosine,
    learning_rate=3e-3,
    steps=2800,
    batch_size=40,
    eval_every=400,
    inputs={"words": ("sound",), "speaker": ("sound",), "letters": ("text",)},
    files=_spoken.wav_files(),
    arch=sparse,
  )
