"""Extras: packages that only some parts need, imported where they are needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mtl_jax._core.errors import UserError


@contextlib.contextmanager
def extra(name: str, what: str, advice: str = "") -> Iterator[None]:
  """Within it an import that fails is one line that says what to install.

  Args:
    name: The extra of `pyproject.toml` that holds the packages.
    what: Who needs what, "images need Pillow".
    advice: What else to do, for the end of the line.

  Raises:
    UserError: A package is not installed.

  >>> with extra("plots", "pictures need matplotlib"):
  ...   import a_package_that_is_nowhere
  Traceback (most recent call last):
  mtl_jax.UserError: pictures need matplotlib: pip install 'mtl-jax[plots]'.
  """
  try:
    yield
  except ImportError as error:
    raise UserError(f"{what}: pip install 'mtl-jax[{name}]'{advice}.") from error
