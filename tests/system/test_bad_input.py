"""Everything that a site can get wrong, over HTTPS: it is said in words at that site, nobody else is held up, nothing is lost.

Three good hospitals and a crowd of bad ones share a coordinator. A bad one is told place, found, wanted and the way out; the
others end with the very bytes of a run without it; and none of its patients' values is anywhere at the coordinator.
"""

import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from collegium import identity
from collegium import tree as T
from collegium.canonical import pack
from collegium.engine import run as course
from collegium.errors import FrameError, IdentityError, StorageError, UpdateError
from collegium.identity import Code
from collegium.recipes import learner
from collegium.simulation.local import play
from collegium.site import agent, config, ledger
from collegium.site.link import PACKED, Link
from collegium.study import manifest, plan
from collegium.study.manifest import Averaging
from tests.cli.speak import Spoken, speak
from tests.system import spoilt
from tests.system.federation import ROOT, STUDY, Federation, flat, hospital, tables

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.network]

GOOD = {"leeds": hospital(1, 220), "porto": hospital(2, 90), "turku": hospital(3, 150)}
SECRET, NUMBER = "Geheimrat", "61.41421356"  # of a patient: stand in every bad file, and must stay at home
HEAD = "who,age,sex,code,ill"
GLM = STUDY.format(method="{kind: glm, family: binomial}", more="held_out: {test: 2}\nsites: {grace_s: 20}")
WHOLE = GLM.replace("grace_s: 20", "minimum: 4, grace_s: 20").replace("title: Test", "title: All four")
PLAIN = GLM.replace("title: Test", "title: Plain") + '\nprivacy: {secure_aggregation: off, because: "what a mask hides cannot be refused"}'
HASTY = PLAIN.replace("grace_s: 20", "grace_s: 1").replace("title: Plain", "title: Hasty")
BARE = PLAIN.replace("grace_s: 20", "minimum: 4, grace_s: 20").replace("title: Plain", "title: All four, plain")


def titled(title: str) -> str:
    """The study under another name: the very same one is summed over the same hospitals only."""
    return GLM.replace("title: Test", f"title: {title}")


def cells(column: int, written: Callable[[int, str], str], size: int = 120) -> str:
    """A hospital's file with one column written otherwise: `written(row, text) -> text`."""
    head, *rows = hospital(9, size).replace("p9-", f"{SECRET}-").splitlines()
    out = [head]
    for number, row in enumerate(rows):
        parts = row.split(",")
        parts[1] = NUMBER if number == 5 else parts[1]
        parts[column] = written(number, parts[column])
        out.append(",".join(parts))
    return "\n".join(out) + "\n"


OWN = cells(0, lambda n, text: text)


class Misfit(NamedTuple):
    """A file that cannot take part: the variable at fault, what is found and wanted, and the way out."""

    csv: str
    at: str
    says: str
    way_out: str


MISFITS = {
    "column": Misfit(OWN.replace("age", "Age", 1), "age", "is not in the table; did you mean 'Age'?", "name it as in the manifest"),
    "nobody": Misfit(OWN.replace("who", "mrn", 1), "", "there is no column 'who', which says whose row it is", "data add --patient COLUMN"),
    "unit": Misfit(
        cells(1, lambda n, t: t and f"{float(t) * 12:.4f}"),
        "age",
        "values lie outside 0 to 120 years and count as missing; they would fit as months",
        "check the unit and the codes of this column",
    ),
    "text": Misfit(
        cells(1, lambda n, t: f"{SECRET} sixty" if n % 9 == 6 else t),
        "age",
        "holds text in 13 rows, first in row 7; wanted a number of years",
        "leave missing values empty",
    ),
    "comma": Misfit(
        cells(1, lambda n, t: t and f'"{t.replace(".", ",")}"'),
        "age",
        "holds numbers with a decimal comma in 107 rows, first in row 1; wanted a number of years",
        "export with a decimal point",
    ),
    "empty": Misfit(HEAD + "\n", "", "the table holds no rows", "check the export and its filter"),
    "infinite": Misfit(
        cells(1, lambda n, t: "inf" if n % 9 == 6 else t),
        "age",
        "holds infinite values in 13 rows; wanted numbers",
        "export them as missing",
    ),
    "schema": Misfit(
        OWN.replace(HEAD, "Fall,Alter,Geschlecht,Diagnose,krank"),
        "",
        "there is no column 'who', which says whose row it is",
        "it has the columns Fall, Alter, Geschlecht, Diagnose, krank",
    ),
    "codes": Misfit(
        cells(2, lambda n, t: f"{SECRET}{t}"), "sex", "120 values are not among the listed categories", "map them to the listed categories"
    ),
    "torn": Misfit(OWN[:2000].rsplit(",", 2)[0], "", "fields, the header has 5", "end each row once"),
}
ODD = {  # files that take part, and what the data check says of them
    "nan": (cells(1, lambda n, t: "NaN" if n % 3 == 0 else t), "is in order"),
    "class": (cells(4, lambda n, t: "0", size=400), "is the same in every row: this hospital helps the joint model"),
    "constant": (cells(1, lambda n, t: "60"), "has the same value in every row that has one"),
    "record": (cells(1, lambda n, t: f"{SECRET} sixty" if n in (6, 60) else "inf" if n == 7 else t), "count as missing"),
    "few": (cells(2, lambda n, t: SECRET if n % 9 == 0 else t), "not among the listed categories and count as missing"),
}
LIES = {  # from the first float sum on
    "longer:1:1": "site 'longer': the vector has {more} bytes, the round asks for {less}; way out:",
    "crowd:1:1": "site 'crowd': the vector says that it holds 2 sites, not one; way out:",
    "shape:1:1": "has shape (6,), the round asks for (5,); way out: bring this site and the coordinator to one release",
    "nan:1:1": "holds NaN or infinity; way out: lower the learning rate or check the site's data for extreme values",
}


def without(folder: Path, sites: list[str], text: str, asked: int) -> dict[str, np.ndarray]:
    """A study in one process over these sites, of a run that began with `asked`: that sets the room of its sums."""
    study = manifest.read(text)
    stages = plan.stages(study, learner(study) if isinstance(study.method, Averaging) else None)
    rows, run, memory = tables(folder, dict.fromkeys(sites, ""), study), course.begin(stages, asked), {site: {} for site in sites}
    while not run.over:
        run = play(run, stages, rows, memory, study.seed, lambda run: None, None)
    return flat(run.results)


def same(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for path, leaf in wanted.items():
        assert found[path].tobytes() == np.asarray(leaf).tobytes(), path


def until(found: Callable[[], Any], within_s: float = 60) -> Any:
    """Whatever `found` gives, as soon as it gives something."""
    end = time.monotonic() + within_s
    while not (got := found()):
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.1)
    return got


def known(home: Path, run: str) -> dict[str, Any]:
    """What a site says of a run: `collegium site status --json`."""
    return dict(speak("site", "status", "--folder", home, "--json").document["data"]["runs"].get(run, {}))


def sentences(run: Any) -> list[str]:
    """What the coordinator tells people of a run."""
    return [f"{event['site']}: {event['says']}" for event in run.events()]


def nothing_leaked(federation: Federation) -> None:
    """No patient's value is in anything that the coordinator holds: its folder, its log, what it answers."""
    held = {path.relative_to(federation.folder): path.read_bytes() for path in federation.hub.rglob("*") if path.is_file()}
    held[Path("hub.log")] = (federation.folder / "hub.log").read_bytes()
    held[Path("answers")] = json.dumps(
        [federation.network.status(), *(run_of(federation, run) for run in federation.network.runs)]
    ).encode()
    assert any(b"To find faults." in content for content in held.values())  # a search that finds nothing proves nothing
    number = float(NUMBER)
    for planted in (SECRET.encode(), NUMBER.encode(), NUMBER.replace(".", ",").encode(), struct.pack("<d", number)):
        assert not [str(path) for path, content in held.items() if planted in content]


def run_of(federation: Federation, run: Mapping[str, Any]) -> Any:
    name = f"/v1/runs/{run['run']}"
    return [federation.network.ask(name), federation.network.ask(f"{name}/events", query="after=0&wait_s=0")]


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands must not find, nor change, what this user works with."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "profile"))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """The good hospitals at work; the bad ones have joined, and each test starts those that it wants."""
    bad = dict.fromkeys([*MISFITS, *(lie.partition(":")[0] for lie in LIES if "nan" not in lie), "lier-nan", "mended", "oslo"], OWN)
    with Federation(tmp_path_factory.mktemp("crowd"), {**GOOD, **bad, **{name: csv for name, (csv, _) in ODD.items()}}) as made:
        (made.folder / "study.yaml").write_text(GLM)
        for name, misfit in MISFITS.items():
            (made.folder / f"{name}.csv").write_text(misfit.csv)
        for name in GOOD:
            made.start_site(name)
        yield made


@pytest.fixture(scope="module")
def wanted(crowd: Federation) -> Callable[..., dict[str, np.ndarray]]:
    """Results of a study in one process, computed once."""
    found: dict[Any, dict[str, np.ndarray]] = {}

    def result(text: str, *more: str, asked: int) -> dict[str, np.ndarray]:
        if (key := (text, more, asked)) not in found:
            found[key] = without(crowd.folder, [*GOOD, *more], text, asked)
        return found[key]

    return result


def ended(federation: Federation, names: list[str]) -> None:
    for name in names:
        federation.kill(name)


# Tables that do not fit -------------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    run: Any
    results: dict[str, np.ndarray]
    said: list[str]


@pytest.fixture(scope="module")
def misfits(crowd: Federation) -> Outcome:
    """One run that asks all misfits too."""
    for name in MISFITS:
        crowd.start_site(name)
    run = crowd.network.start(crowd.network.submit(GLM), [*GOOD, *MISFITS])
    results = crowd.finish(run)
    for name in MISFITS:
        until(lambda name=name: known(crowd.folder / name, run.name).get("status") == "left")
    ended(crowd, [*MISFITS])
    return Outcome(run, results, sentences(run))


@pytest.mark.parametrize("name", MISFITS)
def test_a_table_that_does_not_fit_is_told_at_the_site_and_named_at_the_coordinator(crowd: Federation, misfits: Outcome, name: str):
    misfit, told = MISFITS[name], known(crowd.folder / name, misfits.run.name)
    assert ("torn.csv: " if name == "torn" else "table 'patients': ") in told["detail"]
    assert misfit.says in told["detail"]
    assert "; way out: " in told["detail"]
    assert misfit.way_out in told["detail"].split("; way out: ")[1]
    assert told["detail"] in speak("site", "status", "--folder", crowd.folder / name).out
    at = f" at {misfit.at!r}" if misfit.at else ""
    assert f"{name}: {name} left the run: the site's table does not fit the study{at}; its log has the details" in misfits.said
    (entry,) = ledger.entries(crowd.folder / name / "state" / "ledger.jsonl")
    assert (entry["what"], entry["code"]) == ("failure", "data")  # nothing else has left this hospital


@pytest.mark.parametrize("name", MISFITS)
def test_the_data_check_says_the_same_beforehand(crowd: Federation, name: str):
    misfit = MISFITS[name]
    found = speak("data", "check", "patients", crowd.folder / "study.yaml", "--folder", crowd.folder / name)
    assert found.code == 1
    said = found.out + found.err
    assert misfit.says in said
    assert misfit.way_out in said
    assert SECRET not in said
    assert NUMBER not in said


def test_the_study_check_says_what_the_tables_must_hold(crowd: Federation):
    found = speak("study", "check", crowd.folder / "study.yaml")
    assert found.code == 0
    for words in ("age", "years", "F, M", "It can be run as written."):
        assert words in found.out
    (crowd.folder / "slip.yaml").write_text(GLM.replace("kind: number", "kind: nummer").replace("target: ill", "target: sick"))
    slip = speak("study", "check", crowd.folder / "slip.yaml")
    assert slip.code == 2
    assert "variables.age.kind" in slip.err
    assert "'number', 'category' or 'binary'; found 'nummer'" in slip.err


def test_the_other_sites_end_as_if_the_misfits_had_not_been_there(crowd: Federation, misfits: Outcome, wanted: Any):
    same(misfits.results, wanted(GLM, asked=len(GOOD) + len(MISFITS)))
    alone = wanted(GLM, asked=len(GOOD))
    np.testing.assert_allclose(misfits.results["fit/coef"], alone["fit/coef"], rtol=1e-8)
    assert misfits.run.status()["left"].keys() == MISFITS.keys()
    nothing_leaked(crowd)


def test_odd_tables_take_part_and_what_is_odd_is_said(crowd: Federation, wanted: Any):
    for name, (_, says) in ODD.items():
        found = speak("data", "check", "patients", crowd.folder / "study.yaml", "--folder", crowd.folder / name)
        assert found.code == 0
        assert says in found.out
        crowd.start_site(name)
    text = titled("Odd tables")
    run = crowd.network.start(crowd.network.submit(text), [*GOOD, *ODD])
    same(crowd.finish(run), wanted(text, *ODD, asked=len(GOOD) + len(ODD)))
    assert not run.status()["left"]
    assert "1 had one outcome only" in run.results().sentence  # left out of the comparison, and counted
    ended(crowd, [*ODD])
    nothing_leaked(crowd)


def test_a_run_that_pauses_for_want_of_sites_goes_on_when_the_table_is_mended(crowd: Federation, wanted: Any):
    (crowd.folder / "mended.csv").write_text(MISFITS["comma"].csv)
    crowd.start_site("mended")
    run = crowd.network.start(crowd.network.submit(WHOLE), [*GOOD, "mended"])
    until(lambda: run.status()["status"] == "paused")
    says = run.status()["says"]
    assert "3 of 4 sites are left, 4 must be" in says
    assert "mended: the site's table does not fit the study at 'age'" in says
    assert "mend the cause, then resume it" in says
    (crowd.folder / "mended.csv").write_text(OWN)
    assert speak("study", "resume", run.name, "--folder", crowd.hub).code == 0
    same(crowd.finish(run), wanted(WHOLE, "mended", asked=4))
    assert known(crowd.folder / "mended", run.name)["detail"] == ""
    ended(crowd, ["mended"])
    nothing_leaked(crowd)


# Updates that lie -------------------------------------------------------------------------------------------------------------


def lying(federation: Federation, lie: str) -> str:
    """Start the site that tells this lie; its name."""
    name = "lier-nan" if lie.startswith("nan") else lie.partition(":")[0]
    federation.start(name, "site", str(federation.folder / name), lie, module="tests.system.spoilt")
    return name


def test_updates_of_a_wrong_form_are_refused_and_the_others_go_on(crowd: Federation, wanted: Any):
    names = {lying(crowd, lie): says for lie, says in LIES.items()}
    run = crowd.network.start(crowd.network.submit(PLAIN), [*GOOD, *names])
    found, alone = crowd.finish(run), wanted(PLAIN, asked=len(GOOD))
    np.testing.assert_allclose(found["fit/coef"], alone["fit/coef"], rtol=1e-8)
    np.testing.assert_allclose(found["compare/joint/value"], alone["compare/joint/value"], rtol=1e-8)
    said = sentences(run)
    for name, says in names.items():
        told = until(lambda name=name: (k := known(crowd.folder / name, run.name)).get("status") == "left" and k)
        assert all(part in told["detail"] for part in says.replace("{more}", "|").replace("{less}", "|").split("|")), told
        assert [line for line in said if line.startswith(f"{name}: {name} left the run: ")]
    ended(crowd, [*names])
    nothing_leaked(crowd)


def test_what_was_learned_before_a_lie_is_kept_through_pause_and_resume(crowd: Federation, wanted: Any):
    crowd.start("mended", "site", str(crowd.folder / "mended"), "crowd:1:4", module="tests.system.spoilt")
    (crowd.folder / "mended.csv").write_text(OWN)
    run = crowd.network.start(crowd.network.submit(BARE), [*GOOD, "mended"])
    until(lambda: run.status()["status"] == "paused")
    assert run.status()["round"] == 4
    ended(crowd, ["mended"])
    crowd.start_site("mended")
    run.resume()
    same(crowd.finish(run), wanted(BARE, "mended", asked=4))
    assert max(r["attempt"] for r in run.status()["rounds"] if (r["stage"], r["round"]) == ("fit", 4)) > 1
    ended(crowd, ["mended"])


# Frames cut short or altered --------------------------------------------------------------------------------------------------


class Voice:
    """A site's own key in the hands of the test: it says to the coordinator what no agent would."""

    def __init__(self, home: Path) -> None:
        self.link: Link = agent.linked(config.load(home), {}, "test")

    def work(self, body: bytes, signed: bytes | None = None) -> Any:
        """A call for work with this body; `signed` is what the signature stands for, if not that."""
        self.link.identity()
        if signed is None:
            return self.link.call("POST", "/v1/work", body=body, kind=PACKED)
        signature, headers = self.link.sign("POST", "/v1/work", "", identity.digest(signed), PACKED)
        status, got, answer = self.link.exchange("POST", "/v1/work", body, headers)
        self.link.refused(status, got, answer, signature)
        return status

    def __enter__(self) -> "Voice":
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()


def test_a_frame_cut_short_or_altered_does_not_count_and_holds_nobody_up(crowd: Federation, wanted: Any):
    run = crowd.network.start(crowd.network.submit(HASTY), [*GOOD, "oslo"])
    with Voice(crowd.folder / "oslo") as oslo:
        asking = {"run": run.name, "serving": [], "answer": None, "line": None, "wait_s": 5}
        task = until(lambda: oslo.link.work(asking)[0].get("task"))
        nbytes = 16 + 8 * sum(int(np.prod(shape)) for _, _, shape, _ in task["layout"]["leaves"])
        vector = bytes(nbytes - 8) + (1).to_bytes(8, "little")
        answer = {
            "version": 1, "run": run.name, "place": task["place"], "digest": identity.digest(vector), "nbytes": nbytes, "failure": "",
            "says": "", "final": False,
        }  # fmt: skip
        whole = pack(asking | {"answer": answer, "wait_s": 0}, vector)
        with pytest.raises(FrameError, match=r"a message of 40 bytes is cut short"):
            oslo.work(whole[:40])
        with pytest.raises(UpdateError, match=rf"site 'oslo': {nbytes - 24} bytes came, {nbytes} were announced"):
            oslo.work(whole[:-24])
        altered = whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:]
        with pytest.raises(UpdateError, match="the vector's digest does not hold"):
            oslo.work(altered)
        with pytest.raises(IdentityError, match="the body is not what its signature says: it was altered on the way"):
            oslo.work(altered, signed=whole)
        with pytest.raises(FrameError, match="a message is not JSON"):
            oslo.work(pack({}, b"").replace(b"{}", b"{?"))
        sock = oslo.link.dialler.connect()  # and one that breaks off within a body
        sock.sendall(b"POST /v1/work HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000\r\n\r\n" + bytes(100))
        sock.close()
    same(crowd.finish(run), wanted(HASTY, asked=4))
    assert not run.status()["left"]


# Join codes -------------------------------------------------------------------------------------------------------------------


def test_join_codes_that_are_damaged_unknown_used_or_of_another_coordinator(crowd: Federation, tmp_path: Path):
    def joining(code: str) -> Spoken:
        return speak("site", "join", code, "--folder", tmp_path / "late")

    sites = {site["name"] for site in crowd.network.sites()}
    good = crowd.network.invite("late")
    read = identity.read_code(good)
    for code, exit_code, says, hint in [
        (good[:-9] + ("a" if good[-9] != "a" else "b") + good[-8:], 8, "its checksum does not hold", "copy it again, whole"),
        (identity.mint(Code(read.url, read.coordinator, b"?" * 16)), 8, "this join code is not known here", "ask the operator"),
        (identity.mint(Code(read.url, "0" * len(read.coordinator), read.secret)), 8, "another coordinator answers at", "tell IT"),
    ]:
        found = joining(code)
        assert (found.code, says in found.err, hint in found.err) == (exit_code, True, True), found.err
    assert {site["name"] for site in crowd.network.sites()} == sites
    assert joining(good).code == 0  # a wrong code does not use up a right one
    used = speak("site", "join", good, "--folder", tmp_path / "thief")
    assert used.code == 7
    assert "this join code was used already" in used.err
    assert "ask for a new code; each works for one site" in used.err
    assert {site["name"] for site in crowd.network.sites()} == sites | {"late"}
    assert "Every hop works." in doctor(tmp_path / "late", {}).out


# Clocks -----------------------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_off_by_a_day_changes_nothing_and_is_said(crowd: Federation, tmp_path: Path, wanted: Any):
    ahead, behind, gone = (spoilt.clock(tmp_path, days * 86400) for days in (1, -1, -40))
    crowd.start("constant", "site", str(crowd.folder / "constant"), environ=ahead)
    crowd.start("few", "site", str(crowd.folder / "few"), environ=behind)
    text = titled("Clocks")
    run = crowd.network.start(crowd.network.submit(text), [*GOOD, "constant", "few"])
    same(crowd.finish(run), wanted(text, "constant", "few", asked=5))
    assert not run.status()["left"]
    told = doctor(crowd.folder / "constant", ahead)
    assert "ok   clock: this machine's clock is 24.0 hours ahead of the coordinator's" in told.err
    assert "set it by NTP" in told.err
    told = doctor(crowd.folder / "few", behind)
    assert "24.0 hours behind the coordinator's" in told.err
    told = doctor(crowd.folder / "few", gone)
    assert told.code == 4
    assert "FAIL tls" in told.err
    assert "clock" in told.err
    ended(crowd, ["constant", "few"])
    crowd.start_site("constant")  # its clock is set right, a day back: it is still known and heard
    later = titled("Later")
    run = crowd.network.start(crowd.network.submit(later), [*GOOD, "constant"])
    same(crowd.finish(run), wanted(later, "constant", asked=4))
    assert not run.status()["left"]
    ended(crowd, ["constant"])


def doctor(home: Path, environ: Mapping[str, str]) -> Spoken:
    """`collegium site doctor` on a machine with this clock; the long wait at the end is not asked for."""
    code = (
        "import functools, sys\n"
        "from collegium.cli.shell import execute\nfrom collegium.cli.tree import collegium\nfrom collegium.site import doctor\n"
        "doctor.diagnose = functools.partial(doctor.diagnose, wait_s=0)\n"
        "sys.exit(execute(collegium, ['site', 'doctor', '--folder', sys.argv[1]]))"
    )
    command, environ = [sys.executable, "-c", code, str(home)], {"PATH": "/usr/bin:/bin", **environ}
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=ROOT, env=environ)
    return Spoken(done.returncode, done.stdout, done.stderr)


# Training that diverges -------------------------------------------------------------------------------------------------------


def test_training_that_diverges_says_so_and_keeps_the_best(crowd: Federation, wanted: Any):
    text = STUDY.format(method="{kind: averaging, hidden: [4], rounds: 12, local: {lr: 1000000}}", more="")
    run = crowd.network.start(crowd.network.submit(text), [*GOOD])
    found = crowd.finish(run)
    same(found, wanted(text, asked=3))
    (last,) = [figures for figures in run.status()["figures"] if figures.get("diverged")]
    assert (last["stage"], last["round"]) == ("fit", 2)
    assert last["loss"] > 500 > 1 > last["best"]
    assert any("diverged 1" in says for says in sentences(run))
    results = run.results()
    assert results.sentence.startswith("Training diverged; the best model before that is kept. Lower the learning rate")
    first = plan.first(manifest.read(text), manifest.read(text).method, [], {"encoded": {"width": len(results.encoded)}})  # type: ignore[arg-type]
    for name, leaf in T.flatten(first).items():
        np.testing.assert_array_equal(found[f"fit/params/{name}"], leaf)  # the best loss was that of the weights it began with


def test_training_that_bursts_in_its_first_step_pauses_with_the_reason(crowd: Federation):
    text = STUDY.format(method="{kind: averaging, hidden: [4], rounds: 12, local: {lr: '1e30'}}", more="")
    run = crowd.network.start(crowd.network.submit(text), [*GOOD])
    until(lambda: run.status()["status"] == "paused")
    assert "held NaN or infinity: training may diverge (lower the learning rate)" in run.status()["says"]
    told = lambda name: speak("site", "status", "--folder", crowd.folder / name, "--json").out
    until(lambda: any("way out: lower the learning rate" in told(name) for name in GOOD))
    run.stop()
    assert set(run.results().trees) == {"features"}  # what was learned before is fetched


# Full disks -------------------------------------------------------------------------------------------------------------------


LARGE = f"""
collegium: 1
title: A large sum
purpose: To fill disks.
patient: who
variables:
  sex: {{kind: category, categories: [F, M, {", ".join(f"s{n}" for n in range(398))}]}}
  code: {{kind: category, categories: [I50, E11, {", ".join(f"c{n}" for n in range(398))}]}}
method: {{kind: statistics, cross: [[sex, code]]}}
"""


def test_a_full_disk_at_the_coordinator_is_said_and_waited_for(tmp_path: Path):
    with spoilt.small_disk(tmp_path / "hub", "90m") as disk, Federation(tmp_path, GOOD) as federation:
        for name in ("leeds", "porto"):
            federation.start_site(name)
        (small, large) = (federation.network.submit(text) for text in (PLAIN, LARGE))
        disk.fill()
        with pytest.raises(StorageError, match="disk") as caught:
            federation.network.start(small)
        assert "nothing is lost" in caught.value.hint
        disk.free()
        run = federation.network.start(small)
        until(lambda: len(run.status()["answered"]) == 2)  # two updates are committed, the third one is not
        disk.fill()
        federation.start_site("turku")
        told = until(lambda: speak("site", "status", "--folder", tmp_path / "turku", "--json").document["data"]["trouble"])
        assert "database or disk is full" in told
        disk.free()
        same(federation.finish(run), without(tmp_path, [*GOOD], PLAIN, 3))
        disk.fill(leave=20 << 20)  # too little for three large uploads
        run = federation.network.start(large)
        says = until(lambda: "disk" in (found := run.status()["says"]) and found)
        assert "waits for the coordinator's disk: the coordinator's disk has " in says
        assert "MiB left, " in says
        assert "MiB are needed" in says
        disk.free()
        same(federation.finish(run), without(tmp_path, [*GOOD], LARGE, 3))


def test_a_full_disk_at_a_site_is_said_there_and_waited_for(tmp_path: Path):
    sites = {**GOOD, "bergen": OWN}
    with spoilt.small_disk(tmp_path / "bergen", "3m") as disk, Federation(tmp_path, sites) as federation:
        federation.start_sites()
        hasty, whole = (federation.network.submit(text) for text in (HASTY, WHOLE))
        until(lambda: speak("site", "status", "--folder", tmp_path / "bergen", "--json").document["data"]["contact"])
        disk.fill()
        run = federation.network.start(hasty)
        same(federation.finish(run), without(tmp_path, [*GOOD], HASTY, 4))  # the others did not wait for it
        status = until(lambda: (found := speak("site", "status", "--folder", tmp_path / "bergen")).out.count("disk") and found)
        assert "make room on the disk" in status.out
        run = federation.network.start(whole)
        until(lambda: run.status()["waiting"] == ["bergen"])
        disk.free()
        same(federation.finish(run), without(tmp_path, [*sites], WHOLE, 4))
        assert ledger.verify(tmp_path / "bergen" / "state" / "ledger.jsonl") > 10
