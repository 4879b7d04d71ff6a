"""Sets of sentences from files of their layout, the real ones where they are, and what is said of damaged files."""

import gzip

import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.data.source.sentences import CLASSES


@pytest.fixture
def write(tmp_path):
  def written(**files):
    (tmp_path / "sentence_sets").mkdir(exist_ok=True)
    for name, text in files.items():
      (tmp_path / "sentence_sets" / f"{name.replace('_', '.')}.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path

  return written


def test_official_parts(write):
  place = write(
    stsa_binary_train="1 a fine film .\n0 no \x85 film\n1 \n", stsa_binary_dev="0 é", stsa_binary_test="1 b\n"
  )
  found = mtl.data.source.sentences("sst2", place)
  assert found["train"][0] == ["a fine film .", "no \x85 film"]  # neither cut at \x85 nor with the line without a text
  assert found["train"][1].tolist() == [1, 0] and found["train"][1].dtype == np.int32
  assert found["valid"][0] == ["é"] and found["test"][0] == ["b"]


def test_sets_without_parts_are_dealt_out_with_equal_sentences_together(write):
  texts = [f"sentence {i % 70}" for i in range(100)]
  place = write(mpqa_all="".join(f"{i % 2} {text}\n" for i, text in enumerate(texts)))
  first, second = (mtl.data.source.sentences("mpqa", place) for _ in range(2))
  assert {part: len(own) for part, (own, _) in first.items()} == pytest.approx(
    {"train": 80, "valid": 10, "test": 10}, abs=1
  )
  each = [set(own) for own, _ in first.values()]
  assert len(set.union(*each)) == sum(map(len, each)) == 70
  assert [own[0] for own in first.values()] == [own[0] for own in second.values()]


def test_of_questions_a_tenth_is_to_tune_on(write):
  place = write(TREC_train_all="".join(f"{i % 6} q {i}\n" for i in range(40)), TREC_test_all="5 how far ?")
  found = mtl.data.source.sentences("trec", place)
  assert [len(own) for own, _ in found.values()] == [36, 4, 1]


@pytest.mark.parametrize(
  ("text", "told"),
  [
    ("2 a third class", "line 1 begins with '2', expected a label from 0 to 1"),
    ("0 good\nno label", "line 2 begins with 'no', expected a label"),
    ("1 ", "holds no sentences"),
  ],
)
def test_lines_that_are_none(write, text, told):
  with pytest.raises(mtl.UserError, match=told):
    mtl.data.source.sentences("cr", write(custrev_all=text))


def test_no_place_no_file_no_such_set_and_damage(tmp_path, monkeypatch, write):
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)
  with pytest.raises(mtl.UserError, match="set MTL_JAX_DATA to the directory D"):
    mtl.data.source.sentences("sst2")
  with pytest.raises(mtl.UserError, match="sentences are not at .*subj.all.gz: get the file from https"):
    mtl.data.source.sentences("subj", tmp_path)
  with pytest.raises(mtl.UserError, match="'sst3'.*did you mean 'sst2'"):
    mtl.data.source.sentences("sst3", tmp_path)
  place = write(subj_all="0 a")
  (place / "sentence_sets" / "subj.all.gz").write_bytes(b"no gzip")
  with pytest.raises(mtl.UserError, match="cannot read .*subj.all.gz, expected gzipped UTF-8") as error:
    mtl.data.source.sentences("subj", place)
  assert "\n" not in str(error.value)


SIZES = {
  "sst2": (6920, 872, 1821), "trec": (4907, 545, 500), "subj": (8000, 1000, 1000),
  "mr": (8530, 1066, 1066), "cr": (3017, 377, 377), "mpqa": (8482, 1061, 1060),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_the_real_sets(name, real_data):
  found = mtl.data.source.sentences(name, real_data("sentence_sets", "mpqa.all.gz"))
  assert tuple(len(own) for own, _ in found.values()) == SIZES[name]
  for texts, labels in found.values():
    assert len(texts) == len(labels) and set(labels.tolist()) == set(range(len(CLASSES[name])))
