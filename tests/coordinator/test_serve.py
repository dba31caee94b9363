"""The coordinator as a process: TLS that a site pins, an orderly end, logs a machine reads."""

import asyncio
import io
import json
import logging
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collegium.coordinator import founding, home, serve
from collegium.coordinator.records import Event
from collegium.errors import ConflictError, LinkError, StorageError

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.mark.system
@pytest.mark.network
def test_a_real_process_serves_a_real_run_and_ends_in_order(tmp_path: Path):
    port = free_port()
    founding.init(tmp_path / "hub", f"https://127.0.0.1:{port}", "Real")
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.coordinator.world import plan_of\nfrom collegium.coordinator import app, serve\n"
        "build = app.build\nserve.build = lambda folder, **how: build(folder, **how | {'plan': plan_of()})\n"
        f"serve.serve(Path({str(tmp_path / 'hub')!r}), host='127.0.0.1', terminal=sys.stdout, log_file=Path({str(tmp_path / 'log')!r}),"
        " ready=lambda address: print('ready at', address, flush=True))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        assert next(lines).startswith("Collegium coordinator of 'Real'")
        assert next(lines) == f"ready at https://127.0.0.1:{port}\n"
        with pytest.raises(ConflictError, match=rf"already serves .*hub \(process {process.pid}\)"):
            serve.serve(tmp_path / "hub", host="127.0.0.1", port=free_port())
        asyncio.run(take_part(tmp_path / "hub", port))
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest = list(lines)
        assert process.wait(10) == 0
        assert time.monotonic() - begun < 10
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert [line.rpartition(": ")[2].split()[0] for line in rest if "finished" in line] == ["finished"]
    logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {"at", "level", "part", "says"} <= logged[0].keys()
    assert not [entry for entry in logged if entry["level"] == "error"]


async def take_part(folder: Path, port: int) -> None:
    """Two sites over real TLS, by the same steps as over the ASGI transport."""
    from types import SimpleNamespace

    import httpx

    from collegium import identity
    from tests.coordinator.world import Site, Speaker, World, equal, expected, served

    context = ssl.create_default_context(cafile=str(folder / "tls-root.pem"))
    url = f"https://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, verify=context, timeout=30, trust_env=False) as client:
        boot = (await client.get("/v1/identity")).json()["boot"]
        key = home.key(folder)
        door = SimpleNamespace(key=key, fingerprint=identity.fingerprint(key.public), counters=SimpleNamespace(boot=boot))
        far = SimpleNamespace(door=door)
        world = World.__new__(World)
        world.app, world.operator = far, Speaker(far, home.read_key(folder / "operator.key"), client)
        sites = []
        for name in ("amber", "birch"):
            invited = identity.read_code((await world.operator.call("POST", "/v1/invites", {"name": name}))["code"])
            site = Site(far, name, client)
            await site.call("POST", "/v1/join", {"secret": invited.secret.hex(), "name": name, "version": "1"})
            sites.append(site)
        run = await world.start(*sites, quorum=2)
        await served(run, *sites)
        assert equal(await world.results(run), expected(("amber", "birch")))
        waiting = asyncio.ensure_future(sites[0].work(""))  # waits while the process is told to end
        await asyncio.sleep(0.1)
        waiting.cancel()


@pytest.mark.system
@pytest.mark.network
def test_a_coordinator_that_cannot_start_says_why_and_ends(tmp_path: Path):
    port = free_port()
    founding.init(tmp_path / "hub", f"https://127.0.0.1:{port}", "Real")
    (tmp_path / "hub" / "collegium.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(StorageError, match="database"):
        serve.serve(tmp_path / "hub", host="127.0.0.1", log_file=tmp_path / "log")


@pytest.mark.network
def test_a_port_that_is_taken_is_told(tmp_path: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(LinkError, match="cannot be listened on"):
            serve.refuse_taken("127.0.0.1", other.getsockname()[1])
    with pytest.raises(LinkError):
        serve.refuse_taken("192.0.2.1", 0)


def test_events_are_lines_on_a_terminal_that_may_go_away():
    terminal = io.StringIO()
    say = serve.printer(terminal)
    say(serve.line(Event(0, "r1", "", "round", "round 1 closed")))
    assert terminal.getvalue().endswith("  run r1: round 1 closed\n")
    terminal.close()
    say("nobody reads this")
    serve.printer(None)("nor this")


def test_logs_are_json(tmp_path: Path):
    record = logging.LogRecord("collegium.coordinator.x", logging.ERROR, "", 0, "it %s", ("broke",), None)
    record.run = "r1"
    try:
        raise ValueError("why")
    except ValueError:
        record.exc_info = sys.exc_info()
    found = json.loads(serve.AsJson().format(record))
    assert (found["level"], found["part"], found["says"], found["run"]) == ("error", "coordinator.x", "it broke", "r1")
    assert "ValueError: why" in found["trace"]


def test_logs_go_where_they_are_wanted(tmp_path: Path):
    ours = logging.getLogger("collegium")
    kept = ours.handlers[:], ours.propagate, ours.level
    try:
        for file, quiet, kind in (
            (tmp_path / "log", True, "RotatingFileHandler"),
            (None, True, "NullHandler"),
            (None, False, "StreamHandler"),
        ):
            serve.keep_logs(file, quiet=quiet)
            assert [type(h).__name__ for h in ours.handlers] == [kind]
            ours.handlers[0].close()
    finally:
        ours.handlers[:], ours.propagate = kept[0], kept[1]
        ours.setLevel(kept[2])
