"""Notes beside the arrays of a checkpoint, under a seal: what is read is what was written, of the same step."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mtl_jax._core.errors import UserError


class Damaged(Exception):
  """What is in a checkpoint is not what was saved."""


def sealed(content: dict[str, Any]) -> dict[str, str]:
  """JSON and its digest."""
  text = json.dumps(content)
  return {"content": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def opened(note: dict[str, Any], step: int) -> dict[str, Any]:
  """What `sealed` was given for this step.

  Raises:
    Damaged: It is something else.
    UserError: It is of a version that did not seal notes.
  """
  if note.keys() == {"leaves", "notes"}:
    raise UserError(f"the checkpoint of step {step} has no checksums, it is of an older version: train anew.")
  text = note["content"]
  if hashlib.sha256(text.encode()).hexdigest() != note["sha256"]:
    raise Damaged("its notes are not what was saved")
  content = json.loads(text)
  if content["step"] != step:
    raise Damaged(f"it was saved at step {content['step']}")
  return content
