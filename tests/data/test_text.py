"""Packed sentences are all there, each in one place; tokenizers know their words; files are read line by line."""

import numpy as np
import pytest

from mtl_jax import UserError
from mtl_jax.data import text

pytest.importorskip("tokenizers")


@pytest.mark.parametrize("seed", range(5))
def test_every_sentence_is_in_one_place(seed):
  rng = np.random.default_rng(seed)
  tokens = [rng.integers(1, 99, rng.integers(1, 13)).astype(np.int32) for _ in range(60)]
  tags = [one % 7 for one in tokens]
  kinds = rng.integers(0, 5, 60).astype(np.int32)
  arrays, rows, slots, begins = text.pack(
    {"tokens": tokens, "tags": tags}, {"kind": kinds}, length=12, most=4, fill={"tags": -1}
  )
  segments = arrays["segments"]
  assert (segments > 0).sum() == sum(map(len, tokens)) and segments.max() <= 4
  for s, (row, slot, begin) in enumerate(zip(rows, slots, begins, strict=True)):
    own = np.flatnonzero(segments[row] == slot + 1)
    assert own.tolist() == list(range(begin, begin + len(tokens[s])))
    np.testing.assert_array_equal(arrays["tokens"][row, own], tokens[s])
    np.testing.assert_array_equal(arrays["tags"][row, own], tags[s])
    assert arrays["kind"][row, slot] == kinds[s]
  empty = segments == 0
  assert (arrays["tokens"][empty] == 0).all() and (arrays["tags"][empty] == -1).all()
  assert (arrays["kind"] >= 0).sum() == 60


def test_rows_are_nearly_full():
  rng = np.random.default_rng(0)
  lengths = np.clip(rng.gamma(3.0, 4.0, 2000), 1, 60).astype(int)
  segments = text.pack({"tokens": [np.ones(n, np.int32) for n in lengths]}, length=64, most=32).arrays["segments"]
  assert (segments == 0).mean() < 0.02


def test_one_sentence_per_row_keeps_their_order():
  packed = text.pack({"tokens": [np.ones(1, int), np.ones(3, int)]}, {"kind": [4, 5]}, length=3, most=1)
  assert sorted(packed.rows) == [0, 1] and packed.arrays["kind"][packed.rows, 0].tolist() == [4, 5]


def test_nothing_to_pack():
  assert text.pack({"tokens": []}, {"kind": np.zeros(0, int)}, length=3, most=2).arrays["tokens"].shape == (0, 3)


@pytest.mark.parametrize(
  ("tokens", "sentences", "expected"),
  [
    ({}, {}, "there are no tokens"),
    ({"a": [[1]]}, {"b": [1, 2]}, "'a' of 1, 'b' of 2"),
    ({"a": [[1], [1, 2]], "b": [[1], [1]]}, {}, "sentence 1 has 2 of 'a', but 1 of 'b'"),
    ({"a": [[1], []]}, {}, "sentence 1 has 0 tokens, expected 1 to 3"),
    ({"a": [[1, 2, 3, 4]]}, {}, "sentence 0 has 4 tokens"),
  ],
)
def test_what_cannot_be_packed(tokens, sentences, expected):
  with pytest.raises(UserError, match=expected):
    text.pack({key: [np.asarray(one, int) for one in own] for key, own in tokens.items()}, sentences, length=3, most=2)


def test_words():
  tokenizer = text.words([["Play", "a song"], ["play", "é!"], ["a song"]])
  known = text.load_tokenizer(tokenizer)
  assert known.token_to_id("[PAD]") == 0 and known.token_to_id("[UNK]") == 1 and known.get_vocab_size() == 4
  (ids,) = text.encode(tokenizer, [["PLAY", "a song", "é!"]])
  assert ids.tolist() == [known.token_to_id("play"), known.token_to_id("a song"), 1]
  (cased,) = text.encode(text.words([["Play", "play"]], least=1, lowercase=False), [["Play"]])
  assert cased.tolist() != text.encode(tokenizer, [["zzz"]])[0].tolist()
  assert text.encode(tokenizer, []) == []


def test_no_tokenizer():
  with pytest.raises(UserError, match="no sentences"):
    text.words([])
  with pytest.raises(UserError, match="not the JSON of a tokenizer"):
    text.load_tokenizer("{}")


def test_lines(tmp_path):
  file = tmp_path / "a.txt"
  file.write_bytes("\ufeffone\r\n  two\r\n\r\n".encode())
  assert text.read_lines(file) == (["one", "two"], ["a.txt:1", "a.txt:2"])
  (tmp_path / "b").mkdir()
  (tmp_path / "b" / "c.txt").write_text("three")
  assert text.read_lines(tmp_path)[1] == ["a.txt:1", "a.txt:2", "b/c.txt:1"]
  file.write_text("one\n\ntwo\n")
  with pytest.raises(UserError, match=r"a\.txt: line 2 is empty"):
    text.read_lines(file)
  told = []
  assert text.read_lines(file, told.append)[1] == ["a.txt:1", "a.txt:3"]
  assert len(told) == 1 and "line 2" in told[0]
  file.write_bytes(b"one\ntw\xff\n")
  with pytest.raises(UserError, match=r"a\.txt: line 2 is not UTF-8"):
    text.read_lines(file)
  file.write_text("\n\n")
  with pytest.raises(UserError, match="no text in it"):
    text.read_lines(file)
  with pytest.raises(UserError, match=r"none\.txt"):
    text.read_lines(tmp_path / "none.txt")
