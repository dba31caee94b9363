"""Invitations are used once, hold three days, and give one key one name."""

from pathlib import Path

import pytest

from collegium import identity
from collegium.coordinator.members import VALID_S, Members
from collegium.coordinator.store import Store, create, open_folder
from collegium.errors import ConflictError, IdentityError
from tests.coordinator.world import in_loop

ONE, TWO = (identity.key(bytes([n]) * 32).public for n in (1, 2))


class Now:
    at = 1_000_000

    def __call__(self) -> int:
        return self.at


def members(folder: Path) -> tuple[Store, Now, Members]:
    create(folder)
    store, now = open_folder(folder), Now()
    return store, now, Members(store, now)


@in_loop
async def test_an_invitation_is_used_once_but_a_lost_answer_costs_nothing(tmp_path: Path):
    store, _, known = members(tmp_path)
    secret = await known.invite("St. Mary's, Leeds")
    assert [await known.join(secret, ONE, "1") for _ in range(3)] == ["St. Mary's, Leeds"] * 3
    with pytest.raises(ConflictError, match="used already"):
        await known.join(secret, TWO, "1")
    assert (known.who(ONE).role, known.who(TWO).role) == ("site", "stranger")
    assert Members(store, Now()).who(ONE).name == "St. Mary's, Leeds"
    store.close()


@in_loop
async def test_of_many_that_try_at_once_one_joins(tmp_path: Path):
    import asyncio

    store, _, known = members(tmp_path)
    secret = await known.invite("leeds")
    keys = [identity.key(bytes([n]) * 32).public for n in range(20)]
    found = await asyncio.gather(*(known.join(secret, key, "1") for key in keys), return_exceptions=True)
    assert sorted(type(x).__name__ for x in found) == ["ConflictError"] * 19 + ["str"]
    store.close()


@in_loop
async def test_a_wrong_or_old_secret_is_told_apart(tmp_path: Path):
    store, now, known = members(tmp_path)
    with pytest.raises(IdentityError, match="not known"):
        await known.join(b"x" * 16, ONE, "1")
    secret = await known.invite("leeds")
    now.at += VALID_S
    with pytest.raises(IdentityError, match="out of date"):
        await known.join(secret, ONE, "1")
    store.close()


@in_loop
async def test_a_site_that_lost_its_key_comes_back_by_a_new_invitation(tmp_path: Path):
    store, _, known = members(tmp_path)
    old, unused = await known.invite("leeds"), await known.invite("york")
    await known.join(old, ONE, "1")
    fresh = await known.invite("leeds")
    assert await known.join(fresh, TWO, "2") == "leeds"
    assert (known.who(ONE).role, known.who(TWO).name) == ("stranger", "leeds")
    with pytest.raises(ConflictError, match="belongs to site 'leeds'"):
        await known.join(unused, TWO, "1")
    newer = await known.invite("york")
    with pytest.raises(IdentityError, match="not known"):
        await known.join(unused, ONE, "1")
    assert await known.join(newer, ONE, "1") == "york"
    store.close()


@in_loop
async def test_names_are_plain(tmp_path: Path):
    store, _, known = members(tmp_path)
    for name in ("", " x", "a/b", "a|b", "x" * 81, "_x", "a\nb"):
        with pytest.raises(ConflictError, match="cannot be called"):
            await known.invite(name)
    await known.invite("Universitätsklinikum Zürich (Ost) & Söhne")
    store.close()


@in_loop
async def test_when_a_site_was_last_seen_is_remembered(tmp_path: Path):
    store, _, known = members(tmp_path)
    await known.join(await known.invite("leeds"), ONE, "1")
    known.seen["leeds"] = 7_000_000
    await known.remember()
    assert Members(store, Now()).seen == {"leeds": 7_000_000}
    store.close()
