"""Commands from the files of JointBERT, and from single files of the same."""

import gzip

import pytest

from mtl_jax import UserError
from mtl_jax.data import source

LINES = ["flight\tto new york please\tO B-to I-to O", "fare#flight\thow much\tO O"]


def single(folder, lines=LINES, name="atis", parts=("train", "dev", "test")):
  (folder / "atis_snips").mkdir(exist_ok=True)
  for part in parts:
    (folder / "atis_snips" / f"{name}_{part}.tsv.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))


def apart(folder, lines=LINES, name="snips"):
  for part in ("train", "dev", "test"):
    (folder / name / part).mkdir(parents=True, exist_ok=True)
    for column, file in enumerate(("label", "seq.in", "seq.out")):
      (folder / name / part / file).write_text("\n".join(line.split("\t")[column] for line in lines) + "\n")


def test_both_forms(tmp_path):
  single(tmp_path)
  apart(tmp_path)
  found = source.atis(tmp_path)
  assert found == source.snips(tmp_path) and list(found) == ["train", "valid", "test"]
  train = found["train"]
  assert isinstance(train, source.Commands) and train.intents == ["flight", "fare#flight"]
  assert train.words[0] == ["to", "new", "york", "please"] and train.tags[0] == ["O", "B-to", "I-to", "O"]


@pytest.mark.parametrize(
  ("lines", "line"),
  [
    (
      [LINES[0], "flight\tto new york\tO B-to"],
      r"atis_train.tsv.gz, line 2: intent 'flight', 3 words and 2 tags, expec",
    ),
    (
      [LINES[0], "flight\t\t"],
      "line 2: intent 'flight', 0 words and 0 tags, expected an intent and a tag for each word",
    ),
    ([LINES[0], "\tto\tO"], "line 2: intent '', 1 words"),
    ([LINES[0], "flight\tto"], "line 2: 2 columns, expected intent, words and tags"),
  ],
)
def test_lines_that_do_not_match(tmp_path, lines, line):
  single(tmp_path, lines)
  with pytest.raises(UserError, match=line):
    source.atis(tmp_path)


def test_columns_that_do_not_match(tmp_path):
  apart(tmp_path)
  with (tmp_path / "snips" / "dev" / "label").open("a") as file:
    file.write("flight\n")
  with pytest.raises(UserError, match="dev: label 3, seq.in 2, seq.out 2 lines, expected as many in each"):
    source.snips(tmp_path)
  (tmp_path / "snips" / "test" / "seq.out").write_text("O B-to O\n\n")
  (tmp_path / "snips" / "dev" / "label").write_text("a\nb\n")
  with pytest.raises(UserError, match="seq.out, line 1: intent 'flight', 4 words and 3 tags"):
    source.snips(tmp_path)


def test_files_that_are_not_there_or_damaged(tmp_path, monkeypatch):
  with pytest.raises(UserError, match=r"ATIS is not at .*atis/train/label: get the folder atis from https"):
    source.atis(tmp_path)
  single(tmp_path)
  path = tmp_path / "atis_snips" / "atis_dev.tsv.gz"
  for content in (b"no gzip", path.read_bytes()[:-20], gzip.compress("flight\tfür\tO".encode("latin-1"))):
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*atis_dev.tsv.gz: .* once more") as error:
      source.atis(tmp_path)
    assert "\n" not in str(error.value)
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)
  with pytest.raises(UserError, match=r"SNIPS is not here: get the folder snips from .* as D/snips/train/seq.in"):
    source.snips()


def test_the_real_ones(real_data):
  folder = real_data("atis_snips", "atis_train.tsv.gz")
  counts = [{part: len(own.words) for part, own in load(folder).items()} for load in (source.atis, source.snips)]
  assert counts == [{"train": 4478, "valid": 500, "test": 893}, {"train": 13084, "valid": 700, "test": 700}]
