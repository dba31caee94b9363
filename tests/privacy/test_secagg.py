"""Terms, badges, cohorts, adverts: what the manifest fixes, and what a site checks of every peer."""

import json

import pytest

from collegium import identity
from collegium.errors import IdentityError, StudyError
from collegium.privacy import secagg
from collegium.privacy.secagg import Advert, Persist, agreed, badge, cohorts, digests, read_advert, settle, wanted
from collegium.privacy.secagg_keys import agree
from collegium.privacy.secagg_messages import Adverts
from collegium.privacy.secagg_stand import Open
from tests.privacy.epochs import STUDY, Federation

PLACE = (0, 1, 1, "sum")


def pins(n):
    return {f"s{k}": identity.key(bytes([k, k >> 8]) * 16).public for k in range(n)}


@pytest.mark.parametrize(
    ("n", "strict", "curious", "colluders"),
    [(3, 3, 2, 1), (4, 3, 3, 1), (5, 4, 3, 2), (6, 5, 4, 3), (7, 5, 4, 2), (9, 7, 5, 4), (128, 86, 65, 43)],
)
def test_the_threshold_is_more_than_two_thirds_or_half(n, strict, curious, colluders):
    terms = settle(STUDY, pins(n))
    assert (terms.threshold, terms.colluders) == (strict, colluders)
    assert settle(STUDY, pins(n), curious=True).threshold == curious
    assert colluders >= -(-n // 3) - 1


def test_g24_two_sites_need_a_waiver_and_say_so():
    for few in (0, 1, 2):
        with pytest.raises(StudyError, match=f"needs three sites, found {few}"):
            settle(STUDY, pins(few))
    with pytest.raises(StudyError, match="found 1"):
        settle(STUDY, pins(1), waived=True)
    two = settle(STUDY, pins(2), waived=True)
    assert two.threshold == 2
    assert badge(two) == "protects against the coordinator only: each of the two sites can work out the other's part; neither may drop out"


@pytest.mark.parametrize(
    ("chosen", "minimum", "sums"),
    [("on", 1, True), ("on", 3, True), ("auto", 2, False), ("auto", 3, True), ("auto", 100, True), ("off", 3, False)],
)
def test_sums_are_secure_wherever_three_sites_must_answer(chosen, minimum, sums):
    assert wanted(chosen, minimum) is sums


def manifest(minimum, because="", curious=False, epoch=16):
    return {"sites": {"minimum": minimum}, "privacy": {"because": because, "curious": curious, "epoch": epoch}}


def test_the_manifest_alone_fixes_the_terms():
    assert agreed(manifest(3), STUDY, pins(5)) == settle(STUDY, pins(5), least=3, rounds=16)
    assert agreed(manifest(3, curious=True, epoch=2), STUDY, pins(9)) == settle(STUDY, pins(9), curious=True, least=3, rounds=2)
    assert agreed(manifest(1, because="two sites"), STUDY, pins(2)) == settle(STUDY, pins(2), waived=True, rounds=16)
    with pytest.raises(StudyError, match="found 2"):
        agreed(manifest(2), STUDY, pins(2))


@pytest.mark.parametrize(
    ("n", "curious", "says"),
    [
        (3, False, "even if it lies and 1 of the other sites help it; no site may drop out of a round"),
        (3, True, "protects against the coordinator alone; 1 of 3 sites may drop out of a round"),
        (5, False, "even if it lies and 2 of the other sites help it; 1 of 5 sites may drop out of a round"),
    ],
)
def test_g24_the_badge_says_what_is_protected(n, curious, says):
    assert says in badge(settle(STUDY, pins(n), curious=curious))


def test_one_key_under_two_names_is_one_site():
    with pytest.raises(StudyError, match="same identity key"):
        settle(STUDY, pins(3) | {"again": pins(1)["s0"]})


def test_more_than_a_cohort_is_cut():
    with pytest.raises(StudyError, match="129 sites are too many") as caught:
        settle(STUDY, pins(129))
    assert "cohorts" in caught.value.hint


@pytest.mark.parametrize(("n", "sizes"), [(3, {3}), (128, {128}), (129, {64, 65}), (200, {66, 67}), (500, {62, 63}), (1000, {62, 63})])
def test_cohorts_are_even_whole_and_fixed_by_the_study(n, sizes):
    names = [f"s{k:04}" for k in range(n)]
    found = cohorts(STUDY, reversed(names))
    assert {len(cohort) for cohort in found} == sizes
    assert sorted(name for cohort in found for name in cohort) == names
    assert found == cohorts(STUDY, names)
    assert all(list(cohort) == sorted(cohort) for cohort in found)
    assert len(found) == 1 or found != cohorts("other", names)


@pytest.mark.parametrize("largest", [6, 7, 8, 16, 128])
def test_no_cohort_is_smaller_than_the_fewest_of_which_a_sum_is_opened(largest):
    for n in (*range(1, 70), 129, 161, 321, 999):
        found = cohorts(STUDY, [f"s{k}" for k in range(n)], largest=largest)
        assert max(map(len, found)) <= largest
        assert len(found) == 1 or min(map(len, found)) >= secagg.smallest(largest)


def test_of_a_cohort_other_numbers_are_enough_than_of_all():
    rules = manifest(100) | {"privacy": manifest(100)["privacy"] | {"cohort": 64}}
    assert agreed(rules, STUDY, pins(40), of=64).enough == 100
    assert agreed(rules, STUDY, pins(40), of=65).enough == 27
    assert agreed(rules, STUDY, pins(17), of=200).enough == 16
    assert secagg.fewest(manifest(100), 129) == 32
    everybody = pins(90)
    mine = secagg.group(rules, STUDY, everybody, "s7")
    assert "s7" in mine
    assert mine.items() <= everybody.items()
    assert len(mine) == 30
    assert badge(agreed(rules, STUDY, mine, of=90), 3).endswith(
        "the coordinator sees the sums of 3 cohorts, this one of 30 sites and never of fewer than 21"
    )


def test_the_same_work_is_known_in_another_run_round_attempt_or_scale():
    base = {"run": "r", "study": STUDY, "place": PLACE, "layout": {"sites": 3, "leaves": []}, "state": "ab" * 32}
    task, work = digests(**base)
    for change in ({"run": "s"}, {"place": (0, 2, 1, "sum")}, {"place": (0, 1, 2, "sum")}, {"layout": {"sites": 4, "leaves": []}}):
        other = digests(**base | change)
        assert (other[0] != task, other[1]) == (True, work)
    for change in ({"study": "x"}, {"place": (1, 1, 1, "sum")}, {"place": (0, 1, 1, "range")}, {"state": "cd" * 32}):
        other = digests(**base | change)
        assert (other[0] != task, other[1] != work) == (True, True)


@pytest.fixture(scope="module")
def signed():
    """Five sites before their adverts are listed; the terms, one site's advert and its signer."""
    federation = Federation(5)
    federation.hub.tell(Open())
    for name in federation.names:
        federation.poll(name)
    listed = federation.hub.owed(federation.names[0])
    assert isinstance(listed, Adverts)
    return federation.terms, listed.adverts[1], federation.sites[federation.names[1]].signer


def forged(signed, **change):
    said = json.loads(signed[1].text) | change
    text = secagg.canonical(said)
    return Advert(text, signed[2].sign(text.encode()).hex())


def test_an_advert_is_read(signed):
    terms, advert, _ = signed
    read = read_advert(terms, 1, advert)
    assert (read.site, len(read.keys), len(read.seeds)) == ("site001", terms.rounds, terms.rounds)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "1", '{"site": "a"}', '{"site":"site001","seal":"x","keys":"","seeds":""}', "[" * 100_000]
)
def test_what_is_no_advert_is_unreadable(signed, text):
    with pytest.raises(IdentityError, match="cannot be read"):
        read_advert(signed[0], 1, Advert(text, "00" * 64))


@pytest.mark.parametrize(
    "change",
    [
        {"study": "00" * 32}, {"epoch": 2}, {"rounds": 5}, {"threshold": 2}, {"sites": 4}, {"kem": "other"}, {"type": "collegium/adv/2"},
        {"extra": 1}, {"keys": "09" * 32}, {"seeds": ""},
    ],
)  # fmt: skip
def test_g05_an_advert_of_other_terms_is_refused_though_its_site_signed_it(signed, change):
    with pytest.raises(IdentityError, match="'site001': made for another study, epoch, threshold or number of rounds"):
        read_advert(signed[0], 1, forged(signed, **change))


def test_an_advert_of_nobody_approved_is_refused(signed):
    with pytest.raises(IdentityError, match="'mallory': no such site was approved"):
        read_advert(signed[0], 1, forged(signed, site="mallory"))


LOW = [x.to_bytes(32, "little") for x in secagg.LOW_ORDER]
TWICE = [(9 + secagg.CURVE).to_bytes(32, "little"), (9 + (1 << 255)).to_bytes(32, "little")]  # the base point, written otherwise


@pytest.mark.parametrize("point", [*LOW, *TWICE], ids=lambda point: point.hex()[:8])
@pytest.mark.parametrize("field", ["seal", "keys"])
def test_g04_weak_and_ambiguous_points_are_refused(signed, point, field):
    old = json.loads(signed[1].text)[field]
    with pytest.raises(IdentityError, match="'site001': holds a public key that no honest site makes"):
        read_advert(signed[0], 1, forged(signed, **{field: point.hex() + old[64:]}))


def test_a_short_sealing_key_is_refused(signed):
    with pytest.raises(IdentityError, match="no honest site makes"):
        read_advert(signed[0], 1, forged(signed, seal="09" * 31))


@pytest.mark.parametrize("point", LOW, ids=lambda point: point.hex()[:8])
def test_the_weak_points_are_weak(point):
    with pytest.raises(ValueError, match=r"[Ee]rror computing shared key"):
        agree(b"k" * 32, point)


def test_an_order_to_persist_does_not_show_its_rows():
    assert repr(secagg.Persist({"key/0": "c0ffee"}, ("old",))) == "Persist(['key/0'], forget=['old'])"


def test_several_changes_of_the_rows_are_one():
    changes = [Persist({"a": "1", "b/x": "1", "c": "1"}), Persist({"a": "2", "d": "1"}, ("b/", "c")), Persist({"c": "3"}, ("d",))]
    assert secagg.together(changes) == Persist({"a": "2", "c": "3"}, ("b/", "d"))
    assert secagg.together([]) == Persist({})
