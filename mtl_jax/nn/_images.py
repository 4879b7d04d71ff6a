"""What convolutional trunks take."""

from __future__ import annotations

import jax

from mtl_jax._core.errors import UserError


def check_images(trunk: str, x: jax.Array) -> None:
  """Raises a `UserError` for an input that is no batch of images (B, H, W, C)."""
  if x.ndim != 4:
    advice = ": add the channel axis, x[..., None]" if x.ndim == 3 else ""
    raise UserError(f"{trunk}: the input has shape {x.shape}, expected images (B, H, W, C){advice}.")
