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


def _spans(words: Sequence[str], tags: Sequence[str]) -> Iterator[dict[str, Any]]:
  """The slots of a sentence, with their words."""
  before, span = "O", None
  for word, tag in zip(words, tags, strict=False):
    if span and tag.startswith("I") and before[2:] == tag[2:]:
      span["text"] += f" {word}"
    else:
      if span:
        yield span
      span = {"slot": tag[2:], "text": word} if tag != "O" else None
    before = tag
  if span:
    yield span


def tell(record: Mapping[str, Any]) -> str:
  """The sentence with its slots in brackets, below its intent."""
  intent = f"  {record['intent']} ({record['probability']:.2f})" if "intent" in record else ""
  parts, before = [], "O"
  for word, tag in zip(record.get("words", []), record.get("tags", []), strict=False):
    if tag.startswith("I") and before[2:] == tag[2:]:
      parts[-1] = f"{parts[-1].removesuffix(']')} {word}]"
    else:
      parts.append(word if tag == "O" else f"[{tag[2:]}: {word}]")
    before = tag
  return f"{record['name']}{intent}\n  {' '.join(parts)}"
