"""Directories that a command writes to: errors of the file system in one line, and one process at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

from mtl_jax._core.errors import UserError

LOCK = ".lock"
NO_ZIP = (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError, struct.error)
"""What `zipfile` raises for what is no zip file, a part of one, or one of a future version."""


@contextlib.contextmanager
def using(path: Path) -> Iterator[None]:
  """Makes an error of the file system a `UserError` that names the path, or the file of the error."""
  try:
    yield
  except OSError as error:
    raise UserError(f"cannot use {error.filename or path}: {error.strerror or error}.") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
  """A path beside this one to write to, which takes its place at the end: readers see the old file or the new one.

  What is written may be a directory; one that is there already, and not empty, is an error of the file system.
  """
  partial = path.with_name(path.name + ".partial")
  try:
    if partial.is_dir():  # what a process that was killed has left
      remove(partial)
    yield partial
    os.replace(partial, path)
  finally:
    with contextlib.suppress(OSError):
      remove(partial)


def remove(path: Path) -> None:
  """Removes a file, or a directory with all that is in it."""
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink()


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
  """Holds a directory against other processes; makes it if it is not there, and takes it away if nothing came of it.

  The system takes the lock away when the process ends, in whatever way, so what remains of a killed one blocks nothing.

  Raises:
    UserError: Another process, or another run of this one, holds the directory; or it cannot be written to.
  """
  import fcntl

  with contextlib.ExitStack() as stack:
    with using(directory):
      made = [path for path in (directory, *directory.parents) if not path.exists()]
      directory.mkdir(parents=True, exist_ok=True)
      file = stack.enter_context((directory / LOCK).open("a"))
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise UserError(
        f"{directory} is in use by another process: wait until that has ended, or choose another directory."
      ) from error
    except OSError as error:  # file systems without locks
      warnings.warn(f"cannot lock {directory} ({error.strerror}): let no other process write there.", stacklevel=3)
    try:
      yield
    except UserError:
      with contextlib.suppress(OSError):
        if made and not holds_more_than(directory):
          (directory / LOCK).unlink()
          for path in made:
            path.rmdir()
      raise


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
  """Whether this program holds a file against all others, from here to the end of the block or of the program."""
  import fcntl

  with using(path), path.open("a") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      held = False
    else:
      held = True
    yield held


def holds_more_than(directory: Path, *own: str) -> bool:
  """Whether there is anything in a directory but the lock, hidden rests of writes, and what is named."""
  if not directory.exists():
    return False
  return any(path.name not in (LOCK, *own) for path in directory.iterdir())
