"""The main task among others, an option of methods whose auxiliary tasks serve one."""

from __future__ import annotations

from mtl_jax._core.errors import UserError


def check_main(method: str, main: int, num_tasks: int) -> None:
  """Raises a `UserError` where `main` is no position among the tasks."""
  if not 0 <= main < num_tasks:
    raise UserError(f"{method}: main is {main}, expected from 0 to {num_tasks - 1}, the position of one of the tasks.")
