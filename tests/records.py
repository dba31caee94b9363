"""A few made-up patients' records, written down as hospitals do: an OMOP database of any kind, or a FHIR bulk export.

The facts are tuples in the words of `data/views.py`; no reader of ours is used to write them.
"""

import contextlib
import csv
import gzip
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.servers import Server

CLASSES = {"inpatient": (9201, "IMP"), "emergency": (9203, "EMER"), "outpatient": (9202, "AMB"), "other": (32036, "X")}
PLACES = {  # discharged to: OMOP concept, FHIR code
    "home": (8536, "home"), "nursing facility": (8863, "snf"), "rehabilitation": (8920, "rehab"), "other hospital": (8717, "other-hcf"),
    "hospice": (8546, "hosp"), "died": (4216643, "exp"), "": (None, ""),
}  # fmt: skip
ORIGINS = {"emergency room": (9203, "emd"), "transfer": (8717, "hosp-trans"), "referral": (9202, "gp"), "": (None, "")}
ICD10, LOINC = "http://hl7.org/fhir/sid/icd-10-cm", "http://loinc.org"


@dataclass
class World:
    """What happened: numbers name people and visits, days are ISO dates."""

    people: list[tuple[int, str, str, str]] = field(default_factory=list)  # number, born, sex, died
    visits: list[tuple[int, int, str, str, str, str, str]] = field(default_factory=list)  # number, person, class, began, ended, from, to
    conditions: list[tuple[int, int, str, str, bool]] = field(default_factory=list)  # person, visit, day, ICD-10-CM code, main
    drugs: list[tuple[int, int, str, int]] = field(default_factory=list)  # person, visit, day, drug
    procedures: list[tuple[int, int, str]] = field(default_factory=list)  # person, visit, day
    labs: list[tuple[int, int, str, str, float]] = field(default_factory=list)  # person, visit, day, LOINC, value

    def codes(self) -> dict[str, int]:
        """A concept number for every code."""
        found = sorted({one[3] for one in self.conditions} | {one[3] for one in self.labs})
        return {code: 2_000_000_001 + at for at, code in enumerate(found)}


Tables = dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]]


def omop(world: World, version: str = "5.4") -> Tables:
    """The tables of an OMOP CDM: column names, and rows."""
    code, former = world.codes(), version == "5.3"
    came, went = (
        ("admitting_source_concept_id", "discharge_to_concept_id") if former else ("admitted_from_concept_id", "discharged_to_concept_id")
    )
    person = [(n, {"M": 8507, "F": 8532}[sex], *map(int, born.split("-"))) for n, born, sex, _ in world.people]
    visit = [(n, who, CLASSES[kind][0], began, ended or None, ORIGINS[source][0], PLACES[to][0])
             for n, who, kind, began, ended, source, to in world.visits]  # fmt: skip
    condition = [
        (at, who, visit, 0, code[icd], icd, day, 32817, 32902 if main else 0)
        for at, (who, visit, day, icd, main) in enumerate(world.conditions)
    ]
    labs = [(at, who, visit, code[loinc], day, value) for at, (who, visit, day, loinc, value) in enumerate(world.labs)]
    vocabularies = [(number, "LOINC" if "-" in name else "ICD10CM", name) for name, number in code.items()]
    return {
        "person": (("person_id", "gender_concept_id", "year_of_birth", "month_of_birth", "day_of_birth"), person),
        "visit_occurrence": (
            ("visit_occurrence_id", "person_id", "visit_concept_id", "visit_start_date", "visit_end_date", came, went), visit),
        "condition_occurrence": (
            ("condition_occurrence_id", "person_id", "visit_occurrence_id", "condition_concept_id", "condition_source_concept_id",
             "condition_source_value", "condition_start_date", "condition_type_concept_id", "condition_status_concept_id"), condition),
        "drug_exposure": (("person_id", "visit_occurrence_id", "drug_exposure_start_date", "drug_concept_id"), world.drugs),
        "procedure_occurrence": (("person_id", "visit_occurrence_id", "procedure_date"), world.procedures),
        "measurement": (
            ("measurement_id", "person_id", "visit_occurrence_id", "measurement_concept_id", "measurement_date", "value_as_number"), labs),
        "death": (("person_id", "death_date"), [(n, died) for n, _, _, died in world.people if died]),
        "concept": (("concept_id", "vocabulary_id", "concept_code"), vocabularies),
    }  # fmt: skip


def kind_of(column: str) -> str:
    """The SQL type of an OMOP column."""
    if column.endswith("_date"):
        return "date"
    return "varchar(255)" if column in ("vocabulary_id", "concept_code", "condition_source_value") else (
        "double precision" if column == "value_as_number" else "bigint")  # fmt: skip


def script(tables: Tables, schema: str = "") -> str:
    """The tables as SQL that every database understands."""
    lines = [f"create schema {schema};"] if schema else []
    for table, (columns, rows) in tables.items():
        name = f"{schema}.{table}" if schema else table
        lines.append(f"create table {name} ({', '.join(f'{one} {kind_of(one)}' for one in columns)});")
        lines += [f"insert into {name} values ({', '.join(map(literal, row))});" for row in rows]
    return "\n".join(lines)


def literal(value: Any) -> str:
    return "null" if value is None else str(value) if isinstance(value, int | float) else f"'{value}'"


def write_duckdb(path: Path, tables: Tables, schema: str = "") -> None:
    with duckdb.connect(str(path)) as link:
        link.execute("begin;" + script(tables, schema) + "commit;")


def write_sqlite(path: Path, tables: Tables) -> None:
    with contextlib.closing(sqlite3.connect(path)) as link:
        link.executescript("begin;" + script(tables) + "commit;")


def write_csv(folder: Path, tables: Tables) -> None:
    """As Athena and Synthea give it: one file a table, some in capitals, one gzipped."""
    folder.mkdir()
    for at, (table, (columns, rows)) in enumerate(tables.items()):
        name = folder / (f"{table.upper()}.csv" if at % 2 else f"{table}.csv")
        with name.open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
        if at == 1:
            name.with_suffix(".csv.gz").write_bytes(gzip.compress(name.read_bytes()))
            name.unlink()


def write_parquet(folder: Path, tables: Tables) -> None:
    folder.mkdir()
    with duckdb.connect() as link:
        link.execute(script(tables))
        for table in tables:
            link.execute(f"copy {table} to '{folder / table}.parquet' (format parquet)")


def write_postgresql(server: Server, tables: Tables, database: str, schema: str = "") -> None:
    server.psql(f"create database {database}")
    server.psql("begin;\n" + script(tables, schema) + "\ncommit;", database)


def fhir(world: World) -> dict[str, list[dict[str, Any]]]:
    """The resources of a bulk export. Servers write references in many ways, and leave much out."""
    out: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("Patient", "Encounter", "Condition", "Observation", "MedicationRequest", "Procedure")
    }
    for n, born, sex, died in world.people:
        out["Patient"].append(without({"id": f"p{n}", "gender": {"M": "male", "F": "female"}[sex], "birthDate": born,
                                       "deceasedDateTime": f"{died}T23:59:00+01:00" if died else ""}))  # fmt: skip
    for at, (n, who, kind, began, ended, source, to) in enumerate(world.visits):
        main = [f"c{at}" for at, one in enumerate(world.conditions) if one[1] == n and one[4]]
        stay = {"admitSource": concept("x", ORIGINS[source][1]), "dischargeDisposition": concept("x", PLACES[to][1])}
        out["Encounter"].append(without({
            "id": f"v{n}", "status": "finished", "class": {"code": CLASSES[kind][1]}, "subject": pointing("Patient", f"p{who}", at),
            "period": without({"start": f"{began}T00:30:00+02:00", "end": f"{ended}T10:00:00Z" if ended else ""}),
            "hospitalization": without(stay), "diagnosis": [{"condition": pointing("Condition", one, at), "rank": 1} for one in main],
        }))  # fmt: skip
    for at, (who, visit, day, icd, _) in enumerate(world.conditions):
        coding = [{"system": "http://example.org/ours", "code": "7"}, {"system": ICD10, "code": icd}]
        when = [{"onsetDateTime": day}, {"onsetPeriod": {"start": f"{day}T08:00:00Z"}}, {"recordedDate": day}][at % 3]
        out["Condition"].append({"id": f"c{at}", "code": {"coding": coding}, **about(who, visit, at), **when})
    for at, (who, visit, day, loinc, value) in enumerate(world.labs):
        out["Observation"].append({
            "id": f"o{at}", "status": "final", "category": [concept("http://x", "laboratory")], "code": concept(LOINC, loinc),
            "effectiveDateTime": f"{day}T07:00:00Z", "valueQuantity": {"value": value}, **about(who, visit, at),
        })  # fmt: skip
    for at, (who, visit, day, drug) in enumerate(world.drugs):
        held = {"resourceType": "Medication", "id": "m", "code": concept("rx", str(drug))}
        given = (
            {"medicationReference": {"reference": "#m"}, "contained": [held]}
            if at % 2
            else {"medicationCodeableConcept": concept("rx", str(drug))}
        )
        out["MedicationRequest"].append({"id": f"m{at}", "status": "completed", "authoredOn": day, **given, **about(who, visit, at)})
    for at, (who, visit, day) in enumerate(world.procedures):
        out["Procedure"].append({"id": f"r{at}", "status": "completed", "performedPeriod": {"start": day}, **about(who, visit, at)})
    return {kind: [{"resourceType": kind, **one} for one in many] for kind, many in out.items()}


def without(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]} if code else {}


def pointing(kind: str, name: str, at: int) -> dict[str, str]:
    forms = (f"{kind}/{name}", f"https://ehr.example.org/fhir/{kind}/{name}", f"urn:uuid:{name}", f"{kind}/{name}/_history/3")
    return {"reference": forms[at % len(forms)]}


def about(who: int, visit: int, at: int) -> dict[str, Any]:
    return without({"subject": pointing("Patient", f"p{who}", at), "encounter": pointing("Encounter", f"v{visit}", at) if visit else None})


def write_fhir(folder: Path, resources: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """One file a kind, the encounters in two, one of them gzipped, with empty lines between."""
    folder.mkdir()
    for kind, many in resources.items():
        lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in many]
        if kind == "Encounter":
            (folder / f"{kind}.000.ndjson").write_text("\n".join(lines[::2]))
            (folder / f"{kind}.001.ndjson.gz").write_bytes(gzip.compress("".join(lines[1::2]).encode()))
        elif lines:
            (folder / f"{kind}.ndjson").write_text("".join(lines))
