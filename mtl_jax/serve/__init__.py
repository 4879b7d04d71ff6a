"""A trained model as a service over HTTP, by the extra `serve`: what `mtl-jax serve RUN` starts.

- `app`: the service as an application, for any server of ASGI.
- `Limits`: what it allows.
- `run`: serves an application until it is told to stop.
"""

from mtl_jax.serve.app import app
from mtl_jax.serve.limits import Limits
from mtl_jax.serve.run import run

__all__ = ["Limits", "app", "run"]
