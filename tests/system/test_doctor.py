"""`site doctor` against a coordinator as it is served: no hop of a healthy one fails, and a limit on the way is found."""

from pathlib import Path

import pytest

from collegium.site.doctor import Check, diagnose
from tests.system.federation import Federation
from tests.system.network.harness import Faults, Relay, relaying

pytestmark = [pytest.mark.system, pytest.mark.network]


def look(home: Path) -> list[Check]:
    return list(diagnose(home, environ={}, version="test", wait_s=1))


def test_a_healthy_coordinator_passes_every_hop_and_a_limit_on_size_is_found(tmp_path: Path):
    with Federation(tmp_path, {"amber": "who,age\na,1\n"}) as there:
        home = tmp_path / "amber"
        checks = look(home)
        assert all(check.ok and not check.fix for check in checks), checks
        assert [check.hop for check in checks][-3:] == ["key", "size", "waiting"]
        with relaying(Relay(there.port)) as relay:
            text = (home / "site.toml").read_text()
            (home / "site.toml").write_text(text.replace(f":{there.port}", f":{relay.port}"))
            assert all(check.ok for check in look(home))
            relay.faults = Faults(cut_up=2 << 20, times=1000)
            bad = look(home)[-1]
            assert (bad.hop, bad.ok, "8 MiB" in bad.fix) == ("size", False, True)
