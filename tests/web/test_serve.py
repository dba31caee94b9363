"""A console is a process that only this machine reaches, and that ends when told to."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from collegium.errors import LinkError
from collegium.web import serve

CODE = """
import sys
from starlette.responses import PlainTextResponse
from collegium.web.serve import serve
serve(PlainTextResponse("here"), int(sys.argv[1]), lambda: print("ready", flush=True))
"""


def test_a_port_that_is_taken_is_passed_over():
    with socket.create_server((serve.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert serve.free(port) in range(port + 1, port + serve.TRIES)
    assert serve.free(0) > 0


def test_where_all_ports_are_taken_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serve, "TRIES", 1)
    with socket.create_server((serve.HOST, 0)) as taken, pytest.raises(LinkError, match="are taken") as refused:
        serve.free(taken.getsockname()[1])
    assert "--port" in refused.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_on_loopback_and_ends_when_told_to(how: int):
    port = serve.free(0)
    with subprocess.Popen([sys.executable, "-c", CODE, str(port)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read() == b"here"
        listening = [
            line.split()[1] for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
        ]
        assert [address for address in listening if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]
        os.kill(process.pid, how)
        assert process.wait(10) == 0
