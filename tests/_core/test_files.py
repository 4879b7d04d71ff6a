"""Directories that commands write to: one command at a time, and one clear line where that cannot be."""

import importlib
import json

import pytest

import mtl_jax as mtl
from mtl_jax._core.files import LOCK, locked
from mtl_jax.cli.main import main


def test_two_comparisons_in_one_directory(tmp_path, capsys):
  words = ["compare", "digits", "--balancers", "equal", "--steps", "1", "--out", str(tmp_path / "out")]
  with locked(tmp_path / "out"):  # by the first one
    assert main(words) == 2
  lines = capsys.readouterr().err.strip().splitlines()
  assert len(lines) == 1 and "out is in use by another process: wait until that has ended" in lines[0]
  assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK]
  (tmp_path / "out" / "comparison.json").write_text("{}")
  assert main(words) == 2
  assert "is not empty: choose another directory" in capsys.readouterr().err


def test_the_first_to_lock_a_directory_checks_it_again(tmp_path, monkeypatch):
  """Another comparison may have ended between the check and the lock."""
  compare = importlib.import_module("mtl_jax.experiment.compare")  # the function has its name

  def locked_late(directory):
    directory.mkdir()
    (directory / "comparison.json").write_text("{}")
    return locked(directory)

  monkeypatch.setattr(compare, "locked", locked_late)
  assert main(["compare", "digits", "--balancers", "equal", "--steps", "1", "--out", str(tmp_path / "out")]) == 2
  assert (tmp_path / "out" / "comparison.json").read_text() == "{}"


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["compare", "digits", "--out", "{tmp}/file/x"], "cannot use {tmp}/file/x: Not a directory."),
    (["compare", "digits", "--out", "{tmp}/file"], "{tmp}/file is a file: choose a directory."),
    (["compare", "digits", "--out", "/proc/x"], "cannot use /proc/x: No such file or directory."),
    (["evaluate", "{tmp}/" + "x" * 300], "File name too long."),
    (["train", "digits", "--resume", "--run-dir", "{tmp}/" + "x" * 300], "File name too long."),
    (["evaluate", "{tmp}/list"], "config.json holds list, expected an object"),
    (["evaluate", "{tmp}/bytes"], "config.json is not JSON"),
  ],
)
def test_places_that_cannot_be_used_are_one_line(tmp_path, capsys, words, message):
  (tmp_path / "file").write_text("mine")
  for name, content in {"list": json.dumps([1]).encode(), "bytes": b"\xff\x00"}.items():
    (tmp_path / name).mkdir()
    (tmp_path / name / "config.json").write_bytes(content)
  assert main([word.format(tmp=tmp_path) for word in words]) == 2
  lines = capsys.readouterr().err.strip().splitlines()
  assert len(lines) == 1 and message.format(tmp=tmp_path) in lines[0]


def test_errors_of_files_that_no_part_has_foreseen(monkeypatch, capsys):
  def fail(error):
    def list_recipes():
      raise error

    monkeypatch.setattr("mtl_jax.recipes.names", list_recipes)

  fail(OSError(28, "No space left on device", "/disk/file"))
  assert main(["recipes"]) == 2
  assert capsys.readouterr().err == "mtl-jax: cannot use /disk/file: No space left on device.\n"
  fail(OSError("of no file"))
  with pytest.raises(OSError, match="of no file"):
    main(["recipes"])
  fail(KeyboardInterrupt())
  assert main(["recipes"]) == 130
  assert capsys.readouterr().err == "mtl-jax: interrupted; resume a run with --resume.\n"


def test_a_lock_is_given_back(tmp_path):
  for _ in range(2):
    with locked(tmp_path), pytest.raises(mtl.UserError, match="in use by another process"), locked(tmp_path):
      pass
