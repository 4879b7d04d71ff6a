"""The treebank from its own files, and from compressed ones of six columns."""

import lzma

import pytest

from mtl_jax import UserError
from mtl_jax.data import source

CONLLU = """# sent_id = 1
# text = The dogs don't.
1\tThe\tthe\tDET\tDT\tDefinite=Def\t2\tdet\t_\t_
2\tdogs\tdog\tNOUN\tNNS\tNumber=Plur\t0\troot\t_\t_
3-4\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
3\tdo\tdo\tAUX\tVBP\t_\t2\taux\t_\t_
4\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
4.1\tbark\tbark\tVERB\tVB\t_\t_\t_\t_\t_

# sent_id = 2
1\t#\t#\tSYM\tNFP\t_\t0\troot\t_\t_
"""
SIX = "\n".join(
  "\t".join(row[i] for i in (1, 3, 4, 5, 6, 7)) if len(row := line.split("\t")) > 1 else line
  for line in CONLLU.split("\n")
  if not line.startswith(("3-4", "4.1"))
)


def conllu(folder, text=CONLLU):
  (folder / "ud_ewt").mkdir(exist_ok=True)
  for part in ("train", "dev", "test"):
    (folder / "ud_ewt" / f"en_ewt-ud-{part}.conllu").write_text(text)


def test_both_forms(tmp_path):
  conllu(tmp_path)
  found = source.ud_ewt(tmp_path)
  train = found["train"]
  assert list(found) == ["train", "valid", "test"] and isinstance(train, source.Treebank)
  assert train.words == [["The", "dogs", "do", "n't"], ["#"]] and train.heads == [[2, 0, 2, 3], [0]]
  assert train.pos[0] == ["DET", "NOUN", "AUX", "PART"] and train.features[0] == [
    "Definite=Def",
    "Number=Plur",
    "_",
    "_",
  ]
  assert train.relations == [["det", "root", "aux", "advmod"], ["root"]]
  for part in ("train", "dev", "test"):
    (tmp_path / "ud_ewt" / f"en_ewt-ud-{part}.conllu").unlink()
    (tmp_path / "ud_ewt" / f"{part}.tsv.xz").write_bytes(lzma.compress(SIX.encode()))
  assert source.ud_ewt(tmp_path) == found


@pytest.mark.parametrize(
  ("text", "line"),
  [
    (
      CONLLU.replace("\t2\tdet", "\t_\tdet"),
      "en_ewt-ud-train.conllu, line 3: the head is '_', expected the number of a",
    ),
    (CONLLU.replace("\tAUX\t", "\t"), "line 6: 9 columns, expected 6, or 10 as in CoNLL-U"),
    ("# nothing\n", "holds no sentences"),
  ],
)
def test_lines_that_are_none(tmp_path, text, line):
  conllu(tmp_path, text)
  with pytest.raises(UserError, match=line):
    source.ud_ewt(tmp_path)


def test_files_that_are_not_there_or_damaged(tmp_path, monkeypatch):
  with pytest.raises(UserError, match=r"UD English EWT is not at .*en_ewt-ud-train.conllu: get it from https"):
    source.ud_ewt(tmp_path)
  conllu(tmp_path)
  (tmp_path / "ud_ewt" / "train.tsv.xz").write_bytes(lzma.compress(SIX.encode())[:-30])
  with pytest.raises(UserError, match=r"cannot read .*train.tsv.xz: .* once more"):
    source.ud_ewt(tmp_path)
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)
  with pytest.raises(UserError, match="UD English EWT is not here: get en_ewt-ud-train.conllu, -dev and -test from"):
    source.ud_ewt()


def test_the_real_one(real_data):
  found = source.ud_ewt(real_data("ud_ewt", "train.tsv.xz"))
  assert {part: len(own.words) for part, own in found.items()} == {"train": 12544, "valid": 2001, "test": 2077}
  assert all(heads.count(0) == 1 for own in found.values() for heads in own.heads)
