"""Checkpoints: any pytree of arrays and a little JSON, through Orbax, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._errors import UserError


class Checkpoints:
  """The checkpoints of one run, `directory/<step>`.

  Leaves are stored by their path in the tree, so what restores a checkpoint is a tree of the same shape, not the
  classes it was made of; PRNG keys are stored as their data. Nothing that is read can execute code.
  """

  def __init__(self, directory: Path, keep: int = 2):
    """Opens or creates `directory`; only the newest `keep` checkpoints stay."""
    import orbax.checkpoint as ocp

    self._directory = Path(directory).absolute()
    self._ocp = ocp
    self._options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
    self._manager = ocp.CheckpointManager(self._directory, options=self._options)

  def steps(self) -> list[int]:
    """The steps that have a finished checkpoint, ascending."""
    return sorted(self._manager.all_steps())

  def save(self, step: int, tree: Any, notes: dict[str, Any]) -> None:
    """Starts saving `tree` and `notes`; the write goes on in the background and appears when complete."""
    args = self._ocp.args
    flat = _flat(tree)
    note = args.JsonSave({"leaves": _kinds(flat), "notes": notes})
    # Copies: the next step may reuse the donated buffers while the write goes on.
    composite = args.Composite(tree=args.StandardSave(jax.tree.map(jnp.copy, flat)), notes=note)
    self._manager.save(step, args=composite, force=True)

  def restore(self, step: int, template: Any) -> tuple[Any, dict[str, Any]]:
    """The tree and notes of a step.

    Args:
      step: One of `steps()`.
      template: A tree of the same structure, shapes and dtypes; its arrays' shardings are those of the result.

    Returns:
      The tree and the notes.

    Raises:
      UserError: The checkpoint holds another tree.
      Exception: Whatever Orbax raises for a damaged checkpoint.
    """
    args = self._ocp.args
    flat = _flat(template)
    note = self._manager.restore(step, args=args.Composite(notes=args.JsonRestore()))["notes"]
    found, expected = note["leaves"], _kinds(flat)
    if found != expected:
      different = sorted(k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k))
      name = different[0]
      raise UserError(
        f"the checkpoint of step {step} is of another model: {name!r} is {found.get(name, 'missing')}, expected "
        f"{expected.get(name, 'nothing of that name')} (and {len(different) - 1} more differences)."
      )
    abstract = {name: self._ocp.utils.to_shape_dtype_struct(leaf) for name, leaf in flat.items()}
    restored = self._manager.restore(step, args=args.Composite(tree=args.StandardRestore(abstract)))
    return _unflat(restored["tree"], template), note["notes"]

  def restore_newest(self, template: Any, warn: Any) -> tuple[int, Any, dict[str, Any]] | None:
    """The newest checkpoint that can be read, or None when there is none at all.

    A damaged one is an error with several processes. With one it is told to `warn` and moved aside to
    `damaged/<step>`, so that training can write that step again.

    Raises:
      UserError: There are checkpoints, but none can be read; or they are of another model.
    """
    steps = self.steps()
    for step in reversed(steps):
      try:
        return step, *self.restore(step, template)
      except UserError:
        raise
      except Exception as error:  # whatever the storage layers make of damaged files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if jax.process_count() > 1:  # the others may have read their parts of it
          raise UserError(
            f"the checkpoint of step {step} is damaged ({reason[:200]}): resume once with one process, which sets it "
            "aside."
          ) from error
        aside = self._set_aside(step)
        warn(f"the checkpoint of step {step} is damaged ({reason[:200]}): moved to {aside}, trying the one before.")
    if steps:
      raise UserError(f"none of the {len(steps)} checkpoints in {self._directory} can be read.")
    return None

  def _set_aside(self, step: int) -> Path:
    self._manager.close()
    aside = self._directory.parent / "damaged" / f"{self._directory.name}-{step}"
    aside.parent.mkdir(exist_ok=True)
    while aside.exists():
      aside = aside.with_name(aside.name + "-again")
    (self._directory / str(step)).rename(aside)
    self._manager = self._ocp.CheckpointManager(self._directory, options=self._options)
    return aside

  def close(self) -> None:
    """Waits until every save is complete."""
    self._manager.wait_until_finished()
    self._manager.close()


def _flat(tree: Any) -> dict[str, Any]:
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path, simple=True, separator="."): _data(leaf) for path, leaf in leaves}


def _kinds(flat: dict[str, Any]) -> dict[str, str]:
  return {name: f"{jnp.dtype(leaf.dtype)}{list(leaf.shape)}" for name, leaf in flat.items()}


def _unflat(flat: dict[str, Any], template: Any) -> Any:
  def leaf_of(path, leaf):
    value = flat[jax.tree_util.keystr(path, simple=True, separator=".")]
    return jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else value

  return jax.tree_util.tree_map_with_path(leaf_of, template)


def _is_key(leaf: Any) -> bool:
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
  return jax.random.key_data(leaf) if _is_key(leaf) else leaf
