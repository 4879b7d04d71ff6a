"""Recipes of sentences on made data: labels, users' text read, and what is told of it."""

import gzip
import json
import lzma

import numpy as np
import pytest

from mtl_jax import UserError, data, recipes
from mtl_jax.cli.main import main
from mtl_jax.recipes import _commands, _grammar, _words

ATIS = ["flight\tfly from boston to new york\tO O B-from O B-to I-to", "fare\thow much is it\tO O O O"]
UNSEEN = ["meal\tdinner to boston now\tB-meal O B-to O"]
TREE = [
  "The\tDET\tDT\tDefinite=Def\t2\tdet",
  "dog\tNOUN\tNN\tNumber=Sing\t3\tnsubj",
  "barks\tVERB\tVBZ\t_\t0\troot",
  ".\tPUNCT\t.\t_\t3\tpunct",
]
GERUND = ["Barking\tVERB\tVBG\tVerbForm=Ger\t0\troot"]
RECIPES = {"joint_nlu": ("intent", "slots"), "parse": ("pos", "morphology", "dependencies")}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  path = tmp_path_factory.mktemp("sentences")
  for folder in ("atis_snips", "ud_ewt"):
    (path / folder).mkdir()
  for part in ("train", "dev", "test"):
    lines = ATIS * 8 if part == "train" else ATIS + UNSEEN
    (path / "atis_snips" / f"atis_{part}.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    sentences = [TREE] * 24 if part == "train" else [TREE, GERUND]
    text = "".join("# a\n" + "\n".join(one) + "\n\n" for one in sentences)
    (path / "ud_ewt" / f"{part}.tsv.xz").write_bytes(lzma.compress(text.encode()))
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("MTL_JAX_DATA", str(path))
    yield path


@pytest.mark.parametrize("name", RECIPES)
def test_data_serve_the_tasks(place, name):
  recipe = recipes.load(name)
  splits = recipe.data(0)
  adapted = recipe.adapt(data.Description(data.describe(splits.train).arrays, json.loads(json.dumps(splits.about))))
  assert tuple(adapted.tasks) == tuple(recipe.tasks) == RECIPES[name]
  for arrays in splits[:3]:
    data.check(arrays, adapted.tasks, adapted.inputs)
    assert set(arrays["x"]) == {"tokens", "characters", "segments"}


def test_what_is_in_no_training_sentence_is_a_class_of_its_own(place):
  splits = recipes.load("joint_nlu").data(0)
  tags, intents = splits.about["tags"], splits.about["intents"]
  assert tags == ["O", "B-[UNK]", "I-[UNK]", "B-from", "B-to", "I-to"] and intents == ["[UNK]", "fare", "flight"]
  test = splits.test
  assert sorted(test["intent"][test["intent"] >= 0]) == [0, 1, 2]
  row, slot = np.argwhere(test["intent"] == 0)[0]
  own = test["slots"][row][test["x"]["segments"][row] == slot + 1]
  assert [tags[i] for i in own] == ["B-[UNK]", "O", "B-to", "O"]
  splits = recipes.load("parse").data(0)
  there = splits.test["x"]["segments"] > 0
  assert (splits.test["morphology"][there] == 0).sum() == 1 and (splits.test["pos"][there] > 0).all()
  assert len(splits.train["x"]["tokens"]) == 1  # 24 sentences of four words in a row of 96


def test_long_words_are_spelled_by_both_ends():
  about = _words.known([["abc", "abc"], ["cba"]])
  assert about["alphabet"] == "abc" and about["words"] == 3
  short, long, other = _words.tokens(about, [["cab"], ["a" * 9 + "b" * 9], ["é"]])["characters"]
  assert short[0].tolist() == [4, 2, 3] + [0] * 13
  assert long[0].tolist() == [2] * 8 + [3] * 8 and other[0, 0] == 1


@pytest.fixture(scope="module", params=RECIPES)
def run(place, request):
  path = place / request.param
  options = ["--recipe.width", "8", "--steps", "2", "--batch-size", "1"]
  assert main(["train", request.param, *options, "--run-dir", str(path)]) == 0
  return request.param, path


def predict(run, place, content, *options):
  (place / "in.txt").write_bytes(content)
  return main(["predict", str(run), "--input", str(place / "in.txt"), "--output", str(place / "out.jsonl"), *options])


@pytest.mark.slow
def test_text_of_users(place, run, capsys):
  name, path = run
  assert predict(path, place, b"Fly to Boston, please.\nHow much is it now to fly?\n", "--show", "1") == 0
  told = capsys.readouterr().out
  assert "in.txt:1" in told and "in.txt:2" not in told
  lines = [json.loads(line) for line in (place / "out.jsonl").read_text().splitlines()]
  assert [line["name"] for line in lines] == ["in.txt:1", "in.txt:2"] and lines[0]["text"] == "Fly to Boston, please."
  if name == "joint_nlu":
    assert lines[0]["words"] == ["fly", "to", "boston", "please"]
    assert [len(line["tags"]) for line in lines] == [4, 7]
    assert lines[0]["intent"] in ("fare", "flight", "[UNK]") and 0 < lines[0]["probability"] <= 1
  else:
    assert lines[1]["words"] == ["How", "much", "is", "it", "now", "to", "fly", "?"]
    assert [len(line[task]) for line in lines for task in RECIPES[name]] == [6, 6, 6, 8, 8, 8]
    heads = [one["head"] for one in lines[1]["dependencies"]]
    assert heads.count(0) == 1 and all(head != i for i, head in enumerate(heads, start=1))


@pytest.mark.slow
def test_lines_that_are_no_sentences(place, run, capsys):
  _, path = run
  long = b"word " * 97
  for content, line in (
    (b"fly\n\nto boston\n", "in.txt: line 2 is empty: expected a sentence"),
    (b"fly\nto z\xfcrich\n", "in.txt: line 2 is not UTF-8: store the file in that encoding"),
    (b"fly\nto\n" + long, "in.txt:3: 97 words, expected 1 to "),
    (b"\n \n", "there is no text in it"),
  ):
    assert predict(path, place, content) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
  assert predict(path, place, b"fly\n\nz\xfcrich\n" + long + b"\nto boston", "--skip-bad") == 0
  told = capsys.readouterr()
  assert "3 of 5 left out" in told.out and told.err.count("\n") == 3
  names = [json.loads(line)["name"] for line in (place / "out.jsonl").read_text().splitlines()]
  assert names == ["in.txt:1", "in.txt:5"]
  (place / "in.txt").unlink()
  assert main(["predict", str(path), "--input", str(place / "in.txt")]) == 2


def test_slots_in_brackets():
  record = {
    **{"name": "a.txt:1", "intent": "flight", "probability": 0.987},
    **{"words": ["to", "new", "york", "today", "now"], "tags": ["O", "B-to", "I-to", "I-day", "B-day"]},
  }
  assert _commands.tell(record) == "a.txt:1  flight (0.99)\n  to [to: new york] [day: today] [day: now]"
  assert list(_commands._spans(record["words"], record["tags"])) == [
    {"slot": "to", "text": "new york"}, {"slot": "day", "text": "today"}, {"slot": "day", "text": "now"},
  ]  # fmt: skip


def test_trees_a_word_per_line():
  record = {
    **{"name": "a.txt:1", "words": ["Dogs", "bark"], "pos": ["NOUN", "VERB"], "morphology": ["Number=Plur", "_"]},
    "dependencies": [{"head": 2, "relation": "nsubj"}, {"head": 0, "relation": "root"}],
  }
  lines = _grammar.tell(record).splitlines()
  assert lines == [
    "a.txt:1",
    "  1  Dogs  NOUN  Number=Plur  nsubj  2 bark",
    "  2  bark  VERB  _            root   0",
  ]


@pytest.mark.parametrize(
  ("line", "words"),
  [
    ("I don't know, it's Anna\u2019s.", ["I", "do", "n't", "know", ",", "it", "'s", "Anna", "'s", "."]),
    ("At 10:30 the U.S. paid $3.5...", ["At", "10:30", "the", "U.S.", "paid", "$", "3.5", "..."]),
    ("Can't they? (No!)", ["Ca", "n't", "they", "?", "(", "No", "!", ")"]),
  ],
)
def test_words_of_a_line(line, words):
  assert _grammar.split(line) == words


def test_text_has_no_labels(place, run):
  name, path = run
  (place / "in.txt").write_text("fly\n")
  recipe = recipes.load(name)
  with pytest.raises(UserError, match="text has no labels: to test a model, put both in an .npz file"):
    recipe.files.read(place / "in.txt", ["intent"])
