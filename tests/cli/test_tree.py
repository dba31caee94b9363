"""Every command exists, says in one line what it is for, and can be read about; help comes at once."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from collegium.cli.shell import Branch, Twig
from collegium.cli.tree import ROOT
from tests.cli.speak import speak

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def twigs(branch: Branch, path: str = "collegium") -> Iterator[tuple[str, Twig]]:
    for name, found in branch.below.items():
        if isinstance(found, Twig):
            yield f"{path} {name}", found
        else:
            yield from twigs(found, f"{path} {name}")


ALL = dict(twigs(ROOT))


@pytest.mark.parametrize("path", ALL)
def test_command_loads_and_has_help(path: str):
    found = ALL[path].load()
    assert isinstance(found, click.Command)
    assert found.name == path.split()[-1]
    spoken = speak(*path.split()[1:], "--help")
    assert spoken.code == 0
    assert (found.help or "").splitlines()[0][:20] in " ".join(spoken.out.split())


@pytest.mark.parametrize("path", ALL)
def test_command_and_its_options_stand_in_the_reference(path: str):
    page = PAGE.read_text()
    assert f"## `{path}" in page, f"describe it in {PAGE.name}"
    section = page.split(f"## `{path}", 1)[1].split("\n## ", 1)[0]
    shared = {"--json", "--quiet", "--yes", "--no-color", "--plain", "--debug"}
    options = {name for one in ALL[path].load().params if isinstance(one, click.Option) for name in one.opts} - shared
    assert [name for name in sorted(options) if f"`{name}" not in section] == []


def test_help_comes_at_once():
    best = 9.0
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "collegium.cli", "--help"], check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
    assert best < 0.25


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from collegium.cli.shell import execute; from collegium.cli.tree import collegium; execute(collegium, ['--help']);"
        "print(*sorted({'numpy', 'torch', 'pydantic', 'rich', 'pyarrow', 'yaml', 'sqlalchemy'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []
