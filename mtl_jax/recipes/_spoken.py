"""What `speech_language` learns from: strings of spoken digits, texts, and how wav files of users' own are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.data import letters, sounds, source
from mtl_jax.data.source.spoken_digits import RATE, SPEAKERS, WORDS, SpokenDigits
from mtl_jax.recipes._lines import refuse_labels, write_lines
from mtl_jax.recipes._recipe import Arrays, Files, Predicted

ALPHABET = " abcdefghijklmnopqrstuvwxyz"
SECONDS = 2.4
_MOST = 3  # digits of a string
_PAUSE = (0.03, 0.15)  # seconds of silence around each digit
_LONGEST = 80  # letters of a text


def strings(clips: SpokenDigits, count: int, rng: np.random.Generator) -> dict[str, Any]:
  """Strings of digits by one speaker each: every clip by itself, then as many strings of two or three at random.

  Args:
    clips: The clips.
    count: The number of strings beside the clips.
    rng: Draws them.

  Returns:
    `sound` for `mtl.nn.LogMel`, `words` for `mtl.tasks.transcription`, and `speaker`.
  """
  mine = [np.flatnonzero(clips.speaker == speaker) for speaker in range(clips.speaker.max() + 1)]
  chosen = [np.array([row]) for row in range(len(clips.waves))]
  chosen += [rng.choice(mine[rng.integers(len(mine))], rng.integers(2, _MOST + 1)) for _ in range(count)]
  waves, rows = [], []
  for own in chosen:
    pauses = rng.uniform(*_PAUSE, len(own) + 1) * RATE
    parts = [np.zeros(int(pauses[0]), np.int16)]
    for row, pause in zip(own, pauses[1:], strict=True):
      parts += [clips.waves[row], np.zeros(int(pause), np.int16)]
    if sum(map(len, parts)) <= SECONDS * RATE:
      waves.append(np.concatenate(parts))
      rows.append(own)
  texts = [" ".join(WORDS[clips.digit[row]] for row in own) for own in rows]
  return {
    "sound": sounds.padded(waves, round(SECONDS * RATE)),
    "words": letters(texts, ALPHABET, 6 * _MOST),
    "speaker": clips.speaker[[own[0] for own in rows]],
  }


def texts(part: str, numbers: int, rng: np.random.Generator) -> dict[str, Any]:
  """Sentences of film reviews without signs, and digits in words, as tokens of letters between two marks.

  Args:
    part: `"train"`, `"valid"` or `"test"`.
    numbers: How many strings of digits.
    rng: Draws them.

  Returns:
    `text` (N, L) int32, 0 at padding, 1 the mark at both ends, then the letters of `ALPHABET`.
  """
  reviews = ("".join(c for c in review if c in ALPHABET) for review in source.sentences("sst2")[part][0])
  found = [text for text in (" ".join(review.split()) for review in reviews) if 0 < len(text) <= _LONGEST]
  found += [" ".join(rng.choice(WORDS, rng.integers(1, _MOST + 1))) for _ in range(numbers)]
  marked = [f"\n{text}\n" for text in found]
  return {"text": letters(marked, "\n" + ALPHABET, _LONGEST + 2) + 1}


def speaker(outputs: Mapping[str, Any]) -> dict[str, Any]:
  """Who speaks, by name, and how probable that is."""
  number = int(outputs["class"])
  return {"speaker": SPEAKERS[number], "probability": round(float(outputs["probability"][number]), 4)}


def wav_files() -> Files:
  """How folders of wav files are read, and what is told of them."""

  def read(path: Path, tasks: Sequence[str], warn: Callable[[str], None] | None = None) -> tuple[Arrays, list[str]]:
    refuse_labels(path, tasks, "sounds have")
    found, names = sounds.read(path, RATE, SECONDS, warn)
    return {"sound": found}, names

  return Files(read, write_lines, ".jsonl", read_good=read, tell=_tell)


def _tell(predicted: Predicted) -> str:
  """A line for each file: what is said, and by whom."""
  lines = []
  for record in predicted.records():
    said = f"{record['words']['text']!r}" if "words" in record else ""
    by = "{speaker} ({probability:.0%})".format(**record["speaker"]) if "speaker" in record else ""
    lines.append("  ".join(part for part in (record["name"], said, by) if part))
  return "\n".join(lines)
