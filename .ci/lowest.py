"""Prints the lowest versions that pyproject.toml allows, of the dependencies and of the extras named, for pip."""

import pathlib
import sys
import tomllib

project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
extras = [requirement for extra in sys.argv[1:] for requirement in project["optional-dependencies"][extra]]
print(*(requirement.replace(">=", "==") for requirement in project["dependencies"] + extras))
