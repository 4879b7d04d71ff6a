"""Sentences: sets taken apart, rows of them, every command on a few sentences, and users' own lines of text."""

import json

import jax
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import UserError, data
from mtl_jax._core.paths import by_path
from mtl_jax._core.shapes import shapes
from mtl_jax.cli.main import main
from mtl_jax.data.source.sentences import CLASSES
from mtl_jax.recipes import _sentences

pytest.importorskip("tokenizers")
X = {name: jax.ShapeDtypeStruct((2, _sentences.LENGTH), np.int32) for name in ("tokens", "segments")}
WORDS = {"good": 1, "fine": 1, "bad": 0, "poor": 0}


def made(name, seed=0):
  """Sentences of which one word tells the label."""
  rng = np.random.default_rng(seed)

  def part(count):
    words, middle = rng.choice(list(WORDS), count), rng.choice(["film", "book", "day", "meal"], (count, 5))
    texts = [f"{' '.join(own)} of {name} {word} ." for own, word in zip(middle, words, strict=True)]
    return texts, np.array([WORDS[word] for word in words], np.int32)

  return {"train": part(60), "valid": part(20), "test": part(20)}


@pytest.fixture
def tiny(monkeypatch):
  monkeypatch.setattr(data.source, "sentences", made)


def test_sentences_of_one_set_in_another_are_not_trained_on():
  long = "a film that has nothing in it that anyone would ever want to see again"
  sets = {
    "a": {
      "train": ([f"{long.title()} !", "good .", "bad .", f"so {long[5:]}", "new"], np.arange(5)),
      "valid": (["good", "fine"], np.arange(2)),
      "test": (["the end"], np.arange(1)),
    },
    "b": {
      "train": (["x -lrb- y -rrb-", "z"], np.arange(2)),
      "valid": (["The  end .", "w"], np.arange(2)),
      "test": ([long, "x ( y )"], np.arange(2)),
    },
  }
  found = _sentences.apart(sets)
  assert {name: {part: own[0] for part, own in parts.items()} for name, parts in found.items()} == {
    "a": {"train": ["bad .", "new"], "valid": ["good", "fine"], "test": ["the end"]},
    "b": {"train": ["z"], "valid": ["w"], "test": [long, "x ( y )"]},
  }
  assert found["a"]["train"][1].tolist() == [2, 4]


@pytest.mark.slow
def test_real_sets_are_apart_and_rows_hold_hardly_any_padding(real_data):
  real_data("sentence_sets", "subj.all.gz")
  splits = mtl.recipes.load("sentences", pretrained=False).data(0)
  for part in splits[:3]:
    tokens = [np.asarray(source.arrays["x"]["segments"]) > 0 for source in part.sources.values()]
    assert np.mean(np.concatenate([rows.ravel() for rows in tokens])) > 0.95
  assert sum((source.arrays["y"] >= 0).sum() for source in splits.test.sources.values()) == 5824


@pytest.mark.slow
def test_commands(tiny, tmp_path, capsys):
  options = ["sentences", "--recipe.no-pretrained", "--steps", "30", "--batch-size", "12", "--learning-rate", "0.01"]
  assert main(["train", *options, "--run-dir", str(tmp_path / "run")]) == 0
  found = json.loads((tmp_path / "run" / "test.json").read_text())["test"]
  assert set(found) == set(CLASSES) and found["sst2"]["accuracy"] > 0.9
  lines = tmp_path / "lines.txt"
  lines.write_text("what a good film .\na bad, bad day of it\n", "utf-8")
  output = tmp_path / "out.jsonl"
  predict = ["predict", str(tmp_path / "run"), "--input", str(lines), "--output", str(output)]
  capsys.readouterr()
  assert main([*predict, "--show", "2"]) == 0
  shown = capsys.readouterr().out
  assert "lines.txt:1  [UNK]" in shown and shown.count("  sst2: ") == 2 and "  trec: " in shown
  first, second = map(json.loads, output.read_text().splitlines())
  assert first["name"] == "lines.txt:1" and set(first) == {"name", *CLASSES}
  assert (first["sst2"]["class"], second["sst2"]["class"]) == ("positive", "negative")

  long = "film " * 200
  for content, line in (
    (b"good\n\nbad", "lines.txt: line 2 is empty: expected a sentence."),
    (b"good\n\xff\xfe", "lines.txt: line 2 is not UTF-8: store the file in that encoding."),
    (f"good\n{long}\n".encode(), "lines.txt:2 has 200 tokens, expected at most 128: divide it into sentences."),
    (b"  \n", "there is no text in it"),
  ):
    lines.write_bytes(content)
    assert main(predict) == 2
    assert line in capsys.readouterr().err
  lines.write_text(f"good\n\n{long}\nbad\n")
  assert main([*predict, "--skip-bad"]) == 0
  assert "2 of 4 left out" in capsys.readouterr().out
  assert [json.loads(own)["name"] for own in output.read_text().splitlines()] == ["lines.txt:1", "lines.txt:4"]
  lines.write_text(long)
  assert main([*predict, "--skip-bad"]) == 2
  assert "none of 1 lines can be read" in capsys.readouterr().err


@pytest.mark.parametrize("tuned", [0, 2, 6])
def test_lower_layers_of_a_pretrained_encoder_stay(tuned):
  recipe = mtl.recipes.load("sentences", tuned=tuned)
  params, state = shapes(recipe.network(["sst2", "trec"]).init, jax.random.key(0), X)
  trained = [path for path in by_path(params["shared"]) if "layer_" in path]
  assert len({path.split("layer_")[1][0] for path in trained}) == tuned
  assert params["task"]["trec"]["stage_1"]["Dense_0"]["kernel"].shape == (384, 6)


@pytest.mark.slow
def test_tasks_may_have_their_own_last_layers_which_begin_as_those_of_the_encoder():
  tokens = jax.random.randint(jax.random.key(1), (2, _sentences.LENGTH), 5, 30000)
  x = {"tokens": tokens, "segments": jax.numpy.repeat(jax.numpy.array([1, 2, 3, 0]), 32)[None].repeat(2, axis=0)}
  logits = []
  for own in (0, 2):
    net = mtl.recipes.load("sentences", tuned=3, own=own).network(["sst2", "trec"])
    params, state = jax.jit(net.init)(jax.random.key(0), x)
    last = params["task"]["trec"][f"stage_{own + 1}"]["Dense_0"]
    last["kernel"] = jax.numpy.ones_like(last["kernel"]) * jax.numpy.arange(6.0)[None]
    logits.append(jax.jit(net.apply)(params, state, x)[0]["trec"])
    layers = [path.split("layer_")[1] for path in by_path(params["shared"]) if "layer_" in path]
    assert len({path[0] for path in layers}) == 3 - own
    assert sum(leaf.size for leaf in jax.tree.leaves(params["task"]["sst2"])) > own * 1_700_000
  assert np.any(logits[0]) and np.all(np.isfinite(logits[0]))
  np.testing.assert_allclose(*logits, atol=1e-4)


@pytest.mark.parametrize(("arch", "part"), [("lora", "lora"), ("adapters", "adapter"), ("cross_stitch", "")])
def test_other_architectures_take_it(arch, part):
  """Parts of each task's own on the layers that are trained."""
  recipe = mtl.recipes.load("sentences", tuned=1)
  net = recipe.network(["sst2", "trec"], getattr(mtl.arch, arch))
  params, state = shapes(net.init, jax.random.key(0), X)
  y, _ = jax.eval_shape(net.apply, params, state, X)
  assert {task: leaf.shape for task, leaf in y.items()} == {"sst2": (2, 24, 2), "trec": (2, 24, 6)}
  assert not part or part in params["task"]["sst2"]


def test_the_best_model_is_the_most_accurate_one_however_sure_it_is():
  early, late = ({task: {"accuracy": a, "loss": loss} for task in CLASSES} for a, loss in ((0.8, 0.2), (0.9, 0.3)))
  score = mtl.recipes.load("sentences", pretrained=False).score
  assert score(late) < score(early)


def test_layers_that_there_are_not():
  with pytest.raises(UserError, match="tuned is 7, expected from 0 to 6"):
    mtl.recipes.load("sentences", tuned=7)
  for options in ({"tuned": 2, "own": 3}, {"pretrained": False, "own": 1}, {"own": -1}):
    with pytest.raises(UserError, match="own is -?[0-9], expected from 0 to [0-9], the layers that are trained"):
      mtl.recipes.load("sentences", **options)
