"""Hospital networks on purpose: a link that is cut, silent, altered or opened delays a study, and never changes its result."""

import os
import ssl

import blake3
import numpy as np
import pytest

from collegium import identity
from collegium.errors import CollegiumError
from collegium.site import link as links
from collegium.site.dial import Dialler, proxy_of, target
from collegium.site.link import Link
from collegium.site.transfer import CHUNK, Cache, upload
from tests.site.federation import STUDY, at_work, federated, until
from tests.site.standin import Standin, authority, serving
from tests.site.test_agent import results, submit
from tests.system.network.harness import ConnectProxy, Faults, PageProxy, Relay, relaying

pytestmark = [pytest.mark.network, pytest.mark.slow]
KEY = identity.key(b"k" * 32)
CUTS = 100  # in each direction


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(links, "PAUSES_S", (0.01, 0.1))


def trusting(root):
    """How a proxy that opens TLS speaks to the coordinator."""
    context = ssl.create_default_context(cadata=root)
    context.check_hostname = False
    return context


def message(**more):
    return {"run": "", "serving": [], "answer": None, "line": None, "wait_s": 0} | more


# A request, an upload and a download, cut at two hundred places -------------------------------------------------------------


@pytest.mark.parametrize("way", ["cut_up", "cut_down"])
def test_n1_a_conversation_cut_at_200_byte_positions_comes_to_the_same_end(tmp_path, way):
    there = Standin(tmp_path)
    counted: dict[str, bytes] = {}

    def work(site, asked, payload):
        assert counted.setdefault(asked["answer"]["digest"], payload) == payload
        return {"task": None, "status": "running"}, payload[::-1]

    there.work = work
    vector, whole = os.urandom(40_000), os.urandom(60_000)
    there.blobs[blake3.blake3(whole).hexdigest()] = whole
    with serving(there), relaying(Relay(there.port)) as relay:
        there.sites[KEY.public] = "leeds"
        url = there.url.replace(str(there.port), str(relay.port))
        reach = 45_000 if way == "cut_up" else 110_000
        for cut in range(1, reach, reach // CUTS):
            relay.faults = Faults(**{way: cut})
            link = Link(Dialler(target(url), root=there.root.pem), KEY, there.key.public)
            digest = blake3.blake3(vector + str(cut).encode()).hexdigest()
            asked = message(answer={"digest": digest})
            _, back = link.steadily(lambda: link.work(asked, vector))  # noqa: B023 - called before the next turn
            assert bytes(back) == vector[::-1]
            path = Cache(tmp_path / f"cache{cut}").fetch(link, blake3.blake3(whole).hexdigest(), len(whole))
            assert path.read_bytes() == whole
            link.close()
    assert len(counted) == len(range(1, reach, reach // CUTS))


def test_n1_an_upload_cut_again_and_again_sends_at_most_a_chunk_for_each_cut(tmp_path, monkeypatch):
    there, file = Standin(tmp_path), tmp_path / "vector"
    file.write_bytes(os.urandom(3 * CHUNK + 77))
    with serving(there), relaying(Relay(there.port)) as relay:
        there.sites[KEY.public] = "leeds"
        link = Link(Dialler(target(there.url.replace(str(there.port), str(relay.port))), root=there.root.pem), KEY, there.key.public)
        relay.faults = Faults(cut_up=CHUNK + 300_000, times=2)
        chunks = identity.Chunks()
        chunks.update(file.read_bytes())
        upload(link, "op", "r1", file, chunks.digests)
        link.close()
    size = file.stat().st_size
    assert b"".join(there.uploads["op"][k] for k in range(4)) == file.read_bytes()
    assert relay.up <= size + 2 * CHUNK + 0.05 * size


def test_n3_a_black_hole_is_left_after_the_stall(tmp_path):
    there = Standin(tmp_path)
    with serving(there), relaying(Relay(there.port)) as relay:
        there.sites[KEY.public] = "leeds"
        url = there.url.replace(str(there.port), str(relay.port))
        link = Link(Dialler(target(url), root=there.root.pem, stall_s=0.5), KEY, there.key.public)
        relay.faults, told = Faults(hole=True, times=2), []
        link.on_trouble = told.append
        link.steadily(lambda: link.work(message()))
        link.close()
    assert any("got no answer" in says or "no byte moved" in says for says in told)


@pytest.mark.parametrize("way", ["corrupt_up", "corrupt_down"])
def test_n7_every_altered_byte_is_detected(tmp_path, way):
    """A proxy that opens TLS alters one byte, anywhere in the request or the answer: nothing altered is ever believed."""
    there, hospital = Standin(tmp_path), authority("Hospital CA")
    there.work = lambda site, asked, payload: ({"status": "running", "echo": asked["answer"]}, payload)
    (tmp_path / "ca.pem").write_text(hospital.pem)
    inner = trusting(there.root.pem)
    with serving(there), relaying(Relay(there.port, outer=hospital.issue(tmp_path), inner=inner)) as relay:
        there.sites[KEY.public] = "leeds"
        url = there.url.replace(str(there.port), str(relay.port))
        believed = 0
        for at in range(0, 1500 if way == "corrupt_up" else 480, 9):
            link = Link(Dialler(target(url), ca_file=str(tmp_path / "ca.pem"), stall_s=1), KEY, there.key.public)
            link.boot = there.boot
            relay.faults = Faults(**{way: at})
            try:
                reply, payload = link.work(message(answer="x" * 300), b"y" * 300)
            except CollegiumError:
                continue
            finally:
                link.close()
            believed += 1  # a byte that says nothing: the case of a header's name, a header nobody reads
            assert (reply, bytes(payload)) == ({"status": "running", "echo": "x" * 300}, b"y" * 300)
    assert believed < 60


# Whole studies ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with federated(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture(scope="module")
def wanted(hub, tmp_path_factory):
    """The results of the study over an honest network."""
    return studied(hub, tmp_path_factory.mktemp("plain"), "plain")


def studied(hub, folder, mark, *, port=0, environ=None, worse=lambda: None, **joining):
    """Run the study over two sites of the same rows, whatever the network between them and the hub."""
    import shutil

    sites = [hub.site(folder, f"{name}-{mark}", port=port, **joining) for name in ("leeds", "york")]
    for site in sites:
        kept = hub.folder.parent / f"{site.name.partition('-')[0]}.csv"
        table = folder / f"{site.name}.csv"
        shutil.copyfile(*((kept, table) if kept.exists() else (table, kept)))
    run = submit(hub, STUDY, sites)
    worse()
    with at_work(*sites, environ=environ or {}) as agents:
        end = hub.end(run, 120)
        assert end["status"] == "finished", end
        until(lambda: all((site / "models" / run / "line.json").exists() for site in sites))
        opened = {one.link.dialler.opened_by for one in agents}
    return {name: np.array(leaf) for name, leaf in flat(results(sites[0], run)).items()}, opened


def flat(tree):
    from collegium import tree as T

    return T.flatten(tree)


def same(found, wanted):
    assert found.keys() == wanted.keys()
    return all(np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("cut", [700, 2500, 9000])
def test_n1_a_study_over_a_line_that_is_cut_forty_times(hub, tmp_path, wanted, cut):
    with relaying(Relay(hub.port)) as relay:
        faults = Faults(cut_down=cut, times=40)
        found, _ = studied(hub, tmp_path, f"cut{cut}", port=relay.port, worse=lambda: setattr(relay, "faults", faults))
        assert relay.faults.times < 40
    assert same(found, wanted[0])


def test_n4_an_answer_whose_receipt_is_swallowed_counts_once(hub, tmp_path, wanted):
    with relaying(Relay(hub.port)) as relay:
        faults = Faults(swallow=b"\x17\x03\x03", times=12)  # every connection's first requests arrive, no answer comes back
        found, _ = studied(hub, tmp_path, "swallow", port=relay.port, worse=lambda: setattr(relay, "faults", faults))
        assert relay.faults.times <= 0
    assert same(found, wanted[0])


def test_n6_a_proxy_that_opens_tls_with_the_hospitals_authority(hub, tmp_path, wanted):
    hospital = authority("St Elsewhere CA")
    (tmp_path / "ca.pem").write_text(hospital.pem)
    inner = trusting(hub.root)
    with relaying(Relay(hub.port, outer=hospital.issue(tmp_path), inner=inner)) as relay:
        found, opened = studied(hub, tmp_path, "opened", port=relay.port, ca_file=str(tmp_path / "ca.pem"))
    assert opened == {"St Elsewhere CA"}
    assert same(found, wanted[0])


def test_n10_a_page_for_a_while_is_waited_out(hub, tmp_path, wanted):
    """A gateway shows its own page on the first connections, then lets the site through."""
    (folder := tmp_path / "tls").mkdir()
    outer, inner = Standin(folder).root, trusting(hub.root)
    (tmp_path / "ca.pem").write_text(outer.pem)

    class Moody(PageProxy):
        left = 6

        def greeted(self, near):
            self.left -= self.left > 0 and self.up > 20_000
            return super().greeted(near) if self.left and self.up > 20_000 else near

    with relaying(Moody(hub.port, outer=outer.issue(folder), inner=inner)) as relay:
        found, _ = studied(hub, tmp_path, "page", port=relay.port, ca_file=str(tmp_path / "ca.pem"))
    assert same(found, wanted[0])


def test_n11_a_proxy_with_a_password(hub, tmp_path, wanted, caplog):
    proxy = ConnectProxy(hub.port)
    proxy.credentials = "anna:hunter2"
    with relaying(proxy):
        address = f"http://anna:hunter2@127.0.0.1:{proxy.port}"
        assert "hunter2" not in repr(proxy_of(address))
        found, _ = studied(hub, tmp_path, "proxy", proxy=address)
        assert proxy.connections > 2
    assert same(found, wanted[0])
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "site.toml"]
    assert not [path for path in kept if b"hunter2" in path.read_bytes()]
    assert "hunter2" not in caplog.text
