"""`collegium study` against a real federation: from a file to results, a model and a report."""

import json
from pathlib import Path

import pytest

from collegium.cli.household import Household
from tests.cli.speak import at_terminal, offered, speak

pytestmark = pytest.mark.system
SITES = [part for name in ("east", "north", "west") for part in ("--site", name)]  # another test invites one that never serves


def test_a_study_from_its_file_to_its_report(house: Household, tmp_path: Path):
    there = ("--folder", house.hub)
    assert "No study yet" in speak("study", "list", *there).out
    spoken = speak("study", "start", house.folder / "study.yaml", *SITES, "--dry-run", *there)
    assert spoken.code == 0, spoken.err
    assert "Compare and test" in spoken.out
    assert "No study yet" in speak("study", "list", *there).out
    spoken = speak("study", "start", house.folder / "study.yaml", *SITES, "--json", *there)
    assert spoken.code == 0, spoken.err
    run, study = (spoken.document["data"][name] for name in ("run", "study"))
    spoken = speak("study", "watch", run[:5], "--jsonl", *there)
    assert spoken.code == 0, spoken.err
    events = [json.loads(line) for line in spoken.out.splitlines()]
    assert events[-1]["kind"] == "finished"
    assert {one["schema_version"] for one in events} == {1}
    assert speak("study", "watch", run, "--json", *there).document["data"]["status"] == "finished"
    assert speak("study", "list", *there, "--json").document["data"]["runs"][0]["status"] == "finished"
    seen = at_terminal("study", "watch", run, *there, columns=60)
    assert f"run {run} is finished" in " ".join(seen.split())
    assert "north  took part" in seen
    assert offered("study", "results", *there, run[:3]) == [run]
    assert offered("study", "show", *there, study[:3]) == [study[:12]]
    assert f"digest {study}" in speak("study", "show", study[:8], *there).out
    spoken = speak("study", "results", run, "--save", tmp_path / "model", *there)
    assert "Mean over hospitals" in spoken.out
    assert "odds ratio" in spoken.out
    assert speak("model", "show", tmp_path / "model").code == 0
    assert speak("study", "report", "--out", tmp_path / "r.html", *there).code == 0
    assert "Age and outcome" in (tmp_path / "r.html").read_text()
    house.leave()


def test_a_run_is_held_and_ended(house: Household):
    there = ("--folder", house.hub)
    again = house.folder / "again.yaml"
    again.write_text((house.folder / "study.yaml").read_text().replace("Age and outcome", "Nobody answers"))
    run = speak("study", "start", again, *SITES, "--json", *there).document["data"]["run"]
    assert speak("study", "pause", run, *there).out == f"run {run} rests after its present round.\n"
    assert speak("study", "pause", run, *there).code == 7
    paused = speak("study", "watch", run, *there)
    assert paused.code == 7
    assert f"collegium study resume {run}" in paused.err
    absent = speak("study", "start", "nofile.yaml", *there)
    assert absent.code == 6
    assert "there is no file 'nofile.yaml'" in absent.err
    assert speak("study", "resume", run, *there).code == 0
    spoken = speak("study", "results", run, *there)
    assert spoken.code == 7
    assert spoken.err.startswith(f"error: run {run} goes on")  # and says whom it waits for, once it has looked
    assert spoken.err.splitlines()[0].endswith("; it has no results")
    assert speak("study", "stop", run, *there).code == 1  # it asks, and nobody answers
    assert speak("study", "stop", run, "--yes", *there).code == 0
    spoken = speak("study", "watch", run, *there)
    assert spoken.code == 1
    assert "was stopped" in spoken.err
    assert f"collegium study report {run}" in speak("study", "results", run, *there).err
    spoken = speak("study", "report", run, "--json", *there)
    assert spoken.document["data"]["file"] == f"report-{run}.html", spoken.err
    page = Path(f"report-{run}.html").read_text()
    assert "This run was stopped: stopped on request. It has no results." in page
    assert "started with 3 sites: east, north, west" in page
    assert speak("study", "watch", "zzzz", *there).code == 6


def test_from_another_machine_the_coordinator_is_named(house: Household):
    assert house.network is not None
    key, mark = house.hub / "operator.key", house.network.link.fingerprint
    url = f"https://{house.network.link.dialler.to}"
    assert speak("study", "list", "--url", url, "--key", key, "--coordinator", mark).code == 0
    assert speak("study", "list", "--url", url, "--key", key, "--coordinator", "0" * 32).code == 8
    assert speak("study", "list", "--url", url).code == 6
