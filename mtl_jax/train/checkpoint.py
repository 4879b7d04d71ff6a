"""Checkpoints: any pytree of arrays and a little JSON, through Orbax, written whole or not at all."""

from __future__ import annotations

import concurrent.futures
import os
import re
import shutil
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.files import using
from mtl_jax._core.quiet import Quiet, close_coroutines
from mtl_jax._core.shapes import shapes
from mtl_jax.train._checksum import checksums
from mtl_jax.train._leaves import below, check_kinds, kinds, named_leaves, of_kind, tree_of
from mtl_jax.train._notes import Damaged, opened, sealed

GIVE_UP_SECONDS = 10.0
"""How long an interrupted program waits for the checkpoint that is being written."""
UNFINISHED = ".orbax-checkpoint-tmp"
"""What Orbax adds to a name until all is written."""


def shapes_of(make: Callable[[], Any]) -> Any:
  """The shapes of the tree that `make()` returns, which is not run: a template to restore a checkpoint into.

  All arrays are restored to the first device of this process.

  >>> shapes_of(lambda: {"w": jnp.ones((2, 3))})["w"].shape
  (2, 3)
  """
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), shapes(make))


class Checkpoints:
  """The checkpoints of one run, `directory/<step>`; a context manager, which waits for the last one at its end.

  Leaves are stored by their path in the tree, so what restores a checkpoint is a tree of the same shape, not the
  classes it was made of; PRNG keys are stored as their data. Beside them are the step, the checksum of each leaf, and
  one of these notes themselves: what is restored is what was saved. Nothing that is read can execute code.

  Orbax runs in a thread of its own, for two reasons. Steps go on while it reads arrays from the device. And Python
  interrupts the main thread alone: an interrupt in the middle of `CheckpointManager.save` would leave threads that wait
  twenty minutes for a directory which nobody makes.
  """

  def __init__(self, directory: Path, keep: int = 2, *, read_only: bool = False):
    """Opens or creates `directory`; only the newest `keep` checkpoints stay. Read-only, nothing there is changed."""
    import orbax.checkpoint as ocp

    self._directory = Path(directory).absolute()
    self._read_only = read_only
    self._ocp = ocp
    if read_only:
      self._options = ocp.CheckpointManagerOptions(save_interval_steps=0, create=False, read_only=True)
    else:
      self._options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=False)
    with using(self._directory):
      if not read_only:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._clean()
      self._handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY) if self._directory.exists() else None
    self._quiet = Quiet()
    weakref.finalize(self, self._quiet.close)
    self._thread = concurrent.futures.ThreadPoolExecutor(1, "mtl-jax checkpoints")
    self._writing: concurrent.futures.Future[None] | None = None
    self._manager: Any = None
    if self._handle is not None:
      self._open()

  def _clean(self) -> None:
    """Removes what an earlier process did not finish writing; it may be what filled the disk."""
    if jax.process_index() == 0:
      for path in self._directory.glob(f"*{UNFINISHED}*"):
        shutil.rmtree(path)

  def _open(self) -> None:
    # Through a handle, where the system shows them as paths: in a directory that is renamed meanwhile the files stay
    # together, and none appears under its old name.
    handle = Path(f"/proc/self/fd/{self._handle}")
    self._root = handle if handle.exists() else self._directory
    self._manager = self._run(lambda: self._ocp.CheckpointManager(self._root, options=self._options))

  def _run(self, function: Callable[[], Any]) -> Any:
    return self._start(function).result()

  def _start(self, function: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    x64 = jax.dtypes.canonicalize_dtype("float64") == jnp.float64  # may be set for this thread alone

    def run() -> Any:
      with jax.enable_x64(x64):
        try:
          return function()
        except Exception:
          close_coroutines()
          raise

    return self._thread.submit(run)

  def steps(self) -> list[int]:
    """The steps that have a finished checkpoint, ascending."""
    return [] if self._manager is None else sorted(self._manager.all_steps())

  def save(self, step: int, tree: Any, notes: dict[str, Any]) -> None:
    """Starts saving `tree` and `notes`; the write goes on in the background and appears when complete.

    Raises:
      UserError: The save before did not succeed, or the directory is gone.
    """
    self._finish()
    self._check_place()
    # Copies: the next step may reuse the donated buffers while the write goes on.
    leaves = {name: jnp.copy(leaf) for name, leaf in named_leaves(tree).items()}
    self._writing = self._start(lambda: self._write(step, leaves, notes))
    if jax.process_count() > 1:  # Orbax lets processes wait for each other on their devices
      self._finish()

  def _write(self, step: int, leaves: dict[str, Any], notes: dict[str, Any]) -> None:
    args = self._ocp.args
    note = sealed({"step": step, "leaves": kinds(leaves), "checksums": checksums(leaves), "notes": notes})
    self._manager.save(step, args=args.Composite(tree=args.StandardSave(leaves), notes=args.JsonSave(note)), force=True)
    if jax.process_count() == 1:
      self._manager.wait_until_finished()

  def _finish(self) -> None:
    """Waits for the save before; with several processes only until its arrays are on the host."""
    writing, self._writing = self._writing, None
    if writing is not None:
      try:
        writing.result()
      except Exception as error:  # whatever the storage layers make of a full disk
        raise self._cannot_write(error) from error

  def _cannot_write(self, error: BaseException) -> UserError:
    self._check_place()
    done = [int(path.name) for path in self._directory.iterdir() if path.name.isdecimal()]
    newest = f"resume the run from step {max(done)}" if done else "start the run again"
    return UserError(f"cannot write checkpoints to {self._directory}: {self._reason(error)}: mend that, then {newest}.")

  def _check_place(self) -> None:
    """Fails when the directory is no longer where it was."""
    assert self._handle is not None
    try:
      same = os.path.samestat(os.fstat(self._handle), os.stat(self._directory))
    except OSError:
      same = False
    if not same:
      raise UserError(
        f"{self._directory} has been moved or deleted while the run was writing to it: "
        "put it back, or resume the run in its new place."
      )

  def restore(self, step: int, template: Any) -> tuple[Any, dict[str, Any]]:
    """The tree and notes of a step.

    Args:
      step: One of `steps()`.
      template: A tree of the same structure, shapes and dtypes, or of `shapes_of` one; its arrays' shardings are those
        of the result.

    Returns:
      The tree and the notes.

    Raises:
      UserError: The checkpoint holds another tree, or is of an older version.
      Damaged: The checkpoint is not what was saved.
      Exception: Whatever Orbax raises for a damaged checkpoint.
    """
    leaves = named_leaves(template)
    note = self._note(step)
    abstract = {name: self._ocp.utils.to_shape_dtype_struct(leaf) for name, leaf in leaves.items()}
    restored = self._checked(step, leaves, note["leaves"], note["checksums"], self._ocp.args.StandardRestore(abstract))
    return tree_of(restored, template), note["notes"]

  def restore_parts(
    self, step: int, choose: Callable[[dict[str, Any]], Mapping[str, Any]]
  ) -> tuple[dict[str, Any], dict[str, Any]]:
    """Some parts of the tree of a step, and its notes; nothing else of the tree is read.

    Args:
      step: One of `steps()`.
      choose: A function of the notes that gives templates of the parts by their paths in the tree, such as `best.0`.

    Returns:
      The parts by their paths, and the notes.

    Raises:
      Exception: As `restore`.
    """
    note = self._note(step)
    parts = choose(note["notes"])
    leaves = {name: leaf for path, part in parts.items() for name, leaf in named_leaves(part, path).items()}
    restored = self._some(step, note, leaves, parts)
    return {path: tree_of(restored, part, path) for path, part in parts.items()}, note["notes"]

  def restore_leaves(
    self, step: int, choose: Callable[[dict[str, Any]], Sequence[str]]
  ) -> tuple[dict[str, Any], dict[str, Any]]:
    """All leaves below some places in the tree of a step, whatever they are, and its notes.

    Args:
      step: One of `steps()`.
      choose: A function of the notes that gives the places, such as `best.0`.

    Returns:
      The leaves by their names, those of keys their data, on the first device of this process, and the notes.

    Raises:
      Exception: As `restore`.
    """
    note = self._note(step)
    places = choose(note["notes"])
    kept = {name: of_kind(kind) for name, kind in note["leaves"].items() if below(name, places)}
    leaves = shapes_of(lambda: {name: jnp.zeros(leaf.shape, leaf.dtype) for name, leaf in kept.items()})
    return self._some(step, note, leaves, places), note["notes"]

  def _some(self, step: int, note: Any, leaves: dict[str, Any], places: Iterable[str]) -> Any:
    """Leaves of a step, which must be all that are below these places."""
    found, sums = ({n: v for n, v in note[key].items() if below(n, places)} for key in ("leaves", "checksums"))
    abstract = {name: self._ocp.utils.to_shape_dtype_struct(leaf) for name, leaf in leaves.items()}
    args = self._ocp.checkpoint_utils.construct_restore_args(abstract)
    restore = self._ocp.args.PyTreeRestore(abstract, restore_args=args, partial_restore=True)
    return self._checked(step, leaves, found, sums, restore) if leaves or found else {}

  def _checked(self, step: int, leaves: Any, found: dict[str, str], sums: dict[str, str], restore: Any) -> Any:
    """The leaves of a step that `restore` reads, if they are those `found` in the notes and have their checksums."""
    check_kinds(f"the checkpoint of step {step}", found, kinds(leaves))
    restored = self._read(step, tree=restore)["tree"]
    read = checksums(restored)
    wrong = sorted(name for name in read.keys() | sums if read.get(name) != sums.get(name))
    if wrong:
      raise Damaged(f"{wrong[0]!r} is not what was saved" + (f", nor are {len(wrong) - 1} more" if wrong[1:] else ""))
    return restored

  def _note(self, step: int) -> dict[str, Any]:
    return opened(self._read(step, notes=self._ocp.args.JsonRestore())["notes"], step)

  def _read(self, step: int, **items: Any) -> Any:
    return self._run(lambda: self._manager.restore(step, args=self._ocp.args.Composite(**items)))

  def restore_newest(
    self, template: Any, warn: Any, restore: Callable[[int, Any], tuple[Any, dict[str, Any]]] | None = None
  ) -> tuple[int, Any, dict[str, Any]] | None:
    """The newest checkpoint that can be read, by `restore` or `restore_parts`, or None when there is none at all.

    A damaged one is an error with several processes. With one it is told to `warn` and moved aside to
    `damaged/<step>`, so that training can write that step again; opened read-only it stays where it is.

    Raises:
      UserError: There are checkpoints, but none can be read; or they are of another model.
    """
    if self._read_only and self._manager is not None:  # the run may write on meanwhile
      self._run(self._manager.reload)
    elif self._manager is not None:  # one may be on its way
      self._finish()
      self._run(self._manager.wait_until_finished)
    steps = self.steps()
    for name in self._others(steps):
      warn(f"{self._directory / name} is no complete checkpoint: it is left out.")
    # The notes of all come first: a newer checkpoint may have got the name of an older one.
    readable = [step for step in reversed(steps) if self._unless_damaged(warn, self._note, step) is not None]
    for step in readable:
      if (found := self._unless_damaged(warn, restore or self.restore, step, template)) is not None:
        return step, *found
    if any(self._is_gone(step) for step in steps):
      return self.restore_newest(template, warn, restore)
    if steps:
      raise UserError(f"none of the {len(steps)} checkpoints in {self._directory} can be read.")
    return None

  def _unless_damaged(self, warn: Any, read: Callable[..., Any], step: int, *rest: Any) -> Any:
    """`read(step, *rest)`; None if the checkpoint is damaged, which is then told and moved aside."""
    try:
      return read(step, *rest)
    except UserError:
      raise
    except Exception as error:  # whatever the storage layers make of damaged files
      if self._is_gone(step):
        return None
      told = f"the checkpoint of step {step} is damaged ({self._reason(error)})"
      if self._read_only:
        warn(f"{told}: trying the one before.")
      elif jax.process_count() > 1:  # the others may have read their parts of it
        raise UserError(f"{told}: resume once with one process, which sets it aside.") from error
      else:
        warn(f"{told}: moved to {self._set_aside(step)}, trying the one before.")
      return None

  def _is_gone(self, step: int) -> bool:
    """Whether a checkpoint, opened read-only, has been removed by the run, for newer ones."""
    return self._read_only and not (self._directory / str(step)).exists()

  def _others(self, steps: list[int]) -> list[str]:
    """What lies beside the checkpoints, writes that were not finished apart."""
    if self._handle is None:
      return []
    names = {path.name for path in self._directory.iterdir()} - set(map(str, steps))
    return sorted(name for name in names if UNFINISHED not in name)

  def _set_aside(self, step: int) -> Path:
    self._run(self._manager.close)
    aside = self._directory.parent / "damaged" / f"{self._directory.name}-{step}"
    with using(aside):
      aside.parent.mkdir(exist_ok=True)
      while aside.exists():
        aside = aside.with_name(aside.name + "-again")
      (self._directory / str(step)).rename(aside)
    self._open()
    return aside

  def _reason(self, error: BaseException) -> str:
    """The first line of an error; of a long one its begin, and the system's own words or its end."""
    lines = str(error).replace(str(self._root), str(self._directory)).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    if len(line) < 200:
      return line
    code = re.search(r"os_error_code='(\d+)'", line)  # TensorStore may add a page of its own after the system's words
    return f"{line[:90]} ... {os.strerror(int(code[1])) if code else line[-100:]}"

  def close(self) -> None:
    """Waits until every save is complete.

    Raises:
      UserError: The last one did not succeed.
    """
    self._end(None)

  def _end(self, seconds: float | None) -> None:
    ends = self._start(self._close)  # after the write, the thread does one thing after the other
    concurrent.futures.wait([ends], timeout=seconds)
    if not ends.done():  # all that it uses stays
      raise UserError(f"the checkpoint being written is not complete after {seconds:g} seconds: it is given up.")
    try:
      self._finish()
      if (error := ends.exception()) is not None:
        raise self._cannot_write(error) from error
    finally:
      self._thread.shutdown(wait=False)
      self._quiet.close()
      if self._handle is not None:
        os.close(self._handle)
        self._handle = None

  def _close(self) -> None:
    if self._manager is not None:
      self._manager.close()

  def __enter__(self) -> Checkpoints:
    """The checkpoints themselves."""
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
    """Closes. After an interrupt, waits some seconds at most; after another error, that is what is raised."""
    interrupted = kind is not None and not issubclass(kind, Exception)
    try:
      self._end(GIVE_UP_SECONDS if interrupted else None)
    except UserError as error:
      if kind is None:
        raise
      warnings.warn(str(error), stacklevel=2)
