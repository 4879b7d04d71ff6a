"""Speech and language on made sounds: strings of digits, what each task reads, and wav files of a user's."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import wavfile

import mtl_jax as mtl
from mtl_jax import recipes
from mtl_jax.cli.main import main
from mtl_jax.data.source.spoken_digits import SPEAKERS, SpokenDigits
from mtl_jax.recipes import _spoken

pytest.importorskip("scipy")


def clips(count=24):
  rng = np.random.default_rng(0)
  waves = [(rng.normal(size=rng.integers(1200, 5000)) * 2000).astype(np.int16) for _ in range(count)]
  return SpokenDigits(waves, np.arange(count, dtype=np.int32) % 10, np.arange(count, dtype=np.int32) % 6)


@pytest.fixture
def made_data(monkeypatch):
  """The two sources without their files."""
  monkeypatch.setattr(mtl.data.source, "spoken_digits", lambda: dict.fromkeys(("train", "valid", "test"), clips()))
  texts = ["a fine film , it 's good .", "no !", "x" * 99] * 4
  found = dict.fromkeys(("train", "valid", "test"), (texts, np.zeros(len(texts), np.int32)))
  monkeypatch.setattr(mtl.data.source, "sentences", lambda name: found)


def test_strings_are_clips_of_one_speaker_with_pauses():
  given = clips()
  found = _spoken.strings(given, 30, np.random.default_rng(1))
  wave, length = found["sound"]["wave"], found["sound"]["length"]
  assert len(wave) > 40 and wave.shape[1] == 19200 and (length <= 19200).all()
  said = ["".join(_spoken.ALPHABET[s] for s in own if s >= 0) for own in found["words"]]
  assert said[:3] == ["zero", "one", "two"] and {len(text.split()) for text in said} == {1, 2, 3}
  for i, (text, speaker) in enumerate(zip(said, found["speaker"], strict=True)):
    numbers = [_spoken.WORDS.index(word) for word in text.split()]
    mine = [given.waves[row] for row in range(24) if given.speaker[row] == speaker and given.digit[row] == numbers[0]]
    start = np.flatnonzero(wave[i])[0]
    assert start >= 200 and any((wave[i, start : start + 50] == one[one.nonzero()[0][0] :][:50]).all() for one in mine)
    assert (wave[i, length[i] :] == 0).all()


def test_texts(made_data):
  found = _spoken.texts("train", 2, np.random.default_rng(0))["text"]
  assert found.shape == (10, 82) and found.min() == 0 and (found[:, 0] == 1).all()
  spelled = ["".join(("\n" + _spoken.ALPHABET)[t - 1] for t in own if t) for own in found]
  assert spelled[:2] == ["\na fine film it s good\n", "\nno\n"] and all(text.endswith("\n") for text in spelled)
  assert {word for text in spelled[-2:] for word in text.split()} <= set(_spoken.WORDS)


SOUND = {"wave": jax.ShapeDtypeStruct((2, 19200), np.int16), "length": jax.ShapeDtypeStruct((2,), np.int32)}
INPUTS = {"sound": SOUND, "text": jax.ShapeDtypeStruct((2, 82), np.int32)}


@pytest.mark.parametrize("names", [("words", "speaker", "letters"), ("speaker",), ("letters",)])
def test_stems_and_heads_of_the_tasks_asked_for(names):
  net = recipes.load("speech_language").network(names)
  used = {"sound": {"words", "speaker"} & {*names}, "text": {"letters"} & {*names}}
  inputs = {key: INPUTS[key] for key in INPUTS if used[key]}
  params, state = jax.eval_shape(net.init, jax.random.key(0), inputs)
  assert set(params["task"]) == set(names) and set(params["shared"]["stage_0"]) == set(inputs)
  assert set(net.terms) == {"sparse"}


def test_the_language_model_does_not_see_what_comes():
  net = recipes.find("speech_language")(width=4).network(("letters",))
  tokens = np.random.default_rng(0).integers(1, 28, (2, 20)).astype(np.int32)
  other = tokens.copy()
  other[:, 12:] = 3
  params, state = net.init(jax.random.key(0), {"text": jnp.asarray(tokens)})
  one, two = (net.apply(params, state, {"text": jnp.asarray(x)})[0]["letters"]["x"] for x in (tokens, other))
  np.testing.assert_allclose(one[:, :12], two[:, :12], atol=1e-6)
  assert np.abs(np.asarray(one[:, 12:] - two[:, 12:])).max() > 1e-3


@pytest.mark.slow
def test_it_learns_and_transcribes_files(made_data, tmp_path, capsys):
  run = tmp_path / "run"
  options = ["--recipe.strings", "24", "--recipe.width", "8", "--steps", "12", "--batch-size", "16"]
  assert main(["train", "speech_language", "--run-dir", str(run), *options]) == 0
  assert {*json.loads((run / "test.json").read_text())["test"]} == {"words", "speaker", "letters"}
  for i in range(3):
    wavfile.write(tmp_path / f"{i}.wav", 8000, clips().waves[i])
  (tmp_path / "bad.wav").write_bytes(b"no sound")
  out = tmp_path / "out.jsonl"
  capsys.readouterr()
  words = ["predict", str(run), "--input", str(tmp_path), "--output", str(out), "--show", "2"]
  assert main(words) == 2 and "bad.wav as a wav file" in capsys.readouterr().err
  assert main([*words, "--skip-bad"]) == 0
  told = capsys.readouterr().out
  assert "1 of 4 left out" in told and "0.wav" in told and "1.wav" in told and "2.wav" not in told
  lines = [json.loads(line) for line in out.read_text().splitlines()]
  assert [line["name"] for line in lines] == ["0.wav", "1.wav", "2.wav"]
  for line in lines:
    assert {*line} == {"name", "words", "speaker"} and isinstance(line["words"]["text"], str)
    assert line["speaker"]["speaker"] in SPEAKERS and 1 / 6 <= line["speaker"]["probability"] <= 1
