"""The house rules of ARCHITECTURE.md and STYLE, as numbers that cannot drift."""

import ast
import configparser
import importlib.metadata as metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "collegium"
FILES = sorted(SRC.rglob("*.py"))
PURE = ["algorithms", "privacy", "split", "engine", "tree", "table", "wire", "identity", "canonical", "merkle", "charts", "words"]

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def source(module: str) -> Path:
    base = SRC.parent.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def test_every_import_points_down():
    """The contracts of .importlinter: layers, pure rooms, a blind coordinator, no pickle."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_pure_room_is_under_the_pure_contract():
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    named = {line.removesuffix(".**") for line in contracts["importlinter:contract:pure"]["source_modules"].split()}
    rooms = {f"collegium.{room}" for room in PURE if source(f"collegium.{room}").exists()}
    assert rooms - named == set(), "add it to source_modules of the contract 'pure'"


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("collegium", cache_dir=None)


def closure(module: str) -> set[str]:
    """Every module that importing `module` loads, the packages they stand in included; but for the table of names."""
    met = {module} | graph().find_upstream_modules(module)
    met |= {name.rsplit(".", depth)[0] for name in met for depth in range(1, name.count(".") + 1)}
    return met - {"collegium"}


@pytest.mark.parametrize(
    ("module", "lines"),
    [
        ("collegium.site.agent", 9_000),  # all our code that runs in a hospital
        ("collegium.coordinator.app", 9_000),  # all that moves and guards the sums, whatever they are sums of
        ("collegium.coordinator.serve", 14_400),  # with the mathematics of every study: the whole process
        ("collegium.algorithms.averaging", 500),  # what a reader pays to understand federated averaging
    ],
)
def test_import_closure_is_small_enough_to_read(module: str, lines: int):
    if not source(module).exists():
        pytest.skip(f"{module} is not written yet")
    cost = {name: len(source(name).read_text().splitlines()) for name in closure(module)}
    assert sum(cost.values()) <= lines, sorted(cost.items(), key=lambda item: -item[1])


@each_file
def test_file_is_short_and_says_what_it_is_for(path: Path):
    text = path.read_text()
    assert len(text.splitlines()) <= 420, "split the file where the thought changes"
    assert ast.get_docstring(ast.parse(text)), "open the module with a docstring: what is it for?"


def is_safe_loader(node: ast.AST) -> bool:
    match node:
        case ast.ClassDef(bases=[ast.Attribute(value=ast.Name(id="yaml"), attr="SafeLoader" | "CSafeLoader")]):
            return True
    return False


def dangers(tree: ast.AST) -> Iterator[str]:
    safe = {node.name for node in ast.walk(tree) if is_safe_loader(node)}  # a SafeLoader with a taste of its own
    for node in ast.walk(tree):
        match node:
            case ast.Call(keywords=[ast.keyword(arg="Loader", value=ast.Name(id=name))]) if name in safe:
                pass
            case ast.Import(names=names):
                yield from (f"line {node.lineno}: import {n.name}" for n in names if n.name.split(".")[0] in UNPICKLERS)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in UNPICKLERS:
                yield f"line {node.lineno}: from {module} import"
            case ast.Call(func=ast.Name(id="eval" | "exec" | "compile" | "__import__" as name)):
                yield f"line {node.lineno}: {name}()"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr="load" | "unsafe_load" | "full_load")):
                yield f"line {node.lineno}: yaml.load(); use yaml.safe_load"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save")):
                yield f"line {node.lineno}: torch.load() and torch.save() pickle; use collegium.wire"
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
                yield f"line {node.value.lineno}: allow_pickle=True"


UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


@each_file
def test_no_code_comes_in_as_data(path: Path):
    assert list(dangers(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from dill import loads",
        "eval('1')",
        "exec(s)",
        "yaml.load(f)",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_the_search_for_code_as_data_finds_it(line: str):
    assert len(list(dangers(ast.parse(line)))) == 1


MUTE = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma:\s*no \w+)(?::\s*[A-Z0-9, ]+\b|\[[\w, -]+\])?")


def test_at_most_thirty_lint_mutes_and_each_says_why():
    muted = [
        (f"{path.relative_to(ROOT)}:{number}", line[found.end() :])
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := MUTE.search(line))
    ]
    assert len(muted) <= 30, muted
    assert [where for where, rest in muted if len(re.findall(r"[A-Za-z]{2,}", rest)) < 2] == []


# A module with code and no tests file of its own, and where it is tested instead. This list only shrinks.
UNMIRRORED: dict[str, str] = {}


def has_code(path: Path) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) for node in ast.parse(path.read_text()).body)


def mirrors(path: Path) -> list[Path]:
    """Where a module's tests may be: the file of its name, or of its whole room, or one of its room's that imports it by name."""
    inside = path.relative_to(SRC)
    stem = inside.stem if inside.stem != "__init__" else (inside.parent.name or "init")
    own = ROOT / "tests" / inside.parent / f"test_{stem.strip('_')}.py"
    room = ROOT / "tests" / inside.parts[0]
    imported = re.compile(
        rf"{re.escape(module_name(path))}\b|from {re.escape(module_name(path.parent / '__init__.py'))} import .*\b{path.stem}\b"
    )
    named = [test for test in room.rglob("test_*.py") if imported.search(test.read_text())]
    return [test for test in [own, room.with_name(f"test_{room.name}.py")] if test.exists()] + named


def test_tests_mirror_the_source():
    lonely = {module_name(path) for path in FILES if has_code(path) and not mirrors(path)}
    assert sorted(lonely - set(UNMIRRORED)) == [], "write a tests file of the same name, or test it in one of its room's"
    assert sorted(set(UNMIRRORED) - lonely) == [], "take these off the list: they are mirrored, or gone"


def installed(extra: str = "") -> dict[str, metadata.Distribution]:
    """The distributions that `pip install collegium[extra]` brings, the package itself included."""
    found: dict[str, metadata.Distribution] = {}
    queue = [("collegium", extra), ("collegium", "")]
    seen = set(queue)
    while queue:
        name, extra = queue.pop()
        found[name] = metadata.distribution(name)
        for line in found[name].requires or []:
            need = Requirement(line)
            if need.marker and not need.marker.evaluate({"extra": extra}):
                continue
            more = {(canonicalize_name(need.name), part) for part in {"", *need.extras}} - seen
            queue += more
            seen |= more
    return found


@pytest.mark.parametrize(("extra", "packages", "megabytes"), [("", 32, 180), ("site", 45, 450)])
def test_the_install_stays_small(extra: str, packages: int, megabytes: int):
    """The base runs a coordinator, statistics and regression; `site` is all that one hospital needs."""
    found = installed(extra)
    paths = [str(path.locate()) for one in found.values() for path in one.files or [] if path.suffix != ".pyc"]
    size = sum(Path(path).stat().st_size for path in paths if Path(path).is_file())
    assert len(found) <= packages, sorted(found)
    assert size <= megabytes * 1e6, f"{size / 1e6:.0f} MB"


def test_version_is_written_once():
    version = metadata.version("collegium")
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text(), "run make again: the install is stale"
    assert [path for path in FILES if f'"{version}"' in path.read_text()] == []
