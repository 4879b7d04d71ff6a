"""Nets from the module libraries of JAX: Flax Linen, Flax NNX, Equinox."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.net import Net, Params, State, check_module

_TRAIN_FLAGS = ("train", "training", "is_training")
_EVAL_FLAGS = ("deterministic", "use_running_average", "inference")


def _mode(call: Callable[..., Any], train: bool, step: Any = None) -> dict[str, Any]:
  """The keywords by which `call` is told whether it trains, under whichever of the usual names it has, and the step."""
  names = inspect.signature(call).parameters
  flags: dict[str, Any] = {flag: train for flag in _TRAIN_FLAGS if flag in names}
  flags |= {flag: not train for flag in _EVAL_FLAGS if flag in names}
  return flags | ({"step": step} if "step" in names else {})


_NEEDS_KEY = "draws random numbers: pass key= to apply."


def _copy(tree: Any) -> Any:
  """The arrays of `tree` copied, so that donating what `init` returned leaves the caller's module alive."""
  return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)


def from_linen(module: Any, **options: Any) -> Net:
  """A `Net` from a Flax Linen module.

  The module's `__call__(self, x)` may also take `train`, `training`, `is_training`, `deterministic` or
  `use_running_average`, and `step`. Every collection other than `params` becomes the state, updated when
  `train=True`. All random streams (`self.make_rng(...)`, dropout) derive from `key`.

  Args:
    module: A `flax.linen.Module` instance.
    options: Further keyword arguments of its `__call__`.

  Returns:
    The `Net`. A module that says how many stages it has, by `num_stages`, and takes `stage` in its `__call__`, gives it
    `Net.stages`; the parameters of a stage are those entries of the whole's that it uses.

  Raises:
    UserError: `module` is a class, or of another library; or, when applied, it draws random numbers without a key, or
      its state grows.

  >>> import flax.linen as nn
  >>> net = from_linen(nn.Dense(3))
  >>> params, state = net.init(jax.random.key(0), jnp.ones((2, 4)))
  >>> net.apply(params, state, jnp.ones((2, 4)))[0].shape
  (2, 3)
  """
  check_module("from_linen", module)
  if inspect.isclass(module):
    raise UserError(f"from_linen: found the class {module.__name__}, expected an instance: {module.__name__}(...).")
  count = 0 if "stage" in options else getattr(module, "num_stages", 0)
  stages = tuple(from_linen(module, **options, stage=stage) for stage in range(count))
  return Net(_InitLinen(module, options), _ApplyLinen(module, options), stages=stages)


@dataclasses.dataclass(frozen=True)
class _Linen:
  """A function of a module, equal where module and options are: heads of several tasks can so be known to be alike."""

  module: Any
  options: dict[str, Any]

  def __hash__(self) -> int:
    return hash(type(self.module))  # modules may have fields without a hash


class _InitLinen(_Linen):
  """`Net.init` of a module."""

  def __call__(self, key: jax.Array, x: Any) -> tuple[Params, State]:
    mode = _mode(self.module.__call__, train=False)
    variables = dict(self.module.init({"params": key}, x, **mode, **self.options))
    return variables.pop("params", {}), variables


class _ApplyLinen(_Linen):
  """`Net.apply` of a module."""

  def __call__(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False, step: Any = None):
    from flax.errors import InvalidRngError

    module = self.module
    rngs = None if key is None else {"params": key}
    mutable = list(state) if train else False
    try:
      mode = _mode(module.__call__, train, step) | self.options
      out = module.apply({"params": params, **state}, x, rngs=rngs, mutable=mutable, **mode)
    except InvalidRngError as error:
      if key is not None:
        raise
      raise UserError(f"{type(module).__name__} {_NEEDS_KEY}") from error
    if not train:
      return out, state
    after = dict(out[1])
    grown = [name for name in state if jax.tree.structure(after[name]) != jax.tree.structure(state[name])]
    if grown:
      raise UserError(
        f"{type(module).__name__} changes the structure of {', '.join(map(repr, grown))} when it trains, so that every "
        "step would be compiled anew: sow values into 'intermediates', which are dropped, or use self.variable."
      )
    return out[0], after


def from_nnx(module: Any) -> Net:
  """A `Net` from a Flax NNX module.

  Parameters and state cross as pure dictionaries, so the module itself is never mutated. Batch statistics and
  other variables are the state; random streams are re-seeded from `key` on each call; `module.train()` and
  `module.eval()` set the mode; a parameter `step` of `__call__` gets the step.

  Args:
    module: An `nnx.Module`, whose present weights `init` returns whatever its key, or a function
      `rngs -> nnx.Module`, built anew from `init`'s key.

  Returns:
    The `Net`.

  Raises:
    UserError: `module` is of another library; or, when applied in training, it draws random numbers without a key.

  >>> from flax import nnx
  >>> net = from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs))
  >>> params, state = net.init(jax.random.key(0), jnp.ones((2, 4)))
  >>> sorted(params)
  ['bias', 'kernel']
  """
  from flax import nnx

  check_module("from_nnx", module)

  def build(key: jax.Array) -> Any:
    return module if isinstance(module, nnx.Module) else module(nnx.Rngs(key))

  def split(built: Any) -> tuple[Any, Params, Any, State]:
    graph, *states = nnx.split(built, nnx.Param, nnx.RngState, ...)
    return graph, *map(nnx.to_pure_dict, states)

  def template(train: bool) -> tuple[Any, Any]:
    # train() and eval() write on the module, so they act on a copy, never on the caller's.
    is_instance = isinstance(module, nnx.Module)
    view = nnx.clone(module) if is_instance else nnx.eval_shape(build, jax.random.key(0))
    view.train() if train else view.eval()
    graph, _, rngs, _ = split(view)
    return graph, rngs

  templates = {train: template(train) for train in (False, True)}

  def init(key: jax.Array, x: Any) -> tuple[Params, State]:
    del x
    _, params, _, state = split(build(key))
    return _copy(params), _copy(state)

  def apply(params, state, x, *, key=None, train=False, step=None):
    graph, rngs = templates[train]
    if key is None and train and jax.tree.leaves(rngs):
      raise UserError(f"{type(module).__name__ if isinstance(module, nnx.Module) else 'this NNX module'} {_NEEDS_KEY}")
    merged = nnx.merge(graph, params, _seed(rngs, key), state)
    y = merged(x, **_mode(merged.__call__, train, step))
    nnx.pop(merged, nnx.Intermediate)  # sown values would change the structure of the state
    return y, split(merged)[3] if train else state

  return Net(init, apply)


def _seed(rngs: Any, key: jax.Array | None) -> Any:
  """The random streams of a module, each restarted from its own fold of `key`."""
  key = jax.random.key(0) if key is None else key
  leaves, treedef = jax.tree.flatten(rngs)

  def fresh(i, leaf):
    if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return jnp.zeros(leaf.shape, leaf.dtype)
    own = jax.random.fold_in(key, i)
    return jax.random.split(own, leaf.shape) if leaf.shape else own

  return jax.tree.unflatten(treedef, [fresh(i, leaf) for i, leaf in enumerate(leaves)])


def from_equinox(module: Any, *, batched: bool = False) -> Net:
  """A `Net` from an Equinox module.

  Equinox modules act on one example, so the call is mapped over the batch (axis name `"batch"`, as
  `eqx.nn.BatchNorm` expects). A `key` parameter of `__call__` gets one key per example, a `state` parameter the
  `eqx.nn.State`, a `step` parameter the step; `inference` flags follow `train`.

  Args:
    module: An `eqx.Module`, or a pair `(module, eqx.nn.State)` (see `eqx.nn.make_with_state`), whose present weights
      `init` returns whatever its key; or a function `key -> module` or `key -> (module, eqx.nn.State)`.
    batched: The module takes the whole batch itself; do not map.

  Returns:
    The `Net`. Its parameters are the module's floating-point arrays.

  >>> import equinox as eqx
  >>> net = from_equinox(lambda key: eqx.nn.Linear(4, 3, key=key))
  >>> params, state = net.init(jax.random.key(0), jnp.ones((2, 4)))
  >>> net.apply(params, state, jnp.ones((2, 4)))[0].shape
  (2, 3)
  """
  import equinox as eqx

  check_module("from_equinox", module[0] if isinstance(module, tuple) else module)

  def build(key: jax.Array) -> tuple[Any, Any]:
    built = module if isinstance(module, eqx.Module | tuple) else module(key)
    return built if isinstance(built, tuple) else (built, None)

  skeleton, model_state = eqx.filter_eval_shape(build, jax.random.key(0))
  static = eqx.filter(skeleton, lambda leaf: not isinstance(leaf, jax.ShapeDtypeStruct))
  names = inspect.signature(skeleton.__call__).parameters
  stateful = model_state is not None

  def init(key: jax.Array, x: Any) -> tuple[Params, State]:
    del x
    model, model_state = build(key)
    params, rest = eqx.partition(model, eqx.is_inexact_array)
    state = {"buffers": eqx.filter(rest, eqx.is_array), "state": model_state}
    return _copy(params), {name: _copy(value) for name, value in state.items() if jax.tree.leaves(value)}

  def apply(params, state, x, *, key=None, train=False, step=None):
    model = eqx.combine(params, state.get("buffers"), static) if "buffers" in state else eqx.combine(params, static)
    model = eqx.nn.inference_mode(model, value=not train)

    def call(example, example_key, model_state):
      options = {"key": example_key} if "key" in names else {}
      options |= {"step": step} if "step" in names else {}
      return model(example, model_state, **options) if stateful else (model(example, **options), model_state)

    if batched:
      # A copy: eqx.nn.State.set invalidates the object it is called on, here the caller's.
      y, model_state = call(x, key, jax.tree.map(lambda leaf: leaf, state.get("state")))
    else:
      keys = None if key is None else jax.random.split(key, jax.tree.leaves(x)[0].shape[0])
      mapped = jax.vmap(call, in_axes=(0, None if keys is None else 0, None), out_axes=(0, None), axis_name="batch")
      y, model_state = mapped(x, keys, state.get("state"))
    return y, {**state, "state": model_state} if stateful and train else state

  return Net(init, apply)
