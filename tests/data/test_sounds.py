"""Wav files of every kind, whole and damaged."""

import struct
import wave as standard

import numpy as np
import pytest
from scipy.io import wavfile

from mtl_jax import UserError
from mtl_jax.data import sounds

RATE = 8000
TONE = (np.sin(2 * np.pi * 440 * np.arange(4000) / RATE) * 12000).astype(np.int16)


def write(path, width, values, rate=RATE, channels=1):
  """By the standard library, which knows no floats and writes 24 bits."""
  with standard.open(str(path), "wb") as file:
    file.setnchannels(channels)
    file.setsampwidth(width)
    file.setframerate(rate)
    file.writeframes(values)


def test_every_depth_is_the_same_sound(tmp_path):
  write(tmp_path / "a16.wav", 2, TONE.tobytes())
  write(tmp_path / "b24.wav", 3, b"".join(struct.pack("<i", int(v) << 8)[:3] for v in TONE))
  write(tmp_path / "c32.wav", 4, (TONE.astype(np.int32) << 16).tobytes())
  wavfile.write(tmp_path / "d_float.WAV", RATE, (TONE / 32768).astype(np.float32))
  write(tmp_path / "e_stereo.wav", 2, np.stack([TONE, TONE], axis=1).tobytes(), channels=2)
  write(tmp_path / "f8.wav", 1, (TONE // 256 + 128).astype(np.uint8).tobytes())
  found, names = sounds.read(tmp_path, RATE, 1.0)
  assert names == sorted(names) and len(names) == 6 and found["length"].tolist() == [4000] * 6
  assert found["wave"].shape == (6, 8000) and found["wave"].dtype == np.int16 and not found["wave"][:, 4000:].any()
  for name, own in zip(names[:5], found["wave"], strict=False):
    np.testing.assert_array_equal(own[:4000], TONE, err_msg=name)
  np.testing.assert_allclose(found["wave"][5, :4000], TONE, atol=256)


@pytest.mark.parametrize("rate", [16000, 44100, 6000])
def test_another_rate_is_the_same_tone(tmp_path, rate):
  tone = np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate) * 0.4
  wavfile.write(tmp_path / "a.wav", rate, (tone * 32767).astype(np.int16))
  found, _ = sounds.read(tmp_path / "a.wav", RATE, 1.0)
  assert abs(int(found["length"][0]) - 4000) <= 1
  want = np.sin(2 * np.pi * 440 * np.arange(4000) / RATE) * 0.4 * 32768
  np.testing.assert_allclose(found["wave"][0, 100:3900], want[100:3900], atol=150)  # 1 % but at both ends


def test_channels_are_averaged(tmp_path):
  left, right = TONE, np.roll(TONE, 3)
  write(tmp_path / "a.wav", 2, np.stack([left, right], axis=1).tobytes(), channels=2)
  found, _ = sounds.read(tmp_path, RATE, 0.5)
  np.testing.assert_allclose(found["wave"][0], (left.astype(float) + right) / 2, atol=0.6)


BAD = {
  "silent.wav": "is silent: all its samples are the same",
  "clipped.wav": r"is clipped: \d+% of its samples lie in flat peaks",
  "cut.wav": "is cut short: its header tells of more samples than there are",
  "no.wav": "cannot read .* as a wav file: ValueError: Not a WAV file",
  "void.wav": "cannot read .* as a wav file",
  "empty.wav": "is empty: it holds no samples",
  "long.wav": r"takes 1.00 s, expected at most 0.5 s: cut it into pieces",
  "nan.wav": "holds samples that are no finite numbers",
}


@pytest.fixture
def folder(tmp_path):
  write(tmp_path / "good.wav", 2, TONE.tobytes())
  (tmp_path / "cut.wav").write_bytes((tmp_path / "good.wav").read_bytes()[:3000])
  write(tmp_path / "silent.wav", 2, np.zeros(4000, np.int16).tobytes())
  write(tmp_path / "clipped.wav", 2, np.clip(TONE.astype(int) * 8, -32768, 32767).astype(np.int16).tobytes())
  (tmp_path / "no.wav").write_bytes(b"RIFX no wave file at all")
  (tmp_path / "void.wav").write_bytes(b"")
  write(tmp_path / "empty.wav", 2, b"")
  write(tmp_path / "long.wav", 2, np.tile(TONE, 2).tobytes())
  wavfile.write(tmp_path / "nan.wav", RATE, np.where(np.arange(4000) == 9, np.nan, 0.1).astype(np.float32))
  return tmp_path


def test_a_damaged_file_is_named_or_left_out(folder):
  for name, message in BAD.items():
    with pytest.raises(UserError, match=message) as error:
      sounds.read(folder / name, RATE, 0.5)
    assert name in str(error.value) and "\n" not in str(error.value)
  told = []
  found, names = sounds.read(folder, RATE, 0.5, told.append)
  assert names == ["good.wav"] and len(told) == len(BAD) and (found["wave"][0] == TONE).all()
  (folder / "good.wav").unlink()
  with pytest.raises(UserError, match="none of 8 wav files can be used"):
    sounds.read(folder, RATE, 0.5, told.append)


def test_a_loud_tone_is_not_clipped(tmp_path):
  loud = np.sin(2 * np.pi * 100 * np.arange(4000) / RATE) * 32767
  write(tmp_path / "loud.wav", 2, loud.astype(np.int16).tobytes())
  assert len(sounds.read(tmp_path, RATE, 0.5)[1]) == 1


def test_nothing_there(tmp_path):
  with pytest.raises(UserError, match="has no wav files: give a folder of wav files"):
    sounds.read(tmp_path, RATE, 1.0)
  with pytest.raises(UserError, match="is not there"):
    sounds.read(tmp_path / "none", RATE, 1.0)


def test_padded():
  with pytest.raises(UserError, match="wave 1 has 3 samples, expected at most 2: raise length"):
    sounds.padded([np.zeros(1, np.int16), np.zeros(3, np.int16)], 2)
