"""The participant list: what the lead signed is read, and every other list is refused with the reason."""

import json

import pytest

from collegium import identity
from collegium.canonical import canonical
from collegium.errors import IdentityError
from collegium.study import participants
from collegium.study.participants import Entry

STUDY, LEAD, OTHER = "ab" * 32, identity.key(b"l" * 32), identity.key(b"o" * 32)
SITES = {name: identity.key(name.encode().ljust(32, b".")).public for name in ("hull", "leeds", "york")}
LIST = participants.signed(STUDY, LEAD, SITES)


def resigned(entry: Entry, lead: identity.Key = LEAD, **changes: object) -> Entry:
    """An entry with other content, signed all the same."""
    text = canonical({**json.loads(entry.text), **changes}).decode()
    return Entry(text, lead.sign(text.encode()).hex())


def test_a_list_is_read_as_it_was_signed():
    assert participants.read(LIST, STUDY, LEAD.public) == SITES
    assert participants.read([], STUDY, LEAD.public) == {}
    assert participants.entries_of(json.loads(json.dumps(participants.as_document(LIST)))) == LIST


def test_a_site_that_joins_later_is_a_further_entry():
    more = participants.appended(LIST, STUDY, LEAD, {"bath": "01" * 32})
    assert more[:3] == LIST
    assert [*participants.read(more, STUDY, LEAD.public)] == ["hull", "leeds", "york", "bath"]
    assert participants.extends(more, participants.head(LIST))
    assert participants.extends(more, "")
    assert not participants.extends(LIST, participants.head(more))
    assert participants.upto(more, ["hull", "york"]) == LIST
    assert participants.upto(more, ["bath"]) == more
    assert participants.upto(more, []) == []


def test_another_list_of_the_same_lead_does_not_extend_the_approved_one():
    forged = participants.signed(STUDY, LEAD, {**SITES, "york": "02" * 32})
    assert not participants.extends(forged, participants.head(LIST))


LIES = {
    "another study": ([resigned(LIST[0], study="cd" * 32)], "entry 1: is of another study"),
    "a gap": ([LIST[0], LIST[2]], "entry 2: says it is number 3"),
    "another order": ([LIST[1], LIST[0], LIST[2]], "entry 1: says it is number 2"),
    "an entry put in": ([LIST[0], resigned(LIST[1], key="03" * 32), LIST[2]], "entry 3: does not follow the entry before it"),
    "a site twice": ([LIST[0], resigned(LIST[1], site="hull")], "entry 2: names 'hull' a second time"),
    "a key twice": ([LIST[0], resigned(LIST[1], key=SITES["hull"])], "gives 'leeds' the key of 'hull'"),
    "a swapped key": (
        [Entry(LIST[0].text.replace(SITES["hull"], "04" * 32), LIST[0].signature)],
        "'hull'. is not signed by the study's lead",
    ),
    "another lead": (participants.signed(STUDY, OTHER, SITES), "is not signed by the study's lead"),
    "no signature": ([Entry(LIST[0].text, "no")], "is not signed by the study's lead"),
    "no JSON": ([Entry("{", LIST[0].signature)], "cannot be read"),
    "no object": ([Entry("[]", LIST[0].signature)], "cannot be read"),
    "a float": ([Entry(LIST[0].text.replace('"number":1', '"number":1.0'), LIST[0].signature)], "cannot be read"),
    "other spaces": ([Entry(LIST[0].text + " ", LIST[0].signature)], "does not have the form"),
    "more fields": ([resigned(LIST[0], role="lead")], "does not have the form"),
    "no name": ([resigned(LIST[0], site="")], "does not have the form"),
    "no key": ([resigned(LIST[0], key="ab")], "holds no key of 32 bytes for 'hull'"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_list_that_is_not_what_the_lead_signed_is_refused(lie: str):
    entries, words = LIES[lie]
    with pytest.raises(IdentityError, match=words) as refused:
        participants.read(entries, STUDY, LEAD.public)
    assert "ask the study's lead" in refused.value.hint


def test_what_could_not_be_read_is_not_signed():
    with pytest.raises(IdentityError, match="a second time"):
        participants.appended(LIST, STUDY, LEAD, {"hull": "05" * 32})
    with pytest.raises(IdentityError, match="no key"):
        participants.signed(STUDY, LEAD, {"hull": "short"})


@pytest.mark.parametrize("document", [None, {}, [["one"]], [[1, 2]], "ab", [["a", "b", "c"]]])
def test_what_is_no_list_of_pairs_is_refused(document: object):
    with pytest.raises(IdentityError, match="pairs"):
        participants.entries_of(document)
