"""`Net`, a trunk, a head or a whole multi-task model as pure functions."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.named import described
from mtl_jax.terms import Term

Params = Any
State = Any


@dataclasses.dataclass(frozen=True)
class Cut:
  """A multi-task net cut at the shared representation, where task gradients are cheapest to take.

  Attributes:
    trunk: `trunk(params["shared"], state["shared"], x, *, key, train, step) -> (features, state)`.
    heads: For each task `head(params["task"][name], state["task"][name], features, *, key, train, step)
      -> (prediction, state)`.

  As with `Net`, each gets those of the keywords that it asks for.
  """

  trunk: Callable[..., tuple[Any, State]]
  heads: Mapping[str, Callable[..., tuple[Any, State]]]

  def __post_init__(self) -> None:
    """Lets both halves take all keywords."""
    object.__setattr__(self, "trunk", asked(self.trunk))
    object.__setattr__(self, "heads", {name: asked(head) for name, head in self.heads.items()})


@dataclasses.dataclass(frozen=True)
class Net:
  """A trunk, a head or a whole multi-task model: pure functions.

  Attributes:
    init: `init(key, x) -> (params, state)`; `x` is an example batch, (B, ...). `state` holds what changes
      without gradients (batch statistics) and is an empty dict when there is none.
    apply: `apply(params, state, x, *, key=None, train=False, step=None) -> (y, state)`. It gets those of the keywords
      that it asks for. `step` is the number of steps taken, int32, for what follows a schedule, such as a temperature;
      None outside of training, where the schedule is at its end.
    cut: Only for multi-task nets whose `apply` is "trunk, then independent heads": the two halves. With it
      the engines differentiate every head once instead of once per task.
    terms: What the net wants to be small beside the tasks' losses, by name: see `mtl.terms`.
    report: `report(params, state) -> {name: array}`, what metrics and logs show of the net, such as gates.
    stages: For trunks that can be taken apart: nets which, one after the other, do what this one does, for
      architectures that work between them. Their parameters are their own.

  A multi-task net maps `x` to `{task: prediction}`, and its `params` and `state` are both
  `{"shared": ..., "task": {name: ...}}`.
  """

  init: Callable[..., tuple[Params, State]]
  apply: Callable[..., tuple[Any, State]]
  cut: Cut | None = None
  terms: Mapping[str, Term] = dataclasses.field(default_factory=dict)
  report: Callable[[Params, State], Mapping[str, Any]] = lambda params, state: {}
  stages: tuple[Net, ...] = ()

  def __post_init__(self) -> None:
    """Lets `apply` take all keywords; raises a `UserError` for a term of features without a `cut`."""
    object.__setattr__(self, "apply", asked(self.apply))
    for name, term in self.terms.items():
      if term.of in ("features", "gates") and self.cut is None:
        raise UserError(f"term {name!r} reads features, and this net has no cut between trunk and heads.")

  def only(self, names: Sequence[str]) -> Net:
    """The net with some of its tasks.

    Args:
      names: Those to keep.

    Returns:
      The net. It takes the parameters and the state of the whole net, and gives back the state in the same form; where
      the net has a `cut`, nothing else of them than trunk and these heads is needed. Terms that read the predictions
      of other tasks are left out.

    Raises:
      UserError: No names, or one that is no task of the net; a net without a cut says so when it is applied.

    >>> import flax.linen as nn, jax.numpy as jnp, mtl_jax as mtl
    >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), {n: mtl.from_linen(nn.Dense(1)) for n in ("a", "b")})
    >>> params, state = net.init(jax.random.key(0), jnp.ones((2, 3)))
    >>> sorted(net.only(["a"]).apply(params, state, jnp.ones((2, 3)))[0])
    ['a']
    """
    names = list(names)
    if not names:
      raise UserError("only needs at least one task, found none.")
    terms = {name: term for name, term in self.terms.items() if term.of != "predictions"}

    def chosen(known):
      for name in names:
        if name not in known:
          raise UserError(f"only: the net has no task {name!r}{nearest(name, known)}: choose from {', '.join(known)}.")
      return {name: known[name] for name in names}

    def init(key, x):
      params, state = self.init(key, x)
      return {**params, "task": chosen(params["task"])}, {**state, "task": chosen(state["task"])}

    if self.cut is not None:
      cut = dataclasses.replace(self.cut, heads=chosen(self.cut.heads))
      return dataclasses.replace(from_cut(init, cut), terms=terms, report=self.report)

    def apply(params, state, x, **context):
      predictions, state = self.apply(params, state, x, **context)
      return chosen(predictions), state

    return Net(self.init, apply, terms=terms, report=self.report)


_CONTEXT = ("key", "train", "step")


def asked(call: Callable[..., Any]) -> Callable[..., Any]:
  """`call` as a function of all keywords of `Net.apply`, of which it gets those that it asks for."""
  parameters = inspect.signature(call).parameters
  if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
    return call
  known = [name for name in _CONTEXT if name in parameters]
  if len(known) == len(_CONTEXT):
    return call

  @functools.wraps(call)
  def with_asked(params, state, x, **context):
    unknown = [name for name in context if name not in _CONTEXT]
    return call(params, state, x, **{name: context[name] for name in (*known, *unknown) if name in context})

  del with_asked.__wrapped__  # its signature is that of all keywords
  return with_asked


def from_cut(init: Callable[..., tuple[Params, State]], cut: Cut) -> Net:
  """The multi-task `Net` whose `apply` runs `cut.trunk`, then every head on its features."""

  def apply(params, state, x, *, key=None, train=False, step=None):
    keys, mode = keys_of(key, cut), {"train": train, "step": step}
    features, shared = cut.trunk(params["shared"], state["shared"], x, key=keys["shared"], **mode)
    outputs = {
      name: head(params["task"][name], state["task"][name], features, key=keys["task"][name], **mode)
      for name, head in cut.heads.items()
    }
    predictions = {name: y for name, (y, _) in outputs.items()}
    return predictions, {"shared": shared, "task": {name: s for name, (_, s) in outputs.items()}}

  return Net(init, apply, cut)


def keys_of(key: jax.Array | None, cut: Cut) -> dict[str, Any]:
  """One key for the trunk and one per head, laid out like the parameters."""
  if key is None:
    return {"shared": None, "task": dict.fromkeys(cut.heads)}
  trunk, *heads = jax.random.split(key, 1 + len(cut.heads))
  return {"shared": trunk, "task": dict(zip(cut.heads, heads, strict=True))}


_ADAPTERS = {"flax.linen": "from_linen", "flax.nnx": "from_nnx", "equinox": "from_equinox"}


def adapter_of(module: Any) -> str | None:
  """The function that makes a `Net` of a module, or of its class; None: it is of no library known."""
  kind = module if inspect.isclass(module) else type(module)
  places = [f"{base.__module__}." for base in kind.__mro__]  # read off the class, so that no library is imported
  found = (adapter for place, adapter in _ADAPTERS.items() if any(p.startswith(f"{place}.") for p in places))
  return next(found, None)


def check_net(what: str, given: Any) -> None:
  """Raises a `UserError` for what is no `Net`, which names the adapter where it is a module of a known library."""
  if isinstance(given, Net):
    return
  adapter, name = adapter_of(given), given.__name__ if inspect.isclass(given) else type(given).__name__
  advice = f"mtl.{adapter}({name}(...))" if adapter else "mtl.from_linen(module), or Net(init, apply)"
  raise UserError(f"{what} is {described(given)}, expected a Net: {advice}.")


def check_module(adapter: str, module: Any) -> None:
  """Raises a `UserError` for a module that another adapter is for."""
  other = adapter_of(module)
  if other not in (None, adapter):
    raise UserError(f"{adapter}: found {described(module)}, which is for another: mtl.{other}(...).")
