"""Damaged and hostile files, given to everything that reads files: `python benchmarks/fuzz.py`, some minutes.

Good files of each kind are cut, spliced, overwritten and repeated at random, JSON also gets other values, and each is
then read. What may happen is a result or a `UserError`, within some seconds; nothing else. Reading must leave all files
as they were and run nothing: a hook of Python's watches for programs started, connections, and classes that a pickle
asks for. Writes `benchmarks/results/fuzz.md`.
"""

from __future__ import annotations

import collections
import copy
import functools
import io
import json
import random
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optax
import tyro
from _machine import describe, write
from _markdown import table

import mtl_jax as mtl
from mtl_jax._core.npz import read_npz
from mtl_jax.data import photos, sounds, source
from mtl_jax.data import table as tables
from mtl_jax.experiment.finished import Finished
from mtl_jax.experiment.runs import Run
from mtl_jax.recipes import Recipe, Splits
from mtl_jax.train.run_dir import read_config, read_data

SECONDS = 20.0
WORDS = [b"\xff" * 8, b"\0" * 8, struct.pack("<q", 2**62), b"../../x/", b'{"a":[1,', b"nan,inf,"]
VALUES = [None, -1, 0, 1e308, 2**70, "", "../../x", "__import__('os').system('x')", [], {}, [[]], True, "\0", "é" * 5]
_SAID: list[str] = []
_WATCHED = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "pickle.find_class"}


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
  if event in _WATCHED:
    _SAID.append(f"{event} {arguments[:2]}")


def damaged(content: bytes, rng: random.Random) -> bytes:
  """The content with one to three kinds of damage."""
  found = bytearray(content)
  for _ in range(rng.randint(1, 3)):
    at, length = rng.randrange(len(found) + 1), rng.choice([1, 2, 4, 64, 512])
    match rng.randrange(7):
      case 0:
        del found[at:]
      case 1:
        del found[at : at + length]
      case 2:
        found[at:at] = rng.randbytes(length)
      case 3:
        found[at : at + length] = rng.randbytes(length)
      case 4:
        found[at:at] = found[at : at + length] * rng.randint(1, 50)
      case 5:
        found[at : at + 8] = rng.choice(
          [b"\xff" * 8, b"\0" * 8, struct.pack("<q", 2**62), b"../../x/", b'{"a":[1,', b"nan,inf,"]
        )
      case _:
        if found:
          found[min(at, len(found) - 1)] ^= 1 << rng.randrange(8)
  return bytes(found)


def other_json(value: Any, rng: random.Random) -> Any:
  """JSON with one value, anywhere in it, replaced, removed or doubled."""
  value = copy.deepcopy(value)
  node, path = value, []
  while isinstance(node, dict | list) and node and (not path or rng.random() < 0.8):
    key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
    path.append((node, key))
    node = node[key]
  if not path:
    return rng.choice([None, [], 3, "x", {}])
  holder, key = path[-1]
  match rng.randrange(4):
    case 0:
      del holder[key]
    case 1 if isinstance(holder, dict):
      holder[rng.choice(["", "../up", "a/b", "\0"])] = holder.pop(key)
    case _:
      holder[key] = rng.choice(VALUES)
  return value


class Kind:
  """A kind of file: a good one, and what reads it."""

  def __init__(self, make: Callable[[Path], Path], read: Callable[[Path], Any], is_json: bool = False):
    self.make, self.read, self.is_json = make, read, is_json


def _text(name: str, text: str) -> Callable[[Path], Path]:
  def make(folder: Path) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path

  return make


def _bytes(name: str, content: Callable[[], bytes]) -> Callable[[Path], Path]:
  def make(folder: Path) -> Path:
    (folder / name).write_bytes(content())
    return folder / name

  return make


def _npz() -> bytes:
  file = io.BytesIO()
  np.savez(file, x=np.arange(12.0).reshape(4, 3), **{"y/z": np.arange(4)})
  return file.getvalue()


def _wav() -> bytes:
  file = io.BytesIO()
  with wave.open(file, "wb") as sound:
    sound.setnchannels(2), sound.setsampwidth(2), sound.setframerate(8000)
    sound.writeframes(np.random.default_rng(0).integers(-9999, 9999, 1600).astype("<i2").tobytes())
  return file.getvalue()


def _image(form: str) -> bytes:
  from PIL import Image

  file = io.BytesIO()
  Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)).save(file, form)
  return file.getvalue()


def _parquet() -> bytes:
  import pyarrow as pa
  import pyarrow.parquet

  file = io.BytesIO()
  pa.parquet.write_table(pa.table({"a": [1.0, 2.0, None] * 20, "b": ["x", "y", "z"] * 20}), file)
  return file.getvalue()


def _safetensors() -> bytes:
  import safetensors.numpy

  return safetensors.numpy.save({"a/b": np.ones((3, 4), np.float32), "c": np.arange(5)})


def _torch() -> bytes:
  """A file of PyTorch's, in its zip form, made without it."""
  tensor = (
    b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\x00\x00\x00wq\x02ctorch._utils\n_rebuild_tensor_v2\nq\x03"
    b"((X\x07\x00\x00\x00storageq\x04ctorch\nFloatStorage\nq\x05X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07K\x06tq\x08"
    b"QK\x00K\x02K\x03\x86q\tK\x03K\x01\x86q\n\x89h\x00)Rq\x0btq\x0cRq\rs."
  )
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w") as archive:
    archive.writestr("m/data.pkl", tensor)
    archive.writestr("m/data/0", np.arange(6, dtype=np.float32).tobytes())
    archive.writestr("m/version", "3\n")
  return file.getvalue()


def _csv() -> str:
  rows = "".join(f"{i},{i * 0.5},{'ab'[i % 2]},2024-01-{i % 28 + 1:02d},yes\n" for i in range(60))
  return "id,size,kind,day,ok\n" + rows


CONLLU = (
  "# text = a\n" + "1\tThe\tthe\tDET\tDT\tDefinite=Def\t2\tdet\t_\t_\n2\tdog\tdog\tNOUN\tNN\t_\t0\troot\t_\t_\n\n" * 3
)


@functools.cache
def _run() -> Path:
  """A small run."""
  import flax.linen as nn

  rng = np.random.default_rng(0)
  x = rng.normal(size=(60, 3)).astype(np.float32)
  data = {"x": x, "a": x[:, 0], "b": (x[:, 1] > 0).astype(np.int32)}
  heads = {"a": mtl.from_linen(nn.Dense(1)), "b": mtl.from_linen(nn.Dense(2))}
  recipe = Recipe(
    name="small",
    summary="Small.",
    data=lambda seed: Splits(data, data, data, about={"classes": ["no", "yes"]}),
    net=lambda names: mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), heads),
    tasks={"a": mtl.tasks.regression("a"), "b": mtl.tasks.classification("b", 2)},
    optimizer=lambda rate, steps: optax.adam(rate),
    learning_rate=1e-2,
    steps=4,
    batch_size=8,
    eval_every=2,
  )
  place = Path(tempfile.mkdtemp()) / "run"
  _run.recipe = recipe  # pyright: ignore[reportFunctionMemberAccess]
  mtl.experiment.train_run(mtl.experiment.configure(recipe), recipe.data(0), run_dir=place, progress=False)
  return place


def _of_run(name: str) -> Kind:
  """A file of a run directory, read by whatever opens the run."""

  def make(folder: Path) -> Path:
    shutil.copytree(_run(), folder / "run", dirs_exist_ok=True)
    return folder / "run" / name

  def read(path: Path) -> Any:
    read_config(path.parent), read_data(path.parent)
    recipe = _run.recipe  # pyright: ignore[reportFunctionMemberAccess]
    return mtl.experiment.open_trained(path.parent, recipe, warn=lambda line: None).predict(
      {"x": np.ones((2, 3), np.float32)}
    )

  return Kind(make, read, is_json=True)


def _treebank(folder: Path) -> Path:
  """Its three parts, of which the first is damaged."""
  return [_text(f"ud_ewt/en_ewt-ud-{part}.conllu", CONLLU)(folder) for part in ("train", "dev", "test")][0]


def _finished(folder: Path) -> Path:
  Finished(folder).put("equal", 0, Run({"a": {"mae": 0.5}}, [{"kind": "valid", "step": 1}], 0.1, 5))
  (path,) = (folder / "runs").glob("*.json")
  return path


def _read_finished(path: Path) -> Any:
  return Finished(path.parent.parent).get("equal", 0)


KINDS: dict[str, Kind] = {
  "CSV": Kind(_text("t.csv", _csv()), tables.read),
  "Parquet": Kind(_bytes("t.parquet", _parquet), tables.read),
  "npz": Kind(_bytes("a.npz", _npz), lambda path: read_npz(path, ["x"], ["y/z"])),
  "wav": Kind(_bytes("a.wav", _wav), lambda path: sounds.read(path, 8000, 1.0)),
  "PNG": Kind(_bytes("a.png", lambda: _image("PNG")), lambda path: photos.read(path, (16, 16))),
  "JPEG": Kind(_bytes("a.jpg", lambda: _image("JPEG")), lambda path: photos.read(path, (16, 16))),
  "safetensors": Kind(_bytes("a.safetensors", _safetensors), mtl.transfer.read_safetensors),
  "PyTorch": Kind(_bytes("a.pth", _torch), mtl.transfer.read_torch),
  "CoNLL-U": Kind(_treebank, lambda path: source.ud_ewt(path.parent.parent)),
  "config.json of a run": _of_run("config.json"),
  "data.json of a run": _of_run("data.json"),
  "calibration.json of a run": _of_run("calibration.json"),
  "test.json of a run": _of_run("test.json"),
  "metrics.jsonl of a run": _of_run("metrics.jsonl"),
  "a finished run of a comparison": Kind(
    _finished, lambda path: Finished(path.parent.parent).get("equal", 0), is_json=True
  ),
}


def main(count: int = 5000, seed: int = 0, kinds: tuple[str, ...] = tuple(KINDS)) -> None:
  """Reads damaged files.

  Args:
    count: How many in all.
    seed: Of the damage.
    kinds: Of which kinds.
  """
  sys.addaudithook(_watch)
  warnings.simplefilter("ignore")
  rng, rows, worst = random.Random(seed), [], 0.0
  for name in kinds:
    kind, ends = KINDS[name], collections.Counter()
    with tempfile.TemporaryDirectory() as outer:
      folder = Path(outer, "in", "here")
      folder.mkdir(parents=True)
      path = kind.make(folder)
      good = path.read_bytes()
      kind.read(path)  # as it is, it can be read
      _SAID.clear()
      for number in range(count // len(kinds)):
        bad = damaged(good, rng)
        if kind.is_json and path.suffix == ".json" and rng.random() < 0.7:
          bad = json.dumps(other_json(json.loads(good), rng)).encode()
        path.write_bytes(bad)
        before, begun = _listing(Path(outer)), time.perf_counter()
        try:
          kind.read(path)
          end = "read"
        except mtl.UserError as error:
          end = "one line" if "\n" not in str(error).strip() else "anything else"
        except Exception:
          end = "anything else"
          print(f"{name} {number}: {traceback.format_exc()[-700:]}", flush=True)
        seconds = time.perf_counter() - begun
        worst = max(worst, seconds)
        if seconds > SECONDS or _SAID or _listing(Path(outer)) != before:
          print(f"{name} {number}: {seconds:.1f} s, {_SAID}, {_listing(Path(outer)) ^ before}", flush=True)
          end = "anything else"
          _SAID.clear()
        ends[end] += 1
    rows.append([name, *(str(ends[end]) for end in ("read", "one line", "anything else"))])
    print(rows[-1], flush=True)
  rows.append(["all", *(str(sum(int(row[i]) for row in rows)) for i in (1, 2, 3))])
  text = table(["file", "read all the same", "one clear line", "anything else"], rows)
  write("fuzz.md", f"# Damaged files\n\n{__doc__}\n{describe()} The slowest took {worst:.2f} s.\n\n{text}\n")


def _listing(folder: Path) -> set[tuple[str, int]]:
  """All files with their sizes."""
  return {(str(path), path.stat().st_size) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


if __name__ == "__main__":
  tyro.cli(main)
