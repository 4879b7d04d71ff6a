"""The command line, `mtl-jax` or `python -m mtl_jax`."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import tyro

from mtl_jax._core.checks import check_numbers
from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.quiet import Quiet
from mtl_jax.cli.commands import COMMANDS, commands_for
from mtl_jax.shard.processes import end, end_by_exception

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def run() -> None:
  """The program: `main`, and after an interrupt an end that waits for no thread."""
  Quiet()
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _first_interrupt)
  code = main()
  if code == INTERRUPTED:  # the run has been closed; whatever else still goes on is of no use any more
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  sys.exit(code)


def _first_interrupt(*_: Any) -> None:
  """Ctrl-C closes the run, which may take seconds; a second one ends the program wherever it is."""
  signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
  raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command.

  Args:
    argv: The words after `mtl-jax`; None: those of this process.

  Returns:
    The exit code: 0, 2 for mistakes of the user, told in one line, or 130 after Ctrl-C.
  """
  argv = list(sys.argv[1:] if argv is None else argv)
  warnings.showwarning = lambda message, *_, **__: print(f"mtl-jax: {message}", file=sys.stderr)
  command: Any = None
  try:
    command, dotted = _parse(argv)
    check_numbers({"--" + name.replace("_", "-"): value for name, value in vars(command).items()})
    command.execute(dotted)
  except UserError as error:
    print(f"mtl-jax: {error}", file=sys.stderr)
    end(2)
    return 2
  except KeyboardInterrupt:
    print("mtl-jax: interrupted; resume a run with --resume.", file=sys.stderr)
    end(INTERRUPTED)
    return INTERRUPTED
  except OSError as error:
    if error.filename is None:  # not of a file that the user has named
      end_by_exception()
      raise
    print(f"mtl-jax: cannot use {error.filename}: {error.strerror}.", file=sys.stderr)
    end(2)
    return 2
  except Exception as error:
    from mtl_jax.recipes import traceback_in

    if (told := traceback_in(getattr(command, "recipe", None), error)) is not None:
      print(f"mtl-jax: the recipe {command.recipe} failed:\n{told}", file=sys.stderr)
      end(2)
      return 2
    end_by_exception()
    raise
  return 0


def _parse(argv: list[str]) -> tuple[Any, dict[str, tuple[str, ...]]]:
  """The command, and the options of the parts it names: `{"balancer": ("--window", "50")}`."""
  if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
    known = ", ".join(COMMANDS)
    raise UserError(f"unknown command {argv[0]!r}{nearest(argv[0], COMMANDS)}: choose from {known}.")
  argv, dotted = _split_dotted(argv)
  _check_options(argv)
  command = tyro.extras.subcommand_cli_from_dict(
    commands_for(argv),
    prog="mtl-jax",
    description="Multi-task learning in JAX.",
    args=argv,
    config=(tyro.conf.FlagCreatePairsOff,),
  )
  return command, dotted


def _split_dotted(argv: list[str]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
  """Takes `--PART.OPTION value...` out of the arguments, for the part to parse by its own signature."""
  rest: list[str] = []
  dotted: dict[str, list[str]] = {}
  into = rest
  for word in argv:
    if word.startswith("--"):
      into = rest
      part, dot, option = word[2:].partition(".")
      if dot and part.replace("-", "").replace("_", "").isalnum():
        into = dotted.setdefault(part.replace("-", "_"), [])
        word = f"--{option}"
    into.append(word)
  return rest, {part: tuple(words) for part, words in dotted.items()}


def _check_options(argv: list[str]) -> None:
  """One clear line for an option that the command does not have."""
  if not argv or argv[0] not in COMMANDS:
    return
  fields = dataclasses.fields(commands_for(argv)[argv[0]])
  names = [f"no-{field.name}" if field.default is True else field.name for field in fields]
  known = [*("--" + name.replace("_", "-") for name in names), "--help"]
  for word in argv[1:]:
    option = word.partition("=")[0].replace("_", "-")
    if word.startswith("--") and option not in known:
      raise UserError(f"{argv[0]} has no option {option}{nearest(option, known)}: see mtl-jax {argv[0]} --help.")


if __name__ == "__main__":
  run()
