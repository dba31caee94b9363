"""Real calls to a real coordinator; a whole run with three sites as processes."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from collegium import identity
from collegium.cli.household import Household, free_port
from collegium.client.connect import connect, key_of
from collegium.client.network import Network, Run
from collegium.client.simulate import simulate
from collegium.coordinator import founding
from collegium.coordinator.app import build
from collegium.errors import ConflictError, IdentityError, LinkError, NotFound
from collegium.site.dial import Dialler, target
from collegium.site.link import Link
from collegium.study import manifest
from collegium.study.plan import planned

RNG = np.random.default_rng(4)
STUDY = {
    "title": "Age and outcome",
    "purpose": "A test.",
    "variables": {"age": {"kind": "number"}, "ill": {"kind": "binary"}},
    "outcome": {"task": "binary", "target": "ill"},
    "method": {"kind": "glm"},
    "held_out": {"test": 3, "validation": 0},
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A coordinator in a thread, without TLS and without sites."""
    folder, port = tmp_path_factory.mktemp("hub") / "coordinator", free_port()
    made = founding.init(folder, f"https://127.0.0.1:{port}", "Trial")
    server = uvicorn.Server(uvicorn.Config(build(folder, plan=planned), port=port, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    there = Network(Link(Dialler(target(f"http://127.0.0.1:{port}")), key_of(folder / "operator.key"), made.public))
    yield there
    there.close()
    server.should_exit = True
    thread.join(10)


def test_a_federation_can_be_asked(network: Network):
    assert network.status()["federation"] == "Trial"
    assert network.sites() == []
    code = identity.read_code(network.invite("north"))
    assert code.coordinator == network.link.fingerprint
    assert "Trial" in network._repr_html_()
    assert "127.0.0.1" in repr(network)


def test_a_study_is_brought_found_and_cannot_start_alone(network: Network, tmp_path: Path):
    name = network.submit(STUDY)
    assert name == manifest.digest(manifest.read(STUDY)) == network.submit(manifest.read(STUDY))
    file = tmp_path / "study.yaml"
    file.write_text(manifest.text(manifest.read(STUDY)))
    assert network.submit(file) == name
    assert [one["study"] for one in network.studies] == [name]
    assert network.study(name[:6])["title"] == "Age and outcome" == network.study("Age and outcome")["title"]
    with pytest.raises(NotFound, match="no study 'zzz'"):
        network.study("zzz")
    with pytest.raises(ConflictError, match="needs 3 sites"):
        network.start(name)
    with pytest.raises(NotFound, match="no run"):
        network.run()
    with pytest.raises(TypeError, match="is not a study"):
        network.submit(3)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, np.ndarray]]:
    def hospital(count: int) -> dict[str, np.ndarray]:
        age = RNG.normal(60, 10, count).round(1)
        return {"age": age, "ill": (RNG.random(count) < 1 / (1 + np.exp(-(age - 60) / 6))).astype(float)}

    return {"east": hospital(200), "north": hospital(150), "west": hospital(120)}


@pytest.fixture(scope="module")
def house(rows: dict[str, dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    with Household(tmp_path_factory.mktemp("house"), "Trial") as found:
        found.open()
        for name, columns in rows.items():
            lines = [f"{age},{ill:.0f}" for age, ill in zip(columns["age"], columns["ill"], strict=True)]
            (found.folder / f"{name}.csv").write_text("\n".join(["age,ill", *lines]) + "\n")
            found.settle(name, "patients", found.folder / f"{name}.csv", 3)
            found.begin(name)
        yield found


@pytest.mark.system
def test_a_run_over_https_ends_as_the_simulation(house: Household, rows: dict[str, dict[str, np.ndarray]], tmp_path: Path):
    there = house.network
    assert there is not None
    run = there.start(STUDY)
    kinds = [event["kind"] for event in run.watch()]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert run.wait(5) == "finished"
    found, alone = run.results(), simulate(STUDY, rows, pooled=False)
    np.testing.assert_array_equal(found.trees["fit"]["coef"], alone.trees["fit"]["coef"])
    assert found.lines.keys() == alone.lines.keys()
    assert [line[:4] for line in found.sheet] == [line[:4] for line in alone.sheet]
    assert found.run["figures"]
    found.save(tmp_path / "model")
    assert there.run(run.name[:5]).name == run.name == there.run().name
    with pytest.raises(ConflictError, match="finished"):
        run.pause()
    assert run.name in run._repr_html_()
    house.leave()


@pytest.mark.system
def test_a_run_without_answers_can_be_held_and_ended(house: Household, tmp_path: Path):
    there = house.network
    assert there is not None
    run = there.start({**STUDY, "title": "Nobody answers"})  # the agents have left after their one run
    run.pause()
    assert run.status()["status"] == "paused"
    with pytest.raises(ConflictError, match=f"run {run.name} is paused: paused on request") as refused:
        run.wait()
    assert "through_pauses=True" in refused.value.hint
    with pytest.raises(TimeoutError, match=f"not over after 1 s; run {run.name} is paused: paused on request"):
        run.wait(1.1, through_pauses=True)
    run.resume()
    with pytest.raises(TimeoutError, match="goes on"):
        run.wait(1.5)
    with pytest.raises(ConflictError, match=r"goes on(: waits for sites: 0 of 3 are here, 3 must be)?; it has no results"):
        run.results()
    run.pause()
    ending = threading.Timer(0.5, run.stop)
    ending.start()
    assert run.wait(20, through_pauses=True) == "stopped"
    ending.join()
    with pytest.raises(ConflictError, match="was stopped: stopped on request; it has no results"):
        run.results()
    assert "paused on request" in run.report(tmp_path / "report.html").read_text()
    assert isinstance(there.run(), Run)


@pytest.mark.system
def test_an_address_needs_a_key_and_a_fingerprint(house: Household):
    there = house.network
    assert there is not None
    url, key = f"https://{there.link.dialler.to}", house.hub / "operator.key"
    with connect(url, key=key, coordinator=there.link.fingerprint) as other:
        assert other.status()["federation"] == "Trial"
    with pytest.raises(IdentityError, match="another coordinator"):
        connect(url, key=key, coordinator="00" * 16)
    with pytest.raises(NotFound, match="which coordinator"):
        connect(url)


def test_a_coordinator_that_does_not_run_is_said(tmp_path: Path):
    founding.init(tmp_path / "hub", f"https://127.0.0.1:{free_port()}", "Trial")
    with connect(tmp_path / "hub") as there, pytest.raises(LinkError):
        there.status()
