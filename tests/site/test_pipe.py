"""A worker that cannot even start; what it does when it runs is in `test_worker`."""

import os

import pytest

from collegium.site.frames import send
from collegium.site.pipe import Child, Worker, WorkerDied


class Dead:
    pid = 0

    def poll(self):
        return 1

    def wait(self, timeout=None):
        return 1


def dead(log, threads):
    there, to = os.pipe()
    back, here = os.pipe()
    os.close(there)
    os.close(here)
    return Child(Dead(), to, back)


def test_a_worker_that_never_starts_is_told_each_time(tmp_path):
    worker = Worker({"do": "open"}, tmp_path / "log", start=dead)
    for _ in range(2):
        with pytest.raises(WorkerDied) as caught:
            worker.ask({"do": "task"})
        assert str(tmp_path / "log") in caught.value.hint
    worker.hold(True)
    worker.kill()
    worker.end()


def test_a_worker_that_cannot_open_says_so_in_place_of_an_answer(tmp_path):
    def failing(log, threads):
        there, to = os.pipe()
        back, here = os.pipe()
        send(here, {"failure": "data", "says": "no", "final": True})
        os.close(here)
        worker.there = there
        return Child(Dead(), to, back)

    worker = Worker({"do": "open"}, tmp_path / "log", start=failing)
    assert worker.ask({"do": "task"}).says["failure"] == "data"
    worker.end()
    os.close(worker.there)
