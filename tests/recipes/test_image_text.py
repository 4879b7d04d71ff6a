"""Digits and sentences on made data: one body, less parameters than two, and each task by itself."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

import mtl_jax as mtl
from mtl_jax import recipes
from mtl_jax.cli import main

pytest.importorskip("tokenizers")


@pytest.fixture
def made_data(monkeypatch):
  rng = np.random.default_rng(0)

  def images(count):
    y = rng.integers(0, 10, count).astype(np.uint8)
    x = np.zeros((count, 28, 28), np.uint8)
    for i, digit in enumerate(y):
      x[i, digit * 2 + 2 : digit * 2 + 8] = 255  # a bar whose height tells the class
    return x, y

  (train_x, train_y), (test_x, test_y) = images(120), images(30)
  monkeypatch.setattr(
    mtl.data.source, "mnist", lambda: {"train_x": train_x, "train_y": train_y, "test_x": test_x, "test_y": test_y}
  )

  def reviews(count):
    y = rng.integers(0, 2, count).astype(np.int32)
    return [" ".join(["a", ("bad", "good")[own], "film"][: 2 + i % 2]) for i, own in enumerate(y)], y

  found = {part: reviews(count) for part, count in (("train", 64), ("valid", 16), ("test", 16))}
  monkeypatch.setattr(mtl.data.source, "sentences", lambda name: found)


def test_labels_stay_with_their_sentences(made_data):
  splits = recipes.load("image_text").data(0)
  tokens, labels = (splits.train.sources["sentiment"].arrays[key] for key in ("text", "sentiment"))
  tokenizer = mtl.data.text.load_tokenizer(splits.about["tokenizer"])
  good = tokenizer.token_to_id("good")
  np.testing.assert_array_equal((tokens["tokens"] == good).any(axis=1), labels == 1)
  assert [len(splits.train.sources[name]) for name in ("digit", "sentiment")] == [110, 64]
  assert [len(splits.valid.sources[name]) for name in ("digit", "sentiment")] == [10, 16]


def test_three_fifths_of_the_parameters_of_two_networks():
  recipe = recipes.load("image_text")
  x = {
    "image": jax.ShapeDtypeStruct((2, 28, 28, 1), np.uint8),
    "text": {key: jax.ShapeDtypeStruct((2, 56), np.int32) for key in ("tokens", "segments")},
  }

  def size(*names):
    """With 2887 words, as SST-2 has."""
    key = {"digit": "image", "sentiment": "text"}
    net = recipe.network(names)
    params, _ = jax.eval_shape(net.init, jax.random.key(0), {key[name]: x[key[name]] for name in names})
    words = (2887 - 2) * 32 if "sentiment" in names else 0
    return words + sum(leaf.size for leaf in jax.tree.leaves(params))

  assert size("digit", "sentiment") <= 0.6 * (size("digit") + size("sentiment"))


@pytest.mark.slow
def test_commands(made_data, tmp_path, capsys):
  """Both tasks are learned, and predicted of files of their own kinds alone."""
  small = ["--recipe.width", "16", "--recipe.blocks", "3", "--recipe.embedding", "8", "--recipe.dropout", "0"]
  options = ["--steps", "80", "--batch-size", "32", "--learning-rate", "0.01"]
  weights = ["--balancer", "constant", "--balancer.weights", "1", "2"]
  run, output = tmp_path / "run", tmp_path / "out.jsonl"
  assert main(["train", "image_text", *small, *options, *weights, "--run-dir", str(run)]) == 0
  test = json.loads((run / "test.json").read_text())["test"]
  assert test["digit"]["accuracy"] > 0.5 and test["sentiment"]["accuracy"] > 0.9, test

  def predict(path, *words):
    capsys.readouterr()
    assert main(["predict", str(run), "--input", str(path), "--output", str(output), "--show", "9", *words]) == 0
    return capsys.readouterr().out, [json.loads(line) for line in output.read_text().splitlines()]

  (tmp_path / "texts").mkdir()
  (tmp_path / "texts" / "own.txt").write_text("A GOOD film!\n\nA bad film.\n", "utf-8")
  assert main(["predict", str(run), "--input", str(tmp_path / "texts")]) == 2
  assert "own.txt: line 2 is empty" in capsys.readouterr().err
  said, records = predict(tmp_path / "texts", "--skip-bad")
  assert "own.txt:1  a good film" in said and "  sentiment: positive" in said and "  sentiment: negative" in said
  assert [own["sentiment"]["class"] for own in records] == ["positive", "negative"]
  assert all(0.5 <= own["sentiment"]["probability"] <= 1 and {*own} == {"name", "sentiment"} for own in records)

  (tmp_path / "images").mkdir()
  digits = np.random.default_rng(0).permutation(10)
  for digit in digits:
    image = np.zeros((28, 28), np.uint8)
    image[digit * 2 + 2 : digit * 2 + 8] = 255
    Image.fromarray(image).save(tmp_path / "images" / f"{digit}.png")
  said, records = predict(tmp_path / "images")
  assert "0.png  digit: " in said and [own["name"] for own in records] == [f"{i}.png" for i in range(10)]
  assert np.mean([own["digit"]["class"] == i for i, own in enumerate(records)]) > 0.5
