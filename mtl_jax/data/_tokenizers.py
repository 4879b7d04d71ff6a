"""The library `tokenizers`, an extra."""

from __future__ import annotations

from typing import Any

from mtl_jax._core.errors import UserError


def tokenizers(what: str, advice: str = "") -> Any:
  """The library.

  Args:
    what: What needs it, for the message.
    advice: What else to do, for the message.

  Raises:
    UserError: It is not installed.
  """
  try:
    import tokenizers
    import tokenizers.models
    import tokenizers.normalizers
    import tokenizers.pre_tokenizers
    import tokenizers.trainers
  except ImportError as error:
    raise UserError(f"{what} needs an extra: pip install 'mtl-jax[text]'{advice}.") from error
  return tokenizers
