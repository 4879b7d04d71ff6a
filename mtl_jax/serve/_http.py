"""The service over HTTP, as an application of Starlette."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import importlib.metadata
import importlib.resources
import json
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.finite import finite
from mtl_jax.recipes import Files, Predicted
from mtl_jax.serve._batches import Full, Room
from mtl_jax.serve._examples import Examples, Reader
from mtl_jax.serve._model import Model
from mtl_jax.serve._openapi import openapi

log = logging.getLogger("mtl_jax.serve")
BODIES, READERS, DRAWN = 8, 2, 8
"""How many bodies of the largest size are held at once, how many are read at once, and how many examples are drawn."""
_LINGER = 2.0  # seconds in which the rest of a body that is too large is read, so that its sender reads the answer
_AGAIN = {"Retry-After": "1"}
_POLICY = (
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
  + ("base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
)


class Service:
  """One model, and what clients may ask of it."""

  def __init__(self, model: Model, files: Files | None, card: Mapping[str, Any]) -> None:
    """Begins."""
    self.model, self._limits = model, (limits := model.limits)
    self._records = Predicted.records if files is None else files.records
    self._show = None if files is None else files.show
    self._reader = Reader(model.trained, files, limits.max_bytes)
    self._requests, self._bodies = Room(limits.queue), Room(BODIES * limits.max_bytes)
    self._threads = ThreadPoolExecutor(READERS, "mtl-serve-read")
    version = importlib.metadata.version("mtl-jax")
    described = openapi(self._reader.paths, self._reader.needed, limits, self._show is not None, version)
    self._known = [one["name"] for one in described["paths"]["/predict"]["post"]["parameters"]]
    about = {**card, "reads_files": files is not None, "draws": self._show is not None}
    self._fixed = {"/card": rendered(about), "/openapi.json": rendered(described)}

  def routes(self) -> list[Route]:
    """What there is."""
    page = importlib.resources.files("mtl_jax.serve").joinpath("page.html").read_bytes()
    return [
      Route("/", _constant(page, "text/html; charset=utf-8", {"Content-Security-Policy": _POLICY})),
      Route("/health", self.health),
      Route("/predict", self.predict, methods=["POST"]),
      *(Route(path, _constant(body, "application/json")) for path, body in self._fixed.items()),
    ]

  @contextlib.asynccontextmanager
  async def working(self, _: Starlette) -> AsyncIterator[None]:
    """What goes on while the application is there."""
    async with self.model.working():
      yield
    self._threads.shutdown()

  async def health(self, request: Request) -> Response:
    """Whether the model answers."""
    status = "ready" if self.model.ready else "failed" if self.model.failed else "compiling"
    return answer({"status": status}, 200 if self.model.ready else 503, None if self.model.ready else _AGAIN)

  async def predict(self, request: Request) -> Response:
    """What the model says of examples."""
    if not self.model.ready:
      raise HTTPException(503, "the model is not ready yet: see /health.", _AGAIN)
    tasks, name, picture = self._parameters(request)
    length = _length(request, self._limits.max_bytes)
    with self._requests.holding(1), self._bodies.holding(length):
      async with asyncio.timeout(self._limits.timeout):
        body = await _body(request, self._limits.max_bytes)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
          read = functools.partial(self._reader.json, body, tasks)
        else:
          read = functools.partial(self._reader.file, body, name, tasks)
        examples = await self._in_thread(read)
        if len(examples.names) > self._limits.queue:
          raise HTTPException(413, f"there are {len(examples.names)} examples, expected at most {self._limits.queue}.")
        outputs = await self.model.answer(examples.arrays, len(examples.names), examples.tasks)
        return await self._in_thread(functools.partial(self._told, examples, outputs, picture))

  async def _in_thread(self, function: Callable[[], Any]) -> Any:
    """Runs something in one of a few threads; what has been given up before it began is not run."""
    return await asyncio.get_running_loop().run_in_executor(self._threads, function)

  def _parameters(self, request: Request) -> tuple[list[str], str, bool]:
    """The tasks, the name of the file, and whether a picture is wanted."""
    given = request.query_params
    for key in given:
      if key not in self._known:
        raise UserError(f"there is no parameter {key[:40]!r}{nearest(key[:40], self._known)}: {self._known}.")
      if key != "tasks" and len(given.getlist(key)) > 1:
        raise UserError(f"the parameter {key!r} is given {len(given.getlist(key))} times, expected once.")
    picture = given.get("picture", "false")
    if picture not in ("true", "false"):
      raise UserError(f"the parameter 'picture' is {picture[:40]!r}, expected true or false.")
    return given.getlist("tasks"), given.get("name", ""), picture == "true"

  def _told(self, examples: Examples, outputs: Mapping[str, Any], picture: bool) -> Response:
    """The answer to a request."""
    tasks = {name: self.model.trained.problem.tasks[name] for name in outputs}
    predicted = Predicted(examples.arrays, examples.names, tasks, outputs)
    found: dict[str, Any] = {"answers": list(self._records(predicted))}
    if picture and self._show is not None:
      with tempfile.TemporaryDirectory(prefix="mtl-serve-") as directory:
        file = Path(directory, "picture.png")
        self._show(file, predicted.first(DRAWN))
        found["picture"] = "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
    return answer(found)


def application(service: Service) -> Starlette:
  """The application of a service."""
  handlers = {
    HTTPException: lambda _, error: answer({"error": error.detail}, error.status_code, error.headers),
    UserError: lambda _, error: answer({"error": _line(error)}, 422),
    Full: lambda _, error: answer({"error": "there is too much to do: try again."}, 503, _AGAIN),
    TimeoutError: lambda _, error: answer({"error": "not answered in time: ask for less at once."}, 504),
    ClientDisconnect: lambda _, error: Response(status_code=400),
    Exception: lambda _, error: answer({"error": "something went wrong; the log of the service says what."}, 500),
  }
  made = Starlette(
    routes=service.routes(),
    lifespan=service.working,
    middleware=[Middleware(_Logged)],
    exception_handlers=handlers,  # pyright: ignore[reportArgumentType]
  )
  made.state.model = service.model
  return made


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
  """A value as JSON."""
  return Response(rendered(value), status, dict(headers or {}), "application/json")


def rendered(value: Any) -> bytes:
  """Strict JSON in UTF-8."""
  return json.dumps(finite(value), ensure_ascii=False, allow_nan=False).encode()


def _constant(body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> Callable[[Request], Any]:
  async def give(request: Request) -> Response:
    return Response(body, headers=dict(headers or {}), media_type=kind)

  return give


def _line(error: Exception) -> str:
  """A message in one line of bounded length."""
  told = " ".join(str(error).split())
  return told if len(told) <= 500 else told[:500] + "..."


def _length(request: Request, most: int) -> int:
  """How many bytes a body has, at most."""
  told = request.headers.get("content-length")
  return int(told) if told is not None and told.isdecimal() and int(told) < most else most


async def _body(request: Request, most: int) -> bytes:
  """The body, if it is not too large."""
  too_large = HTTPException(413, f"the body is larger than {most} bytes: divide it, or start the service with more.")
  told = request.headers.get("content-length", "0")
  if told.isdecimal() and int(told) > most and request.headers.get("expect", "").lower() == "100-continue":
    raise too_large  # before it is sent
  chunks, size, loop = list[bytes](), 0, asyncio.get_running_loop()
  with contextlib.suppress(TimeoutError):
    async with asyncio.timeout(None) as patience:
      async for chunk in request.stream():
        if size <= most < size + len(chunk):
          chunks.clear()
          patience.reschedule(loop.time() + _LINGER)
        size += len(chunk)
        if size <= most:
          chunks.append(chunk)
  if size > most:
    raise too_large
  return b"".join(chunks)


class _Logged:
  """Writes a line for each request, and says to browsers what they may not guess."""

  def __init__(self, app: ASGIApp) -> None:
    self._app = app

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
      await self._app(scope, receive, send)
      return
    begun, status = time.perf_counter(), 500

    async def noting(message: Message) -> None:
      nonlocal status
      if message["type"] == "http.response.start":
        status = message["status"]
        message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
      await send(message)

    try:
      await self._app(scope, receive, noting)
    finally:
      client = scope.get("client") or ("-", 0)
      path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
      took = 1000 * (time.perf_counter() - begun)
      log.info("%s %s %s %d %.1f ms", client[0], scope["method"], path, status, took)
