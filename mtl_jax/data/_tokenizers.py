"""The library `tokenizers`, an extra."""

from __future__ import annotations

from typing import Any

from mtl_jax._core.extras import extra


def tokenizers(what: str, advice: str = "") -> Any:
  """The library.

  Args:
    what: What needs it, for the message.
    advice: What else to do, for the message.

  Raises:
    UserError: It is not installed.
  """
  with extra("text", f"{what} needs an extra", advice):
    import tokenizers
    import tokenizers.models
    import tokenizers.normalizers
    import tokenizers.pre_tokenizers
    import tokenizers.trainers
  return tokenizers
