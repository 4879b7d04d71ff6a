"""A trained model as a service, for any server of ASGI."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mtl_jax._core.checks import check_numbers
from mtl_jax._core.extras import extra
from mtl_jax.recipes import Files
from mtl_jax.serve.limits import Limits
from mtl_jax.train import Trained

if TYPE_CHECKING:
  from starlette.applications import Starlette


def app(
  trained: Trained,
  files: Files | None = None,
  *,
  tasks: Sequence[str] | None = None,
  limits: Limits | None = None,
  about: Mapping[str, Any] | None = None,
) -> Starlette:
  """A trained model as an application that any server of ASGI runs.

  Examples of requests that come together are computed together, by one worker, in batches of a few fixed sizes, which
  are compiled when the application starts; until then `/health` and `/predict` answer 503. So do requests beyond what
  may wait. Nobody is asked who they are: to the open network it belongs behind a proxy that does.

  | | |
  |---|---|
  | `POST /predict` | JSON, or the body is a file as `mtl-jax predict` reads it and `?name=` its name |
  | `GET /card` | tasks, inputs, outputs, what the data say of themselves, versions |
  | `GET /health` | 200 where it answers, else 503 |
  | `GET /openapi.json` | the description of all this |
  | `GET /` | a page to try it |

  Args:
    trained: The model, of `mtl.load`, with its tasks.
    files: How files of users' own are read and answers written, as in `Recipe.files`; None: as arrays, `.npz`.
    tasks: The tasks to answer; None: all.
    limits: What the service allows; None: the defaults of `Limits`.
    about: What else the card says, as JSON.

  Returns:
    The application, of Starlette. It logs a line for each request to `logging.getLogger("mtl_jax.serve")`.

  Raises:
    UserError: There is no such task, a limit is out of range, or the extra `serve` is not installed.
  """
  with extra("serve", "a service needs an extra"):
    from mtl_jax.serve import _http
  from mtl_jax.export import deployed
  from mtl_jax.export.card import card_of
  from mtl_jax.serve._model import Model

  limits = limits or Limits()
  check_numbers(dataclasses.asdict(limits))
  model = deployed(trained, tasks)
  trained = trained.only(model.tasks)
  service = _http.Service(Model(trained, limits), files, {**card_of(model), **(about or {})})
  return _http.application(service)
