"""One readmission study over four kinds of hospital, each read through its mapping: OMOP, FHIR, PostgreSQL and CSV.

What is summed is what SQL counts by hand.
"""

import csv
import gzip
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

import collegium
from collegium import recipes
from collegium.data import intake, quality, registry
from collegium.data.place import Place
from collegium.study import manifest
from collegium.table import Table
from tests import records, servers
from tests.datasets import dataset

pytestmark = [pytest.mark.slow, pytest.mark.system]
PLANTED = 160
Counts = dict[str, int]  # admissions, those who came back, of these with heart failure


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    with servers.postgresql() as running:
        yield running


def by_hand(link: duckdb.DuckDBPyConnection, stays: str) -> Counts:
    """The cohort counted from a list of stays, without our views: patient, began, ended, adult, dead, failing, planned, last_day.

    A stay that another one goes on from is not the end of its admission; what counts is whether anybody comes back.
    """
    found = link.execute(f"""
        with s as ({stays}), ends as (
            select s.*, exists (select 1 from s n where n.patient = s.patient and not n.planned
                    and n.began between s.ended + 1 and s.ended + 30) as back,
                s.failing or exists (select 1 from s n where n.patient = s.patient
                    and n.ended = s.began and n.began < s.began and n.failing) as ill
            from s where not exists (select 1 from s n where n.patient = s.patient and n.began = s.ended and n.ended > s.ended)
        )
        select count(*), count(*) filter (where back), count(*) filter (where back and ill), count(*) filter (where ill)
        from ends where adult and not dead and ended + 30 <= last_day
    """).fetchone()
    assert found is not None
    return dict(zip(("stays", "back", "back_ill", "ill"), found, strict=True))


def counted(table: Table) -> Counts:
    """The same of a table that was read."""
    back, ill = table["readmitted"] == "yes", table["heart_failure"] == "yes"
    return {"stays": len(table), "back": int(back.sum()), "back_ill": int((back & ill).sum()), "ill": int(ill.sum())}


def planted(people: list[int], first_visit: int, seed: int) -> records.World:
    """Admissions of some patients with heart failure among their diagnoses or not, a third of them back within the month."""
    rng, out = random.Random(seed), records.World()
    for at in range(PLANTED):
        who, month, day = people[at % len(people)], 1 + at // len(people) * 3, rng.randrange(1, 9)
        visit, began = first_visit + 3 * at, f"2017-{month:02}-{day:02}"
        out.visits.append((visit, who, "inpatient", began, f"2017-{month:02}-{day + 4:02}", "", "home"))
        if at % 5 == 0:  # moved to another ward
            out.visits.append(
                (visit + 1, who, "inpatient", f"2017-{month:02}-{day + 4:02}", f"2017-{month:02}-{day + 7:02}", "transfer", "home")
            )
        if at % 3 == 0:
            out.visits.append((visit + 2, who, "inpatient", f"2017-{month:02}-{day + 15:02}", f"2017-{month:02}-{day + 16:02}", "", "home"))
        out.conditions.append((who, visit, began, ("I50.9", "J18.9", "I11.0", "E11.9")[at % 4], True))
    return out


def omop_site(folder: Path) -> tuple[Place, Counts]:
    """Eunomia's patients, with admissions planted into a copy."""
    path = folder / "eunomia.duckdb"
    with gzip.open(dataset("omop") / "eunomia.duckdb.gz") as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)
    with duckdb.connect(str(path)) as link:
        adults = link.execute("""select person_id from person where year_of_birth between 1930 and 1970 and person_id not in
            (select person_id from visit_occurrence where visit_start_date >= '2016-06-01') order by person_id limit 40""").fetchall()
        tables = records.omop(planted([one for (one,) in adults], 10_000_000, 1), "5.3")
        for name in ("visit_occurrence", "condition_occurrence", "concept"):
            columns, rows = tables[name]
            link.executemany(f"insert into {name} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})", rows)
        counts = by_hand(link, """
            select v.person_id as patient, v.visit_start_date as began, v.visit_end_date as ended,
                v.visit_start_date >= make_date(p.year_of_birth + 18, p.month_of_birth, p.day_of_birth) as adult,
                false as dead, false as planned, c.visit_occurrence_id is not null as failing,
                (select max(visit_end_date) from visit_occurrence) as last_day
            from visit_occurrence v join person p using (person_id)
            left join (select distinct visit_occurrence_id from condition_occurrence where condition_source_value in ('I50.9', 'I11.0')) c
                using (visit_occurrence_id)
            where v.visit_concept_id = 9201
        """)  # fmt: skip
    return Place(str(path), view="omop/readmission"), counts


def fhir_site(folder: Path) -> tuple[Place, Counts]:
    """The export of a generator that is not ours (clinosim, MIT), and beside it records of our own writer."""
    bulk = folder / "made"
    subprocess.run([sys.executable, "-m", "clinosim.simulator.cli", *SIMULATE, "-o", folder / "out"], check=True, stdout=subprocess.DEVNULL)
    shutil.copytree(folder / "out" / "fhir_r4", bulk)
    ours = planted(list(range(1, 41)), 1, 2)
    ours.people += [(n, f"19{30 + n}-01-01", "FM"[n % 2], "") for n in range(1, 41)]
    for kind, many in records.fhir(ours).items():
        (bulk / f"{kind}.ours.ndjson").write_text("".join(json.dumps(one) + "\n" for one in many))
    read = lambda kind: f"(select json as r from read_ndjson_objects('{bulk}/{kind}.*'))"
    name = lambda path: f"regexp_extract(regexp_replace(r->>'$.{path}', '/_history.*', ''), '[^/:]+$')"
    day = lambda path: f"left(r->>'$.{path}', 10)::date"
    with duckdb.connect() as link:
        counts = by_hand(
            link,
            f"""
            with e as (select {name("subject.reference")} as patient, r->>'$.id' as id, {day("period.start")} as began,
                    {day("period.end")} as ended, r->>'$.hospitalization.dischargeDisposition.coding[0].code' as went,
                    coalesce(r->>'$.priority.coding[0].code' in ('EL', 'R'), false) as planned
                from {read("Encounter")} where r->>'$.class.code' = 'IMP'),
            p as (select r->>'$.id' as id, {day("birthDate")} as born, {day("deceasedDateTime")} as died from {read("Patient")}),
            everything as (select least(max({day("period.end")}), current_date) as last_day from {read("Encounter")}),
            c as (select distinct {name("encounter.reference")} as id from {read("Condition")}
                where regexp_matches(r->>'$.code', '"(I50[^"]*|I11.0|I13.[02]|I09.81)"'))
            select e.patient, e.began, e.ended, e.began >= p.born + interval 18 year as adult, c.id is not null as failing, last_day,
                coalesce(p.died <= e.ended, false) or coalesce(e.went, '') in ('exp', 'hosp') as dead, e.planned
            from e join p on p.id = e.patient left join c on c.id = e.id cross join everything where e.ended is not null
        """,
        )
    return Place(str(bulk), view="fhir/readmission"), counts


SIMULATE = ["simulate", "-p", "150", "-s", "7", "--country", "US", "--start", "2023-01-01", "--end", "2023-12-31", "--format", "fhir-r4"]


def stays(seed: int, rows: int) -> list[dict[str, Any]]:
    """A hospital's own list of stays, in the words of the study."""
    rng, variables = random.Random(seed), recipes.find("readmission").VARIABLES
    out = []
    for at in range(rows):
        row = {"patient_id": f"m{at % (rows * 3 // 4)}", "heart_failure": rng.choice(["yes", "no"])}
        for name, one in variables.items():
            levels = one.get("categories")
            row[name] = rng.choice(levels) if levels else rng.randrange(18, 90) if name == "age" else rng.randrange(0, 9)
        out.append(row)
    return out


BY_HAND = """select count(*) as stays, count(*) filter (where haus_readmitted = 'ja') as back,
    count(*) filter (where haus_readmitted = 'ja' and haus_heart_failure = 'ja') as back_ill,
    count(*) filter (where haus_heart_failure = 'ja') as ill"""
WORDS = {"yes": "ja", "no": "nein"}


def foreign(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same list in the words of the hospital that keeps it."""
    return [{f"haus_{name}": WORDS.get(value, value) for name, value in row.items()} for row in rows]


def mapped(folder: Path, row: dict[str, Any]) -> None:
    """The mapping from that hospital's words to the study's, as its data manager keeps it."""
    codes = {name: {"values": {theirs: ours for ours, theirs in WORDS.items()}} for name in ("heart_failure", "readmitted")}
    columns = {name: {"from": f"haus_{name}"} | codes.get(name, {}) for name in (one.removeprefix("haus_") for one in row)}
    (folder / "mappings").mkdir()
    (folder / "mappings" / "stays.yaml").write_text(yaml.safe_dump({"mapping": 1, "columns": columns}))


def postgresql_site(folder: Path, server: servers.Server) -> tuple[Place, Counts]:
    rows = foreign(stays(3, 300))
    columns = ", ".join(f"{name} {'integer' if isinstance(value, int) else 'text'}" for name, value in rows[0].items())
    values = ",\n".join(f"({', '.join(map(records.literal, row.values()))})" for row in rows)
    server.psql(f"create table stays ({columns}); insert into stays values {values};")
    back = server.psql(f"{BY_HAND} from stays").strip().split("|")
    mapped(folder, rows[0])
    secret = folder / "secret"
    secret.write_text(servers.PASSWORD)
    secret.chmod(0o600)
    place = Place(server.address(), table="stays", password_file=str(secret))
    return place, dict(zip(("stays", "back", "back_ill", "ill"), map(int, back), strict=True))


def csv_site(folder: Path) -> tuple[Place, Counts]:
    path = folder / "stays.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list((rows := foreign(stays(4, 280)))[0]))
        writer.writeheader()
        writer.writerows(rows)
    mapped(folder, rows[0])
    found = duckdb.execute(f"{BY_HAND} from read_csv('{path}')").fetchone()
    assert found is not None
    return Place(str(path)), dict(zip(("stays", "back", "back_ill", "ill"), found, strict=True))


def study() -> manifest.Study:
    """The recipe's variables, described: how many came back, with heart failure and without."""
    document = recipes.find("readmission").template()
    both = {name: {"kind": "category", "categories": ["no", "yes"]} for name in ("heart_failure", "readmitted")}
    document["variables"] |= both
    del document["outcome"]
    return manifest.read(document | {"method": {"kind": "statistics", "cross": [["readmitted", "heart_failure"]]}})


@pytest.mark.timeout(900)
def test_the_cohort_of_four_hospitals_is_what_sql_counts(tmp_path: Path, server: servers.Server):
    asked, tables, hand = study(), {}, {}
    sites = {"omop": omop_site, "fhir": fhir_site, "postgresql": partial(postgresql_site, server=server), "csv": csv_site}
    for name, made in sites.items():
        folder = tmp_path / name
        folder.mkdir()
        place, hand[name] = made(folder)
        registry.add(folder, "stays", place)
        if not (folder / "mappings").exists():  # the view speaks in the study's words already: its mapping renames nothing
            (folder / "mappings").mkdir()
            (folder / "mappings" / "stays.yaml").write_text("{mapping: 1, columns: {heart_failure: {from: heart_failure}}}")
        tables[name], _ = quality.passed(intake.named(folder, "stays", asked), asked)
        assert counted(tables[name]) == hand[name], name
    assert hand["omop"]["stays"] > 900
    assert hand["omop"]["ill"] >= 70
    assert any(who.startswith("pt-") for who in tables["fhir"].patient.tolist())  # the generator's patients
    found = collegium.simulate(asked, tables, pooled=False, secure=True).trees["cross readmitted heart_failure"]["counts"]
    (stayed_well, stayed_ill), (back_well, back_ill) = found[:2, :2].tolist()
    summed = {"stays": stayed_well + stayed_ill + back_well + back_ill, "back": back_well + back_ill, "back_ill": back_ill}
    summed["ill"] = stayed_ill + back_ill
    assert summed == {name: sum(one[name] for one in hand.values()) for name in summed}
