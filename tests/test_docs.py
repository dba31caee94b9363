"""What the documentation shows is true: every code block runs, every page can be found, every decision has its form.

A page is one session. Its blocks run in order in one empty folder: ```python in one namespace (or as a doctest where it
has `>>>`), ```bash as a script, ```console as `$ commands` whose shown output must match. A block with a title, as in
```yaml title="study.yaml", is written to that file. `<!-- not run: reason -->` on the line above leaves a block out.
"""

import contextlib
import doctest
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READ = [page for page in [ROOT / "README.md", *PAGES] if page.exists()]
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

FENCE = re.compile(r"^(?P<indent> *)```(?P<head>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)
PORT = re.compile(r"(?<=://127\.0\.0\.1:)[0-9]+")  # on a page; a test puts a free one in its place, for somebody may have that one
EXCUSE = re.compile(r"<!--\s*not run:\s*\S.*-->\s*\Z")


class Block(NamedTuple):
    line: int
    language: str
    title: str
    body: str


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page that are to be run or written.

    >>> blocks('```python\\n1 + 1\\n```\\n<!-- not run: needs a hospital -->\\n```bash\\nrm -r x\\n```\\n')
    [Block(line=1, language='python', title='', body='1 + 1\\n')]
    """
    found = []
    for fence in FENCE.finditer(text):
        if EXCUSE.search(text[: fence.start()]):
            continue
        language, _, rest = fence["head"].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        body = re.sub(f"^{fence['indent']}", "", fence["body"], flags=re.MULTILINE)
        found.append(Block(text.count("\n", 0, fence.start()) + 1, language, title[1] if title else "", body))
    return found


def run_python(block: Block, page: str, names: dict[str, Any]) -> None:
    if ">>>" in block.body:
        test = doctest.DocTestParser().get_doctest(block.body, names, page, page, block.line)
        test.globs = names  # the parser copies them; a page is one session
        report: list[str] = []
        failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append, clear_globs=False)
        assert not failed, "".join(report)
    else:
        exec(compile("\n" * block.line + block.body, page, "exec"), names)


def run_shell(command: str, folder: Path) -> str:
    """What the command prints, run with the project's own environment first on the path and a home of its own."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("COLLEGIUM_", "PYTHON"))}
    env = keep | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder), "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command!r} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def run_console(block: Block, folder: Path) -> None:
    for part in re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        command = [lines.pop(0)]
        while command[-1].endswith("\\") and lines:
            command.append(lines.pop(0).removeprefix("> "))
        want, got = "\n".join(lines).strip(), run_shell("\n".join(command), folder).strip()
        if want:
            assert doctest.OutputChecker().check_output(want + "\n", got + "\n", FLAGS), f"wanted:\n{want}\ngot:\n{got}"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """A page that fails half-way leaves no process behind in its folder: a coordinator would hold its port for the next page."""
    yield
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == tmp_path and int(process.name) != os.getpid():
                os.kill(int(process.name), signal.SIGTERM)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_code_block_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(PORT.sub(str(free_port()), page.read_text())):
        if block.title:
            target = tmp_path / block.title
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.body)
        elif block.language in {"python", "pycon"}:
            run_python(block, str(page), names)
        elif block.language in {"bash", "sh"}:
            run_shell(block.body, tmp_path)
        elif block.language == "console":
            run_console(block, tmp_path)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_a_page_that_lies_is_caught(tmp_path: Path):
    with pytest.raises(AssertionError, match="wanted"):
        run_console(Block(1, "console", "", "$ echo one\ntwo\n"), tmp_path)
    with pytest.raises(AssertionError, match="ended with 3"):
        run_shell("exit 3", tmp_path)
    with pytest.raises(AssertionError, match="Expected"):
        run_python(Block(1, "python", "", ">>> 1 + 1\n3\n"), "page", {})


def leaves(nav: Any) -> list[str]:
    match nav:
        case str():
            return [nav]
        case dict():
            return [leaf for part in nav.values() for leaf in leaves(part)]
        case _:
            return [leaf for part in nav for leaf in leaves(part)]


def test_every_page_is_in_the_contents_once():
    nav = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(nav) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize("page", sorted({*ROOT.glob("*.md"), *PAGES}), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_our_own_files_lead_somewhere(page: Path):
    text = FENCE.sub("", page.read_text())
    assert [target for target in LINK.findall(text) if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_decision_has_its_form(page: Path):
    text = page.read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences", "What would change our mind"]
    assert len(text.splitlines()) <= 60
    assert text.startswith(f"# {page.stem[:4]} ")


def test_decisions_are_numbered_from_one_without_gaps():
    assert [int(page.stem[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize(("name", "lines"), [("CONTRIBUTING.md", 60), ("ARCHITECTURE.md", 200)])
def test_page_is_short_enough_to_be_read(name: str, lines: int):
    if not (ROOT / name).exists():
        pytest.skip(f"{name} is not written yet")
    assert len((ROOT / name).read_text().splitlines()) <= lines
