"""Commands with intents and slots: classes of tags, the best model, and how users' sentences are read and told of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mtl_jax.recipes import _words
from mtl_jax.recipes._recipe import Files

NOTHING = {"tokenizer": "", "words": 2, "alphabet": "", "intents": ["", ""], "tags": ["O", "B"]}
"""What is known before the data are."""


def tags_of(sentences: Sequence[Sequence[str]]) -> list[str]:
  """The tags of training sentences, and those of slots that are in none of them."""
  return ["O", *map(unknown_tag, "BI"), *sorted({tag for tags in sentences for tag in tags} - {"O"})]


def unknown_tag(tag: str) -> str:
  """The tag of a slot that is in no training sentence."""
  return f"{tag[0]}-{_words.UNKNOWN}"


def files(about: Mapping[str, Any], length: int) -> Files:
  """How users' sentences are read, and intents and slots told."""

  def record(words: list[str], said: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"words": words} if words else {}
    if "intent" in said:
      number = said["intent"]["class"][0]
      found |= {"intent": about["intents"][number], "probability": round(said["intent"]["probability"][0][number], 4)}
    if "slots" in said:
      found |= {"tags": said["slots"], "slots": list(_spans(words, said["slots"]))}
    return found

  return _words.files(about, split, record, tell, length)


def split(line: str) -> list[str]:
  """The words of a line: in small letters as in the data, without the signs at their ends."""
  return [word for word in (part.strip(',;:?!"()').removesuffix(".") for part in line.lower().split()) if word]


def _spans(words: Sequence[str], tags: Sequence[str]) -> Iterator[dict[str, str]]:
  """The slots of a sentence, with their words."""
  return ({"slot": slot, "text": said} for slot, said in _chunks(words, tags) if slot)


def _chunks(words: Sequence[str], tags: Sequence[str]) -> Iterator[tuple[str, str]]:
  """The parts of a sentence: of each the slot, "" for a word in none, and the words."""
  slot, parts, before = "", list[str](), "O"
  for word, tag in zip(words, tags, strict=False):
    if not (tag.startswith("I") and before[2:] == tag[2:]):
      if parts:
        yield slot, " ".join(parts)
      slot, parts = ("" if tag == "O" else tag[2:]), []
    parts.append(word)
    before = tag
  if parts:
    yield slot, " ".join(parts)


def tell(record: Mapping[str, Any]) -> str:
  """The sentence with its slots in brackets, below its intent."""
  intent = f"  {record['intent']} ({record['probability']:.2f})" if "intent" in record else ""
  chunks = _chunks(record.get("words", []), record.get("tags", []))
  return f"{record['name']}{intent}\n  " + " ".join(f"[{slot}: {said}]" if slot else said for slot, said in chunks)
