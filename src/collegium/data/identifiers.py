"""Does a column name patients? Told by what it is called, in nine languages, and by what its values look like.

    >>> look("Geburtsdatum", ["03.02.1950", "11.12.1971"])
    Finding(kind='birth dates', why='by its name')
    >>> look("v7", ["anna.berg@example.org", "j.doe@example.com"])
    Finding(kind='e-mail addresses', why='by its values')
    >>> look("haemoglobin", ["13.2", "9.8", "11.0"]) is None
    True

The kinds are those that the US rule on de-identification lists (45 CFR 164.514(b)(2)), and free text, which may hold any of them.
Nothing here is certain: a finding stops a study until the hospital says, with a reason, that the column may be read. A column
that a study's manifest closes to listed categories cannot name anybody and is not looked at.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

SAMPLE = 2000  # different values looked at
SHORTEST = {"postcodes": 4, "national or insurance numbers": 7}  # characters without which a number cannot be one; others: 6
MOST = 0.8  # share of the values that must have a form before the form is believed


class Finding(NamedTuple):
    """What a column seems to hold, and what tells so."""

    kind: str
    why: str


# What columns are called: words as they stand between separators, with spaces between them.
NAMED: dict[str, str] = {
    "birth dates": r"dob|d o b|(date|day|month) of birth|birth ?(date|day|datetime)|birth (month|time)|geburts ?(datum|tag)"
        r"|geb ?(datum|dat)|gebdat"
    r"|geboren( am)?|born( on)?|(date|jour)( de)? naissance|ddn|naissance|ne le|fecha( de)? nac(imiento)?|f nac(imiento)?|nacimiento"
    r"|data( di)? nascita|nascita|data( de)? nascimento|nascimento|geboorte ?datum|gebdatum|fodselsdato|fodelsedatum|data urodzenia",
    "names": r"(patient|full|first|last|given|family|middle|maiden|birth|sur|fore|second|pat|person|mother s?|father s?|spouse"
        r"|contact|kin"
    r"|attending|physician|doctor|provider|customer) ?names?|surname|forename|firstname|lastname|initials|next of kin|vor ?name"
    r"|nach ?name"
    r"|familien ?name|geburts ?name|patienten ?name|rufname|prenoms?|nom( de( famille|jeune fille|naissance)| (du )?patient| usuel"
    r"| complet)?"
    r"|nombres?( (del )?paciente| completo)?|apellidos?( \d)?|cognome|nome( (e )?cognome| completo| do paciente)?|sobrenome|voor ?naam"
    r"|achter ?naam|for ?namn|efter ?namn|for ?navn|etter ?navn|efternavn|imie|nazwisko",
    "record numbers": r"mrn|m r n|med(ical)? ?rec(ord)?( ?(no|nr|num(ber)?|id))?|(patient|pat|person|subject|case|encounter|visit"
        r"|stay|admission"
    r"|hadm|record|chart|hospital|participant|client|member|respondent|individual|fall|patienten|aufenthalts?|unit|icustay)"
    r" ?(id|ids|no|nr|nbr|num(ber)?|nummer|key|identifier|ident|code|kennung|barcode)|id (patient|pat|person|subject|case)|pat ?nr"
    r"|pid|id|slide id|fall ?nr"
    r"|patienten ?nr|ipp|n ?dossier|(num(ero)?|no|n)( de)? (dossier|sejour|patient)|nip|nhc|historia clinica|num(ero)? historia"
    r"|id paciente"
    r"|cartella( clinica)?|codice paziente|prontuario|patient ?nummer|patientnummer|accession ?(no|nr|number)?|specimen id|sample id"
    r"|(account|acct) ?(no|nr|num(ber)?|id)|uuid|guid|urn|identifier|pseudonym|study id",
    "addresses": r"(home |street |postal |mailing |patient )?address(es)?( ?(line)? ?\d)?|addr(ess)? ?\d?|street( name)?"
        r"|str(asse)?( ?(nr|hausnummer))?"
    r"|haus ?(nr|nummer)|house ?(no|nr|number)|anschrift|adresse( \d)?|wohn ?ort|ort|stadt|city|town|village|rue|voie|ville|commune|calle"
    r"|direccion|domicilio|ciudad|localidad|municipio|indirizzo|comune|citta|endereco|rua|cidade|bairro|straat|woonplaats|adres"
    r"|gatuadress"
    r"|postort|ulica|miasto|latitude|longitude|gps|geocode|census tract|residence",
    "postcodes": r"zip( ?code)?( ?\d)?|post ?code|postal ?code|plz( ?\d)?|post ?leit ?zahl|(code|cod|codigo) postal|cp|cap|cep"
        r"|codice postale"
    r"|postnummer|postnr|kod pocztowy|zip ?\d|zip source value",
    "telephone numbers": r"((home|work|mobile|cell|contact|day|evening) )?(tele)?phone( ?(no|nr|number|home|mobile|work))?( ?\d)?"
        r"|tel(efon)?"
    r"( ?(nr|nummer|privat|mobil))?( ?\d)?|telefonnummer|(cell|mobile)( ?(no|nr|number|phone))|mobile|mobil|handy( ?nr)?|fax( ?(no"
    r"|nr|number))?"
    r"|portable|telefono|movil|cellulare|celular|telefoon( ?nummer)?|gsm",
    "e-mail addresses": r"(e ?)?mail( ?address(e)?)?|courriel|correo( electronico)?|posta elettronica",
    "national or insurance numbers": r"ssn|social ?security( ?(no|nr|number))?|nhs ?(no|nr|number|id)?|chi number"
        r"|national ?id(entifier)?|nir|insee"
    r"|sv ?nr|sozialversicherungs ?nummer|(kranken)?versicherten ?(nr|nummer|id)|versicherungs ?(nr|nummer)|kvnr|kv ?nummer"
    r"|steuer ?(id|nummer|identifikationsnummer)|codice fiscale|cod(ice)? fisc|dni|nie|nif|nss|tsi|curp|rut|cpf|cns|bsn"
    r"|burger ?service ?nummer|cpr"
    r"( ?(nr|nummer))?|person ?nummer|person ?nr|fodselsnummer|pesel|aadhaar|ahv ?(nr|nummer)?|passport( ?(no|number))?"
    r"|reise ?pass ?(nr|nummer)"
    r"|ausweis ?(nr|nummer)|(driver s?|driving) ?licen[cs]e( ?(no|number))?|licen[cs]e ?(no|nr|number)|tax ?(id|number|no)"
    r"|insurance ?(no|nr|number|id)|policy ?(no|nr|number|id)|beneficiary ?(id|no|number)|(medicare|medicaid) ?(id|no|number)?"
    r"|secu(rite)?( sociale)?|no avs|securite sociale",
    "accounts, devices or web addresses": r"iban|bank ?account|konto ?(nr|nummer)?|credit ?card( ?(no|number))?|ip( ?addr(ess)?)?"
        r"|mac( ?addr(ess)?)"
    r"|url|web ?site|homepage|serial ?(no|nr|number)|device ?(id|serial|no|number)( ?(no|nr|number))?|imei|implant serial"
    r"|licen[cs]e ?plate"
    r"|number ?plate|(kfz )?kennzeichen|user ?name|login|twitter|facebook",
}  # fmt: skip
NOT_PERSONS = (
    r"(drug|medication|med|hospital|ward|department|file|gene|test|lab|product|brand|generic|device|study|site|procedure|concept|table"
)
NOT_PERSONS += (
    r"|column|variable|unit|payer|insurer|facility|clinic|source|class|group|category|cell|cell line|protein|item|disease) ?names?"
)
DAY = r"(0?[1-9]|[12]\d|3[01])"
MONTH = r"(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mai|okt|dez)[a-z]*"
YEAR = r"(18|19|20)\d\d"
STREET = (
    r"street|st\.?|road|rd\.?|avenue|ave\.?|lane|drive|dr\.?|boulevard|blvd\.?|court|way|place|square|terrace|close|"
    r"\w*(stra(ss|ß)e|str\.|weg|platz|allee|gasse|ring|damm|straat|laan|gatan|vej|gade)"
)
FORMS: tuple[tuple[str, str], ...] = (  # what values look like, the surest first
    ("e-mail addresses", r"[^@\s]+@[^@\s]+\.[a-z]{2,}"),
    ("accounts, devices or web addresses", r"(https?://|www\.)\S+|(\d{1,3}\.){3}\d{1,3}|([0-9a-f]{2}[:-]){5}[0-9a-f]{2}"
        r"|[0-9a-f]{1,4}(:[0-9a-f]{0,4}){4,7}"
     r"|[a-z]{2}\d{2}( ?[0-9a-z]{4}){3,7}( ?[0-9a-z]{1,3})?|(\d{4}[ -]){3}\d{4}"),
    ("dates", rf"{YEAR}[-/.]{MONTH}[-/.]{DAY}([t ].*)?|{DAY}[-/. ]{{1,2}}{MONTH}[-/. ]{{1,2}}({YEAR}|\d\d)([t ].*)?"
        rf"|{MONTH}[/-]{DAY}[/-]({YEAR}|\d\d)([t ].*)?"
     rf"|{MONTH} {DAY},? {YEAR}|(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"),
    ("national or insurance numbers", r"\d{3}-\d{2}-\d{4}|\d{3} \d{3} \d{4}|[a-z]{6}\d{2}[a-z]\d{2}[a-z]\d{3}[a-z]|[xyz]?\d{7,8}-?[a-z]"
     r"|\d{6}[-+]\d{4}|\d{8}-\d{4}|\d{3}\.\d{3}\.\d{3}-\d{2}|[12] ?\d{2} ?\d{2} ?\d[\dab] ?\d{3} ?\d{3}( ?\d{2})?"
     r"|756\.\d{4}\.\d{4}\.\d{2}|\d{3}\.\d{4}\.\d{4}\.\d{2}"
     r"|[a-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[a-d]|[a-z]\d{9}"),
    ("postcodes", r"[a-z]{1,2}\d[a-z\d]? ?\d[a-z]{2}|[a-z]\d[a-z] ?\d[a-z]\d|\d{4} ?[a-z]{2}|\d{5}-\d{4}|[a-z]{1,2}-\d{4,5}"),
    ("telephone numbers", r"\+\d{1,3}[\d ()/.-]{6,16}|\(?0\d{1,5}\)?[ /-]{1,2}\d[\d -]{4,12}|\(\d{3}\) ?\d{3}-\d{4}"
        r"|\d{3}[-.]\d{3}[-.]\d{4}|0\d( \d\d){4}"),
    ("addresses", rf"\d+[a-z]?,? ([\w'.-]+ ){{0,4}}({STREET})(,? .*)?|([\w'.-]+ ){{0,3}}({STREET}) \d+ ?[a-z]?(,.*)?|\d+ ?(bis"
        rf"|ter)?,? (rue|avenue|boulevard|place"
     r"|chemin|impasse|quai) .+|(calle|avenida|plaza|via|viale|piazza|corso|rua|c/) .+\d.*|(po|p\.o\.) box \d+.*|postfach \d+.*"),
    ("record numbers", r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"),
)  # fmt: skip
NUMBERED = re.compile(r"[A-Za-z]{0,5}[-_/ ]?\d{2,4}?[-_/ ]?\d{5,12}([-_/]\d{1,4})?")
COMMON = """
adam agnieszka ahmed aisha alain alessandro alexander ali alice amelia amit ana anders andrea andreas andrzej anja anna anthony anton
antonio astrid barbara benjamin brian brigitte camille carlos carmen catherine charles chiara chloe christa christian clara claude
daniel david dieter dmitri dolores donald edward elena elias elizabeth ella emil emily emma erik erika ethan fatima felix finn florian
francesca francesco francisco francois francoise franz frieda george giovanni gisela giulia giuseppe grace hannah hans harry hassan
heinz helen helga helmut henk henry hiroshi horst ibrahim ida ines ingrid isabel isabelle isla ivan jack jacob jacques james jan javier
jean jeanne jennifer jessica joan johan john jonas jose josef joseph juan juergen julia jurgen karen karin karl katarzyna kees kevin
klaus krzysztof lars laura lea lena leo leon li linda lisa louis lucia luigi luis lukas luke manon manuel marco margaret maria marie
mario mark markus martin mary matthew max mia michael michel miguel ming mohammed monika monique muhammad nathalie nicolas nils noah ole
olga oliver olivia omar otto paola patricia paul paula per peter petra philippe pierre piet pilar piotr priya rahul raj renate richard
robert rosa rose ruth sabine samuel sanjay sarah sebastian simon sofia sophia sophie stefan steven susan sven svetlana sylvie teresa
theo thomas tim tobias ursula wei werner willem william wolfgang yuki yusuf
"""
GIVEN = frozenset(COMMON.split())  # given names that are common in these countries
SURE = frozenset(kind for kind in NAMED if kind not in ("names", "addresses", "record numbers"))


def look(name: str, values: Iterable[object] | None = None, *, whole: bool = True) -> Finding | None:
    """What a column of that name and these values seems to hold of a patient's identity; nothing if neither tells.

    Without values the name alone decides. `whole` says that they are all rows, so that values that stand once tell rows apart.
    """
    words = said(name)
    called = next((kind for kind, pattern in NAMED.items() if CALLED[kind].fullmatch(words)), "")
    if re.fullmatch(NOT_PERSONS, words) and called == "names":
        called = ""
    if values is None:
        return Finding(called, "by its name") if called else None
    texts = [text for value in values if (text := worded(value))]
    different = list(dict.fromkeys(texts))[:SAMPLE]
    if not different:
        return Finding(called, "by its name") if called in SURE else None
    if called and plausible(called, different, len(texts)):
        return Finding(called, "by its name")
    kind = by_form(different, len(texts), whole=whole) or by_words(different, len(texts))
    return Finding(kind, "by its values") if kind else None


def said(name: str) -> str:
    """A column's name as plain words: no accents, no capitals, one space between."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss").replace("ø", "o").replace("ł", "l")).encode("ascii", "ignore").decode()
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    return " ".join(re.split(r"[^a-z0-9]+", spaced.casefold())).strip()


PREFIX = r"((the|pt|pat|patient|patients|person|subject|client|hospital|clinic|home|primary|current|contact|emergency|main) )*"
CALLED = {kind: re.compile(rf"{PREFIX}({pattern})( (source value|text|str|raw|hash|enc|orig|value))*") for kind, pattern in NAMED.items()}


def worded(value: object) -> str:
    """A value as text; nothing where it is missing. Whole numbers have no decimals."""
    if value is None or value != value:
        return ""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()


def plausible(kind: str, different: Sequence[str], count: int) -> bool:
    """Whether values could be what the column is called: a few short categories are a class of something, and not what names a patient."""
    decimals = share(different, re.compile(r"-?\d*\.\d+").fullmatch)
    if kind == "birth dates":
        return share(different, re.compile(r".*\d.*").fullmatch) > 0.5 and share(different, re.compile(r"\d{1,3}(\.\d+)?").fullmatch) < 0.5
    if kind == "addresses":
        return len(different) > 2 and (decimals > 0.5 or share(different, re.compile(r".*[^\W\d].*").fullmatch) > 0.5 or count < 50)
    if kind == "names":
        return share(different, re.compile(r"[^\d]+").fullmatch) > 0.5 and (len(different) > 12 or len(different) > count / 2)
    if kind == "record numbers":
        return decimals < 0.5 and (len(different) > 20 or len(different) > count / 2)
    if (
        kind != "accounts, devices or web addresses"
        and kind != "e-mail addresses"
        and share(different, re.compile(r".*\d.*").fullmatch) < 0.5
    ):
        return False
    long = share(different, lambda text: len(text) >= SHORTEST.get(kind, 6))
    return decimals < 0.5 and len(different) > 2 and long > 0.5


def by_form(different: Sequence[str], count: int, *, whole: bool) -> str:
    """The kind whose form most values have."""
    few = len(different) < 3 and count > 20
    for kind, pattern in FORMS:
        if not few and share(different, MATCH[pattern]) >= MOST:
            return kind
    unlike = whole and count >= 20 and len(different) >= min(0.98 * count, SAMPLE)
    if unlike and share(different, NUMBERED.fullmatch) >= 0.95:
        lengths = {len(text) for text in different}
        letters = share(different, lambda text: not text.isdigit())
        return "record numbers" if letters >= 0.95 or (len(lengths) == 1 and min(lengths) >= 6) else ""
    return ""


MATCH: dict[str, Callable[[str], object]] = {pattern: re.compile(pattern, re.IGNORECASE).fullmatch for _, pattern in FORMS}
PERSON = re.compile(r"((dr|mr|mrs|ms|prof|herr|frau|mme|m)\.? )*[^\W\d_][\w'’.-]*(,? [^\W\d_][\w'’.-]*){1,3}", re.IGNORECASE)


def by_words(different: Sequence[str], count: int) -> str:
    """Persons' names, and free text in which anything may stand."""
    tokens = [{said(part) for part in re.split(r"[\s,]+", text)} for text in different]
    known = sum(bool(GIVEN & words) for words in tokens) / len(tokens)
    varied = len(different) > 12 or len(different) > count / 2
    if varied and share(different, PERSON.fullmatch) >= MOST and known >= 0.15:
        return "names"
    if varied and share(different, re.compile(r"[^\W\d_][\w'’-]*", re.IGNORECASE).fullmatch) >= MOST and known >= 0.4:
        return "names"
    long = sum(len(text.split()) for text in different) / len(different)
    return "free text" if varied and long >= 8 and len(different) > count / 5 else ""


def share(texts: Sequence[str], fits: Callable[[str], object]) -> float:
    """The share of texts that fit."""
    return sum(bool(fits(text)) for text in texts) / len(texts)
