"""Counts the programs that XLA compiles."""

import jax

_events: list[str] = []


def _listen(event: str, *_, **__) -> None:
  if "backend_compile" in event:
    _events.append(event)


jax.monitoring.register_event_duration_secs_listener(_listen)


def compilations() -> int:
  """How many programs this process has compiled so far."""
  return len(_events)
