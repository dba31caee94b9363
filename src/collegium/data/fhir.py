"""FHIR R4 bulk exports: a folder of NDJSON files, one kind of resource each, plain or gzipped, of any size.

Only the fields that `fhir.sql` reads are taken from each line, as they come; a field that a server leaves out is null. A file that
a folder does not have is a table without rows, but for patients and encounters.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collegium.data import duck
from collegium.data.place import Place
from collegium.errors import DataError

# Kind of resource -> the fields read from it. Those in capitals are plain texts; the others keep their form until it is asked for.
RESOURCES = {
    "Patient": ("ID", "GENDER", "BIRTHDATE", "DECEASEDDATETIME", "identifier"),
    "Encounter": ("ID", "STATUS", "class", "subject", "period", "priority", "hospitalization", "diagnosis"),
    "Condition": ("ID", "subject", "encounter", "code", "ONSETDATETIME", "onsetPeriod", "RECORDEDDATE", "verificationStatus"),
    "Observation": ("ID", "STATUS", "subject", "encounter", "code", "category", "EFFECTIVEDATETIME", "effectivePeriod",
                    "EFFECTIVEINSTANT", "ISSUED", "valueQuantity"),
    "MedicationRequest": ("ID", "STATUS", "subject", "encounter", "medicationCodeableConcept", "medicationReference", "contained",
                          "AUTHOREDON"),
    "Procedure": ("ID", "STATUS", "subject", "encounter", "PERFORMEDDATETIME", "performedPeriod"),
}  # fmt: skip
SPELT = {
    "ID": "id", "GENDER": "gender", "STATUS": "status", "BIRTHDATE": "birthDate", "DECEASEDDATETIME": "deceasedDateTime",
    "ONSETDATETIME": "onsetDateTime", "RECORDEDDATE": "recordedDate", "EFFECTIVEDATETIME": "effectiveDateTime",
    "EFFECTIVEINSTANT": "effectiveInstant", "ISSUED": "issued", "AUTHOREDON": "authoredOn", "PERFORMEDDATETIME": "performedDateTime",
}  # fmt: skip
REQUIRED = ("Patient", "Encounter")
NAMED = re.compile(r"(?:^|[^A-Za-z])(" + "|".join(RESOURCES) + r")(?![A-Za-z]).*\.(?:ndjson|jsonl|json)(?:\.gz)?$")
LONGEST = 64 << 20  # bytes of one resource: a patient with a photograph inside


def files(place: Place) -> dict[str, list[Path]]:
    """The files of each kind of resource, by their names: Patient.ndjson, 1.Patient.ndjson.gz, Patient.000.ndjson."""
    found: dict[str, list[Path]] = {}
    for path in sorted(Path(place.path).iterdir()):
        if path.is_file() and (kind := NAMED.search(path.name)):
            found.setdefault(kind[1], []).append(path)
    return found


def prelude(place: Place) -> str:
    """The tables fhir_* as the beginning of a query. Raises `DataError` naming the file that is missing."""
    found = files(place)
    for kind in REQUIRED:
        if kind not in found:
            raise DataError(
                f"{place.label} has no file of {kind} resources", hint=f"wanted {kind}.ndjson, or {kind}.000.ndjson.gz and so on"
            )
    return ",\n".join(uniform(kind, found.get(kind, [])) for kind in RESOURCES)


def uniform(kind: str, there: list[Path]) -> str:
    """One kind of resource with all the fields that are asked for."""
    fields = {SPELT.get(name, name): "VARCHAR" if name in SPELT else "JSON" for name in RESOURCES[kind]}
    if not there:
        return f"fhir_{kind} as (select {', '.join(f'null::{type_} as {duck.name(name)}' for name, type_ in fields.items())} where false)"
    listed = ", ".join(duck.quoted(path) for path in there)
    columns = ", ".join(f"{duck.name(name)}: '{type_}'" for name, type_ in fields.items())
    options = f"format='newline_delimited', records=true, maximum_object_size={LONGEST}"
    return f"fhir_{kind} as (select * from read_json([{listed}], {options}, columns={{{columns}}}) where id is not null)"


@contextmanager
def opened(place: Place) -> Iterator[Any]:
    """DuckDB with the files of a folder at hand; it reads nothing else."""
    with duck.shut_in(*(path for paths in files(place).values() for path in paths)) as link:
        for macro in MACROS:
            link.execute(f"create temp macro {macro}")
        yield link


# A reference is relative, absolute, a urn:uuid, a search or a version of something: its last name is the resource's. The day is the
# one that was written down, whatever time zone stands behind it; of a month or a year, its middle.
MACROS = (  # their parameters have names that no table has, or DuckDB would take a table's alias for them
    "pointed(_reference) as nullif(regexp_extract(coalesce(_reference->>'$.reference', _reference->>'$.identifier.value'), "
    "'([A-Za-z0-9.-]+)(/_history/[^/]*)?$', 1), '')",
    "day(_text) as try_cast(case length(_text) when 4 then _text || '-07-01' when 7 then _text || '-15' else left(_text, 10) end as date)",
    "coded(_concept, _system) as list_filter(json_transform(json_extract(_concept, '$.coding'), "
    '\'[{"system": "VARCHAR", "code": "VARCHAR"}]\'), lambda x: contains(lower(x.system), _system) and x.code is not null)[1].code',
    "any_code(_concept) as coalesce(_concept->>'$.coding[0].code', _concept->>'$.text')",
)
