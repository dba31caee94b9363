"""Forty styles in which tables name patients, made up: a header as some hospital would write it, and values. No real person."""

import random
from collections.abc import Callable
from typing import NamedTuple

FIRST_NAMES = """
Amelie Björn Carla Dmitri Elif Fatma Gustav Hannelore Ibrahim Jolanda Karl Lena Mohammed Noor Otto Petra Qin Rosa Samuel Tereza
Anna James Mary John Maria Peter Thomas Sophie Marie Jean José Carmen Lucia Marco Giulia Jan Piet Ole Astrid Emma
"""
FIRST = FIRST_NAMES.split()
LAST_NAMES = """
Müller O'Brien Smith-Jones Kowalski García Rossi Dubois Nguyen van.Dijk Jansen Yılmaz Novák Andersson Hansen Schmidt Weber Brown
Taylor Wilson Fernández Moreau Lefèvre Bianchi Conti Kowal Zieliński Becker Wagner Schulz Hoffmann Evans Roberts
"""
LAST = LAST_NAMES.split()
ROADS = ["High Street", "Station Road", "Church Lane", "Oak Avenue", "Mill Drive"]


class Style(NamedTuple):
    """One style: what headers it comes under, and how a value is made. A header of "" stands for one that tells nothing."""

    name: str
    headers: tuple[str, ...]
    make: Callable[[random.Random], str]


def pick(r: random.Random, *of: str) -> str:
    return r.choice(of)


def digits(r: random.Random, n: int) -> str:
    return str(r.randint(1, 9)) + "".join(str(r.randint(0, 9)) for _ in range(n - 1))


def day(r: random.Random) -> tuple[int, int, int]:
    return r.randint(1925, 2005), r.randint(1, 12), r.randint(1, 28)


def dated(form: str) -> Callable[[random.Random], str]:
    def make(r: random.Random) -> str:
        y, m, d = day(r)
        return form.format(y=y, m=m, d=d, yy=y % 100, h=r.randint(0, 23))

    return make


def first(r: random.Random) -> str:
    return r.choice(FIRST)


def last(r: random.Random) -> str:
    return r.choice(LAST)


def unique(r: random.Random) -> str:
    return f"{r.getrandbits(32):08x}-{r.getrandbits(16):04x}-4{r.getrandbits(12):03x}-a{r.getrandbits(12):03x}-{r.getrandbits(48):012x}"


def nir(r: random.Random) -> str:
    return (
        f"{r.randint(1, 2)} {r.randint(30, 99)} {r.randint(10, 12)} {r.randint(10, 95)} {digits(r, 3)} {digits(r, 3)} {r.randint(10, 97)}"
    )


STYLES = [
    Style("given and family name", ("patient_name", "Name des Patienten", "PatientName", ""), lambda r: f"{first(r)} {last(r)}"),
    Style("family, given", ("NAME", "Full Name", ""), lambda r: f"{last(r)}, {first(r)}"),
    Style("capitals", ("PAT_NAME", "nom_patient", ""), lambda r: f"{last(r)} {first(r)}".upper()),
    Style("title and name", ("Patientenname", ""), lambda r: f"{pick(r, 'Mr', 'Mrs', 'Dr.', 'Frau', 'Herr')} {first(r)} {last(r)}"),
    Style("given names alone", ("first_name", "Vorname", "prénom", "FirstName", ""), first),
    Style("family names alone", ("surname", "Nachname", "apellidos", "cognome", "LAST_NAME", "achternaam"), last),
    Style("initials", ("initials", "patient initials"), lambda r: f"{first(r)[0]}.{last(r)[0]}."),
    Style("mother's name", ("mothers_name", "next_of_kin"), lambda r: f"{first(r)} {last(r)}"),
    Style("record number of digits", ("MRN", "patient_id", "Fallnummer", "hadm_id", "PatNr", ""), lambda r: digits(r, 8)),
    Style("record number with letters", ("mrn", "medical_record_number", "case no.", ""), lambda r: f"MRN{digits(r, 7)}"),
    Style("record number by year", ("numero de dossier", "encounter_nbr", ""), lambda r: f"{r.randint(2015, 2024)}-{digits(r, 6)}"),
    Style("universal identifier", ("subject_uuid", "person key", ""),
          unique),
    Style("birth date, ISO", ("dob", "birth_date", "geboren am", "date_naissance", ""), dated("{y}-{m:02}-{d:02}")),
    Style("birth date, dotted", ("Geburtsdatum", "GebDat", ""), dated("{d:02}.{m:02}.{y}")),
    Style("birth date, American", ("DateOfBirth", "DOB", ""), dated("{m:02}/{d:02}/{y}")),
    Style("birth date, short year", ("geb_datum", "fecha de nacimiento", ""), dated("{d}.{m}.{yy:02}")),
    Style("birth date, no separators", ("birthdate", "naissance", ""), dated("{y}{m:02}{d:02}")),
    Style("moment", ("birth_datetime", ""), dated("{y}-{m:02}-{d:02}T{h:02}:30:00")),
    Style("English address", ("address", "home_address", "addr1", ""), lambda r: f"{r.randint(1, 200)} {r.choice(ROADS)}"),
    Style("German address", ("Anschrift", "Strasse", "Straße", ""),
          lambda r: f"{pick(r, 'Haupt', 'Garten', 'Linden')}{pick(r, 'straße', 'str.', 'weg')} {r.randint(1, 99)}"),
    Style("French address", ("adresse", ""),
          lambda r: f"{r.randint(1, 99)}, {pick(r, 'rue', 'avenue', 'place')} {pick(r, 'de la Paix', 'Victor Hugo')}"),
    Style("Spanish or Italian address", ("direccion", "indirizzo", ""),
          lambda r: f"{pick(r, 'Calle', 'Via', 'Plaza')} {pick(r, 'Mayor', 'Roma')} {r.randint(1, 99)}"),
    Style("town", ("city", "Wohnort", "ville", "patient_city"),
          lambda r: pick(r, "Northfield", "Lindenau", "Fjordside", "Kleinstadt", "Beauville", "Elmwood")),
    Style("British postcode", ("postcode", "Post Code", ""),
          lambda r: f"{pick(r, 'SW', 'M', 'LS', 'EH')}{r.randint(1, 20)} {r.randint(1, 9)}{pick(r, 'AA', 'BD', 'XY')}"),
    Style("five digits of a postcode", ("PLZ", "zip", "zip_code", "ZIPCODE", "code postal", "CAP"),
          lambda r: f"{r.randint(1000, 99999):05}"),
    Style("Canadian or Dutch postcode", ("postal_code", ""),
          lambda r: pick(r, f"K1A {r.randint(0, 9)}B1", f"{r.randint(1000, 9999)} AB")),
    Style("international telephone", ("phone", "Telefon", "mobile_number", "téléphone", ""),
          lambda r: f"+{r.randint(31, 49)} {digits(r, 3)} {digits(r, 7)}"),
    Style("American telephone", ("Phone Number", "home_phone", ""), lambda r: f"({digits(r, 3)}) {digits(r, 3)}-{digits(r, 4)}"),
    Style("German telephone", ("Tel.", "Handy", ""), lambda r: f"0{digits(r, 3)}/{digits(r, 6)}"),
    Style("e-mail", ("email", "E-Mail-Adresse", "courriel", "correo electrónico", ""),
          lambda r: f"{first(r).lower()}.{digits(r, 3)}@example.org"),
    Style("US social security number", ("ssn", "SocialSecurityNumber", ""), lambda r: f"{digits(r, 3)}-{digits(r, 2)}-{digits(r, 4)}"),
    Style("NHS number", ("nhs_number", "NHS No", ""), lambda r: f"{digits(r, 3)} {digits(r, 3)} {digits(r, 4)}"),
    Style("German insurance number", ("Versichertennummer", "KVNR", "Krankenversichertennummer", ""),
          lambda r: f"{pick(r, 'A', 'K', 'X')}{digits(r, 9)}"),
    Style("French NIR", ("NIR", "num sécurité sociale", ""),
          nir),
    Style("Italian tax code", ("codice_fiscale", ""), lambda r: f"RSSMRA{r.randint(10, 99)}A{r.randint(10, 28)}H{digits(r, 3)}Z"),
    Style("Spanish DNI", ("DNI", "nif", ""), lambda r: f"{digits(r, 8)}{pick(r, *'TRWAGMY')}"),
    Style("Scandinavian personal number", ("personnummer", "CPR", "cpr_nr", ""),
          lambda r: dated("{d:02}{m:02}{yy:02}")(r) + f"-{digits(r, 4)}"),
    Style("Brazilian CPF", ("CPF", ""), lambda r: f"{digits(r, 3)}.{digits(r, 3)}.{digits(r, 3)}-{digits(r, 2)}"),
    Style("bank account", ("IBAN", ""),
          lambda r: f"DE{digits(r, 2)} {digits(r, 4)} {digits(r, 4)} {digits(r, 4)} {digits(r, 4)} {digits(r, 2)}"),
    Style("device or web address", ("ip_address", "device_serial_number", "url", ""),
          lambda r: ".".join(str(r.randint(1, 254)) for _ in range(4))),
]  # fmt: skip


def column(style: Style, header: str, rows: int, seed: int) -> tuple[str, list[str]]:
    """A column in a style: its header, and its values, of which some are missing."""
    r = random.Random(f"{style.name}|{header}|{seed}")
    return header or f"column{r.randint(1, 40)}", ["" if r.random() < 0.05 else style.make(r) for _ in range(rows)]
