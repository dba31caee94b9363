"""Secure sums at a site: real vaults and keys against the coordinator's machine, restarts at every step, and lies."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from collegium.errors import FrameError, IdentityError, StorageError, StudyError, UpdateError
from collegium.identity import CHUNK, digest
from collegium.privacy import ring, secagg
from collegium.privacy.secagg import Advert
from collegium.privacy.secagg_messages import Ask, Begin, Complaint, Ready, Reveal, Signature, Survivors, Upload, document
from collegium.privacy.secagg_stand import Close, Prepared
from collegium.site.frames import INLINE
from collegium.site.secure import Sums, keep, kept, refusal, wanted
from collegium.site.vault import Vault
from collegium.site.worker import spooled
from tests.privacy.epochs import STUDY, layout, update
from tests.privacy.houses import NAMES, Study, key_of, manifest


@pytest.fixture
def study(tmp_path):
    made = Study(tmp_path)
    yield made
    made.close()


def refused(house, says, step, error=IdentityError):
    """The step is refused, and changes nothing: neither the machine nor the vault."""
    machine, rows = house.sums.machine, house.sums.vault.rows()
    with pytest.raises(error, match=says):
        step()
    assert (house.sums.machine, house.sums.vault.rows()) == (machine, rows)


# Epochs and rounds


@pytest.mark.parametrize("again", [False, True], ids=["once", "restarted at every step"])
def test_the_sum_is_the_plain_sum_and_every_answer_the_same_after_a_restart(tmp_path, again):
    study = Study(tmp_path, again=again).prepare()
    assert study.hub.found(Prepared) == [Prepared(tuple(NAMES))]
    assert study.round(1, "ab" * 32) == (tuple(NAMES), True)
    assert study.round(2, "cd" * 32, NAMES[1:]) == (tuple(NAMES[1:]), True)
    for house in study.houses.values():
        uses = [(epoch, index) for epoch, index, _ in house.masked]
        assert len(set(uses)) == len(uses)
    assert study.houses["leeds"].warned == []
    assert {"differ by 'leeds' alone" in says for says in study.houses["milan"].warned} == {True}  # said again after a restart
    study.close()


def test_an_epoch_follows_the_last_and_a_run_the_last(tmp_path):
    study = Study(tmp_path).prepare()
    states = [f"{k:064x}" for k in range(9)]
    assert [study.round(k, states[k]) for k in range(4)] == [(tuple(NAMES), True)] * 4
    assert study.hub.machine.left == 0
    study.prepare()
    assert study.round(4, states[4]) == (tuple(NAMES), True)
    for house in study.houses.values():
        house.sums.leave()
        house.restart()
        assert house.warned == []
    study.prepare()
    assert study.round(5, states[5]) == (tuple(NAMES), True)
    study.close()


def test_who_leaves_has_no_secret_left_in_any_file(study):
    study.prepare()
    house = study.houses["leeds"]
    secrets = [text for name, text in house.sums.vault.rows().items() if name.startswith(("key/", "shares/"))]
    assert len(secrets) == 8
    whole = b"".join(path.read_bytes() for path in house.path.parent.iterdir())
    assert all(text.encode() in whole for text in secrets)
    house.sums.leave()
    whole = b"".join(path.read_bytes() for path in house.path.parent.iterdir())
    assert not [text for text in secrets if text[:64].encode() in whole or text[-64:].encode() in whole]
    assert house.sums.vault.rows().keys() == {"epoch", "sites"}


def test_a_disk_that_cannot_be_written_is_told_at_every_step_and_the_step_goes_on_when_it_can(study):
    reply, told = study.reply, []

    def hampered(house, said):
        house.sums.vault.connection.execute("PRAGMA query_only = ON")
        if said["kind"] != "quorum":  # nothing has to last then
            refused(house, "cannot be read or written", lambda: reply(house, said), StorageError)
        house.sums.vault.connection.execute("PRAGMA query_only = OFF")
        told.append(said["kind"])
        return reply(house, said)

    study.reply = hampered
    study.prepare()
    assert study.round() == (tuple(NAMES), True)
    assert told[::4] == ["begin", "adverts", "bundles", "ask", "survivors", "quorum"]


# Lies about who takes part


@pytest.mark.parametrize(
    ("among", "says"),
    [
        ([*NAMES, "mallory"], "'mallory' is among the sites of the sum, and was not approved"),
        (NAMES[:2], "2 sites make keys, the study wants 3"),
        ([], "0 sites make keys"),
        (["leeds", "leeds", "milan"], "named twice"),
        (NAMES[1:], "names another key for site 'leeds'"),
    ],
)
def test_g05_keys_are_made_among_enough_approved_sites_alone(study, among, says):
    house = study.houses["leeds"]
    refused(house, says, lambda: house.sums.hear(document(Begin(1, tuple(among)))))
    study.prepare()
    refused(house, says, lambda: house.sums.hear(document(Begin(2, tuple(among)))))
    assert study.round() == (tuple(NAMES), True)


def test_two_sites_make_no_keys_unless_that_was_agreed(tmp_path):
    vault = Vault(tmp_path / "study.db")
    pins, key = {name: key_of(name).public for name in NAMES[:2]}, key_of("leeds")
    said = document(Begin(1, tuple(NAMES[:2])))
    with pytest.raises(StudyError, match="needs three sites"):
        Sums(vault, manifest(2, "on"), STUDY, "leeds", key, pins, print).hear(said)
    assert Sums(vault, manifest(2, "on", "both agreed"), STUDY, "leeds", key, pins, print).hear(said)[0]["kind"] == "advert"
    vault.close()


@pytest.mark.parametrize("restart", [False, True])
def test_nobody_changes_who_is_in_an_epoch_that_has_begun(study, restart):
    house = study.houses["leeds"]
    first = house.sums.hear(document(Begin(1, tuple(NAMES))))
    if restart:
        house.restart()
    refused(house, "epoch 1 has begun among other sites", lambda: house.sums.hear(document(Begin(1, tuple(NAMES[:3])))))
    assert house.sums.hear(document(Begin(1, tuple(reversed(NAMES))))) == first
    second = house.sums.hear(document(Begin(2, tuple(NAMES[:3]))))
    assert second != first
    assert house.sums.machine.terms.pins.keys() == set(NAMES[:3])
    refused(house, "this site has seen epoch 2", lambda: house.sums.hear(document(Begin(1, tuple(NAMES)))))


def test_a_site_that_is_approved_no_longer_ends_the_epoch_it_was_in(study):
    study.prepare()
    house = study.houses["leeds"]
    house.pins = {name: key for name, key in study.pins.items() if name != "turku"}
    house.restart()
    assert house.warned == [
        "'turku' is among the sites of the sum, and was not approved for this study; this site takes part again from the next epoch"
    ]
    assert not [name for name in house.sums.vault.rows() if name.startswith(("key/", "shares/"))]
    study.start()
    refused(house, r"in epoch 1 \(retired\)", lambda: house.answer(study.told("leeds"), study.task))
    assert house.sums.hear(document(Begin(2, tuple(NAMES[:3]))))[0]["kind"] == "advert"


# Lies about the task


@pytest.mark.parametrize(
    "other",
    [{"run": "r2"}, {"place": [0, 2, 1, "sum"]}, {"place": [0, 1, 2, "sum"]}, {"place": [0, 1, 1, "range"]}, {"state": "cd" * 32},
     {"layout": layout(3).document()}],
    ids=lambda other: "-".join(map(str, other)),
)  # fmt: skip
def test_g07_masks_are_made_for_the_task_that_came_and_for_no_other(study, other):
    study.prepare()
    study.start()
    house, said = study.houses["leeds"], study.told("leeds")
    refused(house, "another task than the one that this site was given", lambda: house.answer(said, study.task | other))
    assert house.answer(said, study.task)[0]["nbytes"] == study.hub.layout.nbytes


def test_what_is_no_ask_gets_no_masks_and_an_ask_is_left_as_it_was(study):
    study.prepare()
    study.start()
    house, said = study.houses["leeds"], study.told("leeds")
    ask = {name: value for name, value in said.items() if name != "seen"}
    wrong = [document(Ready(1)), *[ask | {"seen": seen} for seen in (None, 1, [], [1], [1, 2, 3], ["1", 0], [True, 0], [1.0, 0])]]
    for lie in wrong:
        refused(house, "a task came without the round", lambda lie=lie: house.sums.masks(lie, study.task))
    with pytest.raises(FrameError):
        house.sums.masks({"kind": "ask"}, study.task)
    before = json.dumps(said)
    assert house.sums.masks(said, study.task)[1]
    assert json.dumps(said) == before
    assert house.sums.masks(ask, study.task) == house.sums.masks(said, study.task)


def test_masks_come_again_until_they_are_burned_and_never_after(study):
    study.prepare()
    study.start()
    house, said = study.houses["leeds"], study.told("leeds")
    asked, found = house.sums.masks(said, study.task)
    assert [mask.sign for mask in found] == [1, 1, 1, 1]  # its own, and first by name of every pair
    house.restart()
    assert house.sums.masks(said, study.task) == (asked, found)
    house.sums.burn(asked, "12" * 32, study.task)
    for _ in range(2):
        assert house.sums.masks(said, study.task) == (asked, "12" * 32)
        house.sums.burn(asked, "12" * 32, study.task)
        house.restart()


def test_an_answered_task_is_answered_as_before_or_not_at_all(study):
    study.prepare()
    study.start()
    house, said = study.houses["leeds"], study.told("leeds")
    told, vector = house.answer(said, study.task)
    house.restart()
    house.update = update(7)
    assert house.answer(said, study.task) == (told, vector)
    asked, found = house.sums.masks(said, study.task)
    assert found == told["digest"]
    refused(house, "masked another vector", lambda: house.sums.burn(asked, "00" * 32, study.task), UpdateError)
    (house.folder / "spool" / "masked").unlink()
    refused(house, "sits out one round", lambda: house.answer(said, study.task), UpdateError)


@pytest.mark.parametrize(
    "message",
    [
        Advert("{}", "00" * 64), Ready(1), Complaint(1, "milan"), Upload(1, 0, "00" * 32), Signature(1, 0, "00" * 64), Reveal(1, 0, {}, {}),
        Ask(1, 0, "00" * 32, tuple(NAMES)),
    ],
    ids=lambda message: type(message).__name__,
)  # fmt: skip
def test_what_a_coordinator_does_not_say_is_not_heard(study, message):
    study.prepare()
    house = study.houses["leeds"]
    refused(
        house, f"'{type(message).__name__.lower()}' came, which a coordinator does not send", lambda: house.sums.hear(document(message))
    )


@pytest.mark.parametrize("said", [None, [], {"kind": "begin"}, {"kind": "exec"}, document(Begin(1)) | {"sites": "leeds"}])
def test_what_is_no_message_is_refused_at_the_door(study, said):
    house = study.houses["leeds"]
    refused(house, "not a message|not of its form", lambda: house.sums.hear(said), FrameError)


def test_a_refusal_is_heard_and_the_round_goes_on_without_that_site(study):
    study.prepare()
    study.start()
    house = study.houses["leeds"]
    study.task = study.task | {"state": "cd" * 32}
    assert study.poll("leeds")
    assert study.told("leeds") is None
    study.task = study.task | {"state": "ab" * 32}
    study.settle()
    study.hub.tell(Close(tuple(NAMES[1:]), "root"))
    study.settle()
    assert study.hub.sums[-1][1:] == (tuple(NAMES[1:]), study.plain(NAMES[1:]))
    assert house.masked == []


def test_who_is_told_of_other_survivors_reveals_nothing(study):
    study.prepare()
    study.start()
    study.settle()
    study.hub.tell(Close(tuple(NAMES), "root"))
    house, said = study.houses["leeds"], study.told("leeds")
    (signed,) = house.sums.hear(said)
    house.restart()
    lie = document(Survivors(1, 0, tuple(NAMES[:3]), "root"))
    refused(house, "has signed another statement", lambda: house.sums.hear(lie))
    assert house.sums.hear(said) == [signed]


LINES = ["abc", "ade", "afg", "bdf", "beg", "cdg", "cef"]  # of the Fano plane: any two sums differ by four sites, all seven show each


def test_g14_one_piece_of_work_over_seven_trios_does_not_give_away_seven_sites(tmp_path):
    study = Study(tmp_path, list("abcdefg"))
    found = [study.among(line, number).round() for number, line in enumerate(LINES, 1)]
    assert found == [(tuple("abc"), True), *[None] * 6]
    study.close()


# Backups


def copied(house):
    """A backup of the vault as it is now."""
    copy = house.folder / "backup.db"
    shutil.copyfile(house.path, copy)  # the log is emptied after each change: the file is whole
    return copy


def restored(house, copy):
    house.sums.close()
    for path in house.path.parent.iterdir():
        path.unlink()
    shutil.copyfile(copy, house.path)
    house.open()


@pytest.mark.parametrize("made", ["before the epoch", "after the setup", "after a round"])
def test_c09_a_restored_backup_is_refused_and_uses_no_key_twice(study, made):
    house, (first, second, third) = study.houses["leeds"], ["ab" * 32, "cd" * 32, "ef" * 32]
    copy = copied(house) if made == "before the epoch" else Path()
    study.prepare()
    copy = copied(house) if made == "after the setup" else copy
    study.round(1, first)
    copy = copied(house) if made == "after a round" else copy
    study.round(2, second)
    restored(house, copy)
    assert study.round(3, third) == (tuple(NAMES[1:]), True)
    assert any("restored from a backup, or copied" in says for says in house.warned)
    assert not [name for name in house.sums.vault.rows() if name.startswith(("key/", "shares/"))]
    study.prepare()
    assert study.round(4, "12" * 32) == (tuple(NAMES), True)
    uses = [(epoch, index) for epoch, index, _ in house.masked]
    assert uses == [(1, 0), (1, 1), (2, 0)]


def test_a_backup_from_which_nothing_was_sent_since_is_as_good_as_the_vault(study):
    study.prepare()
    study.round()
    house = study.houses["leeds"]
    restored(house, copied(house))
    assert study.round(2, "cd" * 32) == (tuple(NAMES), True)
    assert house.warned == []


def test_a_lost_vault_sits_out_to_the_next_epoch(study):
    study.prepare()
    study.round()
    house = study.houses["leeds"]
    house.sums.close()
    house.path.unlink()
    house.open()
    assert study.round(2, "cd" * 32) == (tuple(NAMES[1:]), True)
    study.prepare()
    assert study.round(3, "ef" * 32) == (tuple(NAMES), True)


def test_a_vault_that_cannot_be_read_is_let_go(study):
    house = study.houses["leeds"]
    house.sums.close()
    vault = Vault(house.path)
    vault.connection.execute("DROP TABLE row")
    with pytest.raises(StorageError, match="no such table"):
        Sums(vault, manifest(), STUDY, "leeds", house.key, house.pins, print)
    house.open()  # nobody holds it


# Vectors that were masked


def of_size(nbytes):
    return ring.Layout((ring.Leaf("n", "int64", ((nbytes - ring.TRAILER) // 8,)),), 3).document()


@pytest.mark.parametrize("nbytes", [16, 4000, INLINE, INLINE + 8, CHUNK, 2 * CHUNK + 24])
def test_a_masked_vector_is_kept_for_as_long_as_it_may_be_asked_for(tmp_path, nbytes):
    vector = np.random.default_rng(1).bytes(nbytes)
    if nbytes <= INLINE:
        keep(tmp_path, vector)
        told, before = {"digest": digest(vector), "nbytes": nbytes}, vector
    else:
        told, before = spooled(iter([np.frombuffer(vector, np.uint8)]), tmp_path / "spool"), b""
    assert kept(tmp_path, told["digest"], of_size(nbytes)) == (told, before)


@pytest.mark.parametrize("nbytes", [4000, CHUNK + 8])
@pytest.mark.parametrize("fate", ["lost", "altered", "cut", "another"])
def test_a_masked_vector_that_is_not_whole_is_lost(tmp_path, nbytes, fate):
    vector = np.random.default_rng(1).bytes(nbytes)
    path = tmp_path / "spool" / ("masked" if nbytes <= INLINE else "vector")
    keep(tmp_path, vector)
    told = spooled(iter([np.frombuffer(vector, np.uint8)]), tmp_path / "spool")
    wanted = digest(vector) if nbytes <= INLINE else told["digest"]
    kept(tmp_path, wanted, of_size(nbytes))
    match fate:
        case "lost":
            path.unlink()
        case "altered":
            path.write_bytes(vector[:-1] + bytes([vector[-1] ^ 1]))
        case "cut":
            path.write_bytes(vector[:-8])
        case _:
            path.write_bytes(vector[::-1])
    with pytest.raises(UpdateError, match="its keys are used up: this site sits out one round"):
        kept(tmp_path, wanted, of_size(nbytes))


def test_the_last_masked_vector_takes_the_place_of_the_one_before(tmp_path):
    for vector in (b"a" * 4000, b"b" * 80):
        keep(tmp_path, vector)
        assert kept(tmp_path, digest(vector), of_size(len(vector)))[1] == vector
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["masked"]


def test_where_it_cannot_be_kept_the_disk_is_told_of(tmp_path):
    (tmp_path / "spool").touch()
    with pytest.raises(StorageError, match="masked cannot be read or written") as caught:
        keep(tmp_path, b"a" * 16)
    assert "make room on the disk" in caught.value.hint


# What is told


def test_a_refusal_says_why_and_not_at_length():
    assert refusal(IdentityError("it was a lie")) == {"kind": "refuse", "says": "it was a lie"}
    assert len(refusal(IdentityError("x" * 9000))["says"]) == 500


@pytest.mark.parametrize("chosen", ["auto", "on", "off"])
@pytest.mark.parametrize("minimum", [1, 2, 3, 9])
def test_a_site_and_the_protocol_want_the_same(chosen, minimum):
    assert wanted(manifest(minimum, chosen)) is secagg.wanted(chosen, minimum)
