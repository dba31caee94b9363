"""Outbound TCP to port 443 and nothing else: a whole study runs, and each hop that is broken on purpose is named in words."""

import socket
import threading

import pytest

from collegium import identity
from collegium.site import agent
from collegium.site.doctor import diagnose
from tests.site.federation import STUDY, Federation, until
from tests.site.test_agent import submit
from tests.system.network.hospital import NET, broken, enter, hospital, inside, move_in

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.system]


@pytest.fixture(scope="module")
def place():
    with hospital() as address:
        yield address


@pytest.fixture(scope="module")
def hub(place, tmp_path_factory):
    made = Federation(tmp_path_factory.mktemp("hub"), host=place, port=443)
    made.start()
    yield made
    made.operator.close()
    made.stop()


@pytest.fixture(scope="module")
def sites(hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites")
    return [hub.site(folder, name, inside=enter) for name in ("leeds", "york")]


def look(site, **environ):
    return enter(lambda: list(diagnose(site, environ=environ, version="1", wait_s=1, stall_s=2)))


def failing(checks):
    assert all(check.ok for check in checks[:-1]), checks
    assert not checks[-1].ok, checks
    return checks[-1]


def test_nothing_but_443_goes_out_and_nothing_comes_in(place, hub):
    with socket.create_server((place, 0)) as other:
        with pytest.raises(OSError, match=r"denied|unreachable|refused"):
            enter(lambda: socket.create_connection((place, other.getsockname()[1]), timeout=2))
        inner = enter(lambda: socket.create_server((f"{NET}.2", 8443)))
        with inner, pytest.raises(OSError, match=r"timed out|denied|unreachable"):
            socket.create_connection((f"{NET}.2", 8443), timeout=1)
    enter(lambda: socket.create_connection((place, 443), timeout=2)).close()


def test_n13_a_whole_study_runs_with_443_outbound_only(hub, sites):
    run, ended = submit(hub, STUDY, sites), []

    def live(site):
        move_in()
        agent.serve(site, environ={}, version="1", runs=1)
        ended.append(site)

    threads = [threading.Thread(target=live, args=(site,), daemon=True) for site in sites]
    for thread in threads:
        thread.start()
    assert hub.end(run)["status"] == "finished"
    until(lambda: len(ended) == 2)
    assert all((site / "models" / run / "results.safetensors").exists() for site in sites)


def test_the_doctor_finds_every_hop_in_order(hub, sites):
    checks = look(sites[0])
    assert all(check.ok for check in checks), checks


@pytest.mark.parametrize("how", ["blackhole", "unreachable", "prohibit"])
def test_a_firewall_that_drops_or_rejects_is_named(hub, sites, how):
    with broken("to", f"{NET}.1", how):
        bad = failing(look(sites[0]))
    assert bad.hop == "tcp"
    assert f"{NET}.1:443" in bad.found
    assert "outbound TCP" in bad.wanted
    assert "IT" in bad.fix


def test_a_silent_firewall_is_named(hub, sites):
    """Packets vanish: the coordinator's answers find no way back."""
    import subprocess

    subprocess.run(["ip", "route", "add", "blackhole", f"{NET}.2/32"], check=True)
    try:
        bad = failing(look(sites[0]))
    finally:
        subprocess.run(["ip", "route", "del", "blackhole", f"{NET}.2/32"], check=True)
    assert (bad.hop, "does not answer" in bad.found) == ("tcp", True)


def test_a_name_that_dns_does_not_know_is_named(hub, sites, tmp_path):
    code = identity.mint(identity.Code("https://hub.no-such-name.invalid", hub.operator.fingerprint, b"s" * 16))
    bad = failing(enter(lambda: list(diagnose(code, environ={}, version="1", stall_s=2))))
    assert bad.hop == "name"
    assert "DNS" in bad.fix


def test_a_link_that_is_down_is_named(hub, sites):
    from tests.system.network.hospital import NAME

    inside("link", "set", f"{NAME}b", "down")
    try:
        bad = failing(look(sites[0]))
    finally:
        inside("link", "set", f"{NAME}b", "up")
    assert bad.hop in ("name", "tcp")


def test_a_proxy_that_is_not_there_is_named(hub, sites):
    bad = failing(look(sites[0], HTTPS_PROXY=f"http://{NET}.1:3128"))
    assert bad.hop in ("tcp", "proxy")
    assert "3128" in bad.found
