"""The public names: all there, and none loaded before it is asked for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import collegium


@pytest.mark.parametrize("name", collegium.__all__)
def test_public_name_resolves(name: str):
    assert getattr(collegium, name).__name__ == name


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(collegium.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and str(node.module).startswith("collegium.")]
    assert {alias.name: node.module for node in imports for alias in node.names} == collegium.NAMES


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match="it offers Algorithm"):
        _ = collegium.Algorythm
    assert "__version__" in dir(collegium)
    assert collegium.__version__


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, collegium; print(*sorted({'numpy', 'torch', 'pydantic', 'fastapi', 'collegium.tree'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
