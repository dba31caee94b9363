"""What an install costs: packages and megabytes of the base, and of a hospital's site, each in a fresh virtual environment.

Bytes are those that pip laid down, without the `__pycache__` it then compiles; `peak_mb` is the size with it.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.measure import MB, Row, say, show  # noqa: E402 - the project's root is on the path only now

BARS = {"": (32, 180), "site": (None, 450)}


def installed(folder: Path, extra: str) -> Path:
    """A fresh environment with Collegium and one of its extras; where its packages lie."""
    venv.create(folder, with_pip=True, symlinks=True)
    wanted = f"{ROOT}[{extra}]" if extra else str(ROOT)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-c", str(ROOT / "constraints.txt"), wanted], check=True)
    subprocess.run([*pip, "uninstall", "--yes", "pip", "setuptools"], check=True)
    return next((folder / "lib").glob("python*")) / "site-packages"


def size(packages: Path, *, compiled: bool) -> int:
    """Bytes of all files under a folder, with or without what Python has compiled."""
    files = (path for path in packages.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files if compiled or path.suffix != ".pyc")


def measure(extra: str) -> Iterator[Row]:
    """Both figures of one install."""
    name, (packages_bar, size_bar) = f"install {'with `' + extra + '`' if extra else 'base'}", BARS[extra]
    say(f"{name}: a fresh environment")
    with tempfile.TemporaryDirectory() as folder:
        packages = installed(Path(folder), extra)
        count = len(list(packages.glob("*.dist-info")))
        yield Row(f"{name}, packages", count, "", bar=f"at most {packages_bar}" if packages_bar else "")
        small, whole = (size(packages, compiled=compiled) / MB for compiled in (False, True))
        yield Row(f"{name}, size", small, "MB", peak_mb=whole, bar=f"at most {size_bar}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    arguments = parser.parse_args()
    show((row for extra in BARS for row in measure(extra)), as_json=arguments.json)


if __name__ == "__main__":
    main()
