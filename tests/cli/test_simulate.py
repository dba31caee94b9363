"""`collegium simulate`: the sheet for people, one document for programs."""

from pathlib import Path

import numpy as np
import pytest

from tests.cli.speak import speak

RNG = np.random.default_rng(5)
STUDY = """
title: Age
purpose: A test.
variables: {age: {kind: number}, ill: {kind: binary}}
outcome: {task: binary, target: ill}
method: {kind: averaging, rounds: 12, local: {lr: 0.3}}
held_out: {test: 3}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study.yaml").write_text(STUDY)
    whole = ["hospital,age,ill"]
    for site in ("north", "south"):
        ages = RNG.normal(60, 10, 200)
        ill = (RNG.random(200) < 1 / (1 + np.exp(-(ages - 60) / 6))).astype(int)
        rows = [f"{age:.1f},{y}" for age, y in zip(ages, ill, strict=True)]
        (tmp_path / f"{site}.csv").write_text("\n".join(["age,ill", *rows]) + "\n")
        whole += [f"{site},{row}" for row in rows]
    (tmp_path / "all.csv").write_text("\n".join(whole) + "\n")
    return tmp_path


def test_files_are_hospitals(folder: Path):
    spoken = speak("simulate", "study.yaml", "--site", "north=north.csv", "--site", "south=south.csv")
    assert spoken.code == 0, spoken.err
    assert "Mean over hospitals" in spoken.out
    assert "pooled" in spoken.out
    assert "round 10" in spoken.err


def test_one_file_may_hold_them_all_and_seeds_follow_each_other(folder: Path):
    spoken = speak("simulate", "study.yaml", "--data", "all.csv", "--by", "hospital", "--repeat", 2, "--seed", 4, "--no-pooled", "--json")
    runs = spoken.document["data"]["runs"]
    assert [one["seed"] for one in runs] == [4, 5]
    assert {line["name"] for line in runs[0]["sheet"]} >= {"north", "south"}
    assert runs[0]["sheet"][2]["pooled"] is None


def test_what_is_wrong_is_said(folder: Path):
    assert "NAME=FILE" in speak("simulate", "study.yaml", "--site", "north.csv").err
    assert "give the hospitals' files" in speak("simulate", "study.yaml").err
    assert speak("simulate", "study.yaml", "--site", "north=nowhere.csv").code == 1


def test_a_hospital_with_other_names_and_units_takes_part_through_its_mapping(folder: Path):
    rows = (folder / "north.csv").read_text().splitlines()[1:]
    other = [f"{float(row.split(',')[0]) * 12:.1f};{'ja' if row.endswith('1') else 'nein'}".replace(".", ",") for row in rows]
    (folder / "nord.csv").write_text("\n".join(["Alter (Monate);krank", *other, "unbekannt;ja"]) + "\n", encoding="utf-8-sig")
    (folder / "nord.yaml").write_text(
        "decimal: ','\ncolumns:\n"
        "  age: {from: Alter (Monate), unit: months}\n"
        "  ill: {from: krank, values: {ja: 1, nein: 0}}\n"
    )  # fmt: skip
    (folder / "years.yaml").write_text(STUDY.replace("age: {kind: number}", "age: {kind: number, unit: years, low: 0, high: 120}"))
    mapped = speak(
        "simulate", "years.yaml", "--site", "nord=nord.csv", "--mapping", "nord=nord.yaml", "--site", "south=south.csv", "--json"
    )
    assert mapped.code == 0, mapped.err
    plain = speak("simulate", "years.yaml", "--site", "nord=north.csv", "--site", "south=south.csv", "--json")
    gains = [[line["name"] for line in one.document["data"]["sheet"]] for one in (mapped, plain)]
    assert gains[0] == gains[1]
    refused = speak("simulate", "years.yaml", "--site", "nord=nord.csv", "--site", "south=south.csv")
    assert (refused.code, "column 'age': is not in the table" in refused.err) == (1, True)
    assert "which is not among the sites" in speak("simulate", "years.yaml", "--site", "a=north.csv", "--mapping", "b=nord.yaml").err
