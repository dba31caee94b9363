"""What a user gets from `pip install collegium`: a whole wheel, that works with the base packages alone."""

import importlib.metadata as metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.test_architecture import FILES, ROOT, SRC, installed, module_name, source

NOT_IN_THE_BASE = ("collegium.data", "collegium.recipes", "collegium.models", "collegium.splitworker", "collegium.site")

BLOCK = """
import sys
blocked = set({blocked!r})

class Block:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{{name}} is not in the base install", name=name)

sys.meta_path.insert(0, Block)
"""


def run_on_the_base(code: str) -> str:
    """Run code as if nothing but the base packages were installed."""
    have = set(installed())
    names = metadata.packages_distributions()
    blocked = sorted(name for name, owners in names.items() if not {owner.lower().replace("_", "-") for owner in owners} & have)
    done = subprocess.run([sys.executable, "-c", BLOCK.format(blocked=blocked) + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_not_in_the_base_cannot_be_imported():
    with pytest.raises(AssertionError, match="not in the base install"):
        run_on_the_base("import pytest")


@pytest.mark.slow
def test_every_module_outside_the_hospital_rooms_imports_on_the_base():
    wanted = [name for name in map(module_name, FILES) if not name.startswith(NOT_IN_THE_BASE) and not name.endswith("__main__")]
    run_on_the_base("".join(f"import {name}\n" for name in wanted))


@pytest.mark.slow
def test_the_command_runs_on_the_base():
    if not source("collegium.cli").exists():
        pytest.skip("collegium.cli is not written yet")
    run_on_the_base("import collegium.cli\nsys.argv = ['collegium', '--help']\ncollegium.cli.main()")


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("collegium-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = {path for path in SRC.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert held == {str(path.relative_to(SRC.parent)) for path in tracked}
    assert "collegium/py.typed" in held


def test_the_package_carries_the_readme():
    if not (ROOT / "README.md").exists():
        pytest.skip("README.md is not written yet")
    assert 'readme = "README.md"' in (ROOT / "pyproject.toml").read_text(), "name it in [project]"
