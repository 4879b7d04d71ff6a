"""The service described in OpenAPI, made of the card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtl_jax.serve.limits import Limits

_JSON = "application/json"
_ERROR = {"$ref": "#/components/schemas/Error"}


def openapi(
  inputs: Mapping[str, Any], tasks: Mapping[str, tuple[str, ...]], limits: Limits, pictures: bool, version: str
) -> dict[str, Any]:
  """The description.

  Args:
    inputs: Shape and dtype of one example of each input, by its path.
    tasks: The tasks, each with the paths of the inputs that it needs.
    limits: What the service allows.
    pictures: Whether it draws.
    version: Of this library.
  """
  names = {"type": "string", "enum": list(tasks)}
  some = {"type": "array", "items": names, "minItems": 1, "description": "The tasks to answer."}
  needed = [{"required": list(paths)} for paths in dict.fromkeys(tasks.values())]
  example = {
    "type": "object",
    "properties": {path: _input(leaf) for path, leaf in inputs.items()},
    "additionalProperties": False,
    **(needed[0] if len(needed) == 1 else {"anyOf": needed}),
  }
  asked = {
    "type": "object",
    "properties": {
      "examples": {"type": "array", "items": example, "minItems": 1, "maxItems": limits.queue},
      "tasks": some,
    },
    "required": ["examples"],
    "additionalProperties": False,
  }
  answers = {"type": "array", "items": {"type": "object"}, "description": "One for each example, in their order."}
  picture = {"type": "string", "contentEncoding": "base64", "description": "A PNG as the URL of an image."}
  found = {
    "type": "object",
    "properties": {"answers": answers, **({"picture": picture} if pictures else {})},
    "required": ["answers"],
    "additionalProperties": False,
  }
  parameters = [
    _parameter("name", {"type": "string"}, "The name of a file, whose ending tells what it is."),
    _parameter("tasks", {**some, "description": "The tasks to answer, beside those in the body."}),
    *([_parameter("picture", {"type": "boolean"}, "Draw what is predicted.")] if pictures else []),
  ]
  predict = {
    "operationId": "predict",
    "summary": "What the model says of examples.",
    "parameters": parameters,
    "requestBody": {
      "required": True,
      "content": {
        _JSON: {"schema": {"$ref": "#/components/schemas/Asked"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
      },
    },
    "responses": {
      "200": _answer("What each task says of each example.", {"$ref": "#/components/schemas/Found"}),
      "413": _answer(f"More than {limits.max_bytes} bytes, or than {limits.queue} examples.", _ERROR),
      "422": _answer("What was sent cannot be read; the line says what was found and what is expected.", _ERROR),
      "503": _answer("Too much to do, or not ready yet: try again.", _ERROR, "Retry-After"),
      "504": _answer(f"Not answered within {limits.timeout:g} seconds.", _ERROR),
    },
  }
  anything = {"type": "object"}
  status = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}
  return {
    "openapi": "3.1.0",
    "info": {"title": "A model of mtl_jax", "version": version},
    "paths": {
      "/predict": {"post": predict},
      "/card": _get("What the model reads and says.", {"200": _answer("The card.", anything)}),
      "/health": _get(
        "Whether it answers.",
        {"200": _answer("It does.", status), "503": _answer("It does not, or not yet.", status, "Retry-After")},
      ),
      "/openapi.json": _get("This description.", {"200": _answer("It.", anything)}),
      "/": _get("A page to try it.", {"200": {"description": "The page.", "content": {"text/html": {}}}}),
    },
    "components": {
      "schemas": {
        "Asked": asked,
        "Found": found,
        "Error": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]},
      }
    },
  }


def _input(leaf: Any) -> dict[str, Any]:
  """An input as nested lists, or as the base64 of its bytes."""
  lists = _number(leaf.dtype)
  for size in reversed(leaf.shape):
    lists = {"type": "array", "items": lists, "minItems": size, "maxItems": size}
  size = math.prod(leaf.shape) * leaf.dtype.itemsize
  told = f"Little-endian {leaf.dtype} in shape {list(leaf.shape)}, finite."
  text = {"type": "string", "contentEncoding": "base64", "pattern": _base64(size), "description": told}
  return {"anyOf": [lists, text]}


def _base64(size: int) -> str:
  """The pattern of the base64 of so many bytes."""
  any_of = "[A-Za-z0-9+/]"
  rest = ("", f"{any_of}[AQgw]==", f"{any_of}{{2}}[AEIMQUYcgkosw048]=")[size % 3]
  return f"^{any_of}{{{size // 3 * 4}}}{rest}$"


def _number(dtype: Any) -> dict[str, Any]:
  if np.issubdtype(dtype, np.bool_):
    return {"type": "boolean"}
  limits = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else jnp.finfo(dtype)
  kind = int if np.issubdtype(dtype, np.integer) else float
  name = "integer" if kind is int else "number"
  return {"type": name, "minimum": kind(limits.min), "maximum": kind(limits.max)}


def _parameter(name: str, schema: dict[str, Any], told: str = "") -> dict[str, Any]:
  return {"name": name, "in": "query", "schema": schema, **({"description": told} if told else {})}


def _answer(told: str, schema: dict[str, Any], *headers: str) -> dict[str, Any]:
  named = {name: {"schema": {"type": "integer"}} for name in headers}
  return {"description": told, "content": {_JSON: {"schema": schema}}, **({"headers": named} if named else {})}


def _get(told: str, responses: dict[str, Any]) -> dict[str, Any]:
  return {"get": {"summary": told, "responses": responses}}
