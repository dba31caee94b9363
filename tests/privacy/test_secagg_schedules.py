"""Secure sums under every dropout, and under random schedules of drops, repeats, kills and restarts: exact, once, or a clean end."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collegium.errors import CollegiumError
from collegium.privacy import masks, ring, secagg, secagg_coordinator, secagg_site
from collegium.privacy.secagg_keys import Send
from collegium.privacy.secagg_messages import Reveal, Upload, document, message_of
from collegium.privacy.secagg_stand import Close, Failed, From, Open, Refused, Start, Stop, Tick, Unmask
from tests.privacy.epochs import STUDY, Federation, Killed, layout
from tests.privacy.lies import TASK, WORK


def subsets(names):
    return [chosen for size in range(len(names) + 1) for chosen in combinations(names, size)]


class Tree:
    """Every way in which sites drop out of one round. Machines are values, so each branch starts from the same ones."""

    def __init__(self, n):
        self.f = f = Federation(n).prepare()
        f.start(TASK, WORK)
        self.uploads = {name: f.sites[name].tell(f.hub.owed(name))[0] for name in f.names}
        for name in f.names:
            f.hub.spool[1, 0, name] = f.sites[name].spool[1, 0]
        self.start, self.patterns, self.exact, self.answers = f.hub.machine, 0, 0, {}

    def feed(self, c, events):
        orders = []
        for event in events:
            c, more = secagg_coordinator.step(c, event, now=0.0)
            orders += more
        return c, orders

    def late(self, c):
        return secagg_coordinator.step(c, Tick(), now=1e9)

    def owed(self, c, name):
        return secagg_coordinator.owed(c, name, self.f.hub.disk.__getitem__)

    def answer(self, machine, message):
        key = (id(machine), str(message))
        if key not in self.answers:
            signer = self.f.sites[machine.name].signer
            after, orders = secagg_site.step(machine, message, signer=signer, entropy=bytes(32))
            self.answers[key] = after, next(order.message for order in orders if isinstance(order, Send)), machine  # keeps its id
        return self.answers[key][:2]

    def walk(self):
        f, t = self.f, self.f.terms.threshold
        for uploaded in subsets(f.names):
            c, _ = self.feed(self.start, (From(name, self.uploads[name]) for name in uploaded))
            c, orders = self.feed(c, [Close(uploaded, "root")])
            if len(uploaded) < t:
                self.ends(orders, 3 ** len(uploaded))
                continue
            signed = {name: self.answer(f.sites[name].machine, self.owed(c, name)) for name in uploaded}
            for signers in subsets(uploaded):
                self.quorum(c, uploaded, {name: signed[name] for name in signers})

    def quorum(self, c, uploaded, signed):
        c, orders = self.feed(c, (From(name, message) for name, (_, message) in signed.items()))
        if len(signed) < self.f.terms.threshold:
            self.ends(self.late(c)[1], 2 ** len(signed))
            return
        shown = {name: self.answer(machine, self.owed(c, name))[1] for name, (machine, _) in signed.items()}
        for revealers in subsets(list(signed)):
            after, orders = self.feed(c, (From(name, shown[name]) for name in revealers))
            if len(revealers) < self.f.terms.threshold:
                self.ends(self.late(after)[1], 1)
            else:
                self.opens(uploaded, [order for order in orders if isinstance(order, Unmask)])

    def ends(self, orders, patterns):
        assert [type(order).__name__ for order in orders] == ["Persist", "Failed"]
        self.patterns += patterns

    def opens(self, uploaded, orders):
        f = self.f
        assert [order.survivors for order in orders] == [uploaded]
        total = np.frombuffer(bytearray(f.fold(uploaded)), np.uint8)
        masks.apply(total, f.layout, orders[0].masks)
        assert total.tobytes() == f.plain(uploaded)
        self.patterns += 1
        self.exact += 1


@pytest.mark.parametrize("n", [3, 4, 5, pytest.param(6, marks=pytest.mark.slow), pytest.param(7, marks=pytest.mark.slow)])
def test_g19_every_pattern_of_dropouts_gives_the_exact_sum_or_a_clean_end(n):
    """Every site drops before its upload, before its signature, before its reveal, or not at all: 4^n patterns."""
    tree = Tree(n)
    tree.walk()
    t = tree.f.terms.threshold
    alive = sum(len(list(combinations(range(n), k))) * 3 ** (n - k) for k in range(t, n + 1))
    assert (tree.patterns, tree.exact) == (4**n, alive)


class Schedule(RuleBasedStateMachine):
    """Five sites (t = 4) and a coordinator, on a bad night."""

    def __init__(self):
        super().__init__()
        self.f = Federation(5, rounds=3)
        self.tasks, self.heard = 0, []

    names = st.sampled_from([f"site{k:03}" for k in range(5)])
    orders = st.integers(0, 12)

    def guarded(self, act):
        """A lie, a kill or a late message may stop what is done; the shells report or restart, as the real ones do."""
        try:
            return act()
        except (Killed, CollegiumError):
            return None

    def to_hub(self, event):
        try:
            self.f.hub.tell(event)
        except Killed:
            self.f.hub.restart()
        except CollegiumError:
            pass

    @rule(name=names, answer=st.sampled_from(["heard", "lost", "twice"]))
    def poll(self, name, answer):
        if (message := self.f.hub.owed(name)) is None:
            return
        self.heard.append((name, message))
        try:
            said = self.f.sites[name].tell(message_of(document(message)))
        except Killed:
            return
        except CollegiumError as e:
            self.to_hub(Refused(name, str(e)))
            return
        for _ in range({"heard": 1, "lost": 0, "twice": 2}[answer]):
            for reply in said:
                self.hand_in(name, reply)

    def hand_in(self, name, reply):
        if isinstance(reply, Upload):
            self.f.hub.spool.setdefault((reply.epoch, reply.index, name), self.f.sites[name].spool[reply.epoch, reply.index])
        self.to_hub(From(name, reply))

    @rule(fates=st.lists(st.sampled_from(["heard", "heard", "heard", "lost", "twice", "absent"]), min_size=5, max_size=5))
    def everybody(self, fates):
        """The coordinator does what is next, and every site polls once: lost requests, lost answers and repeats among them."""
        match self.f.hub.machine.stand.phase:
            case "none":
                self.to_hub(Open())
            case "idle":
                self.start(again=fates[0] == "twice")
            case "upload" if len(self.f.hub.machine.who("upload")) >= 4:
                self.close()
        for name, fate in zip(self.f.names, fates, strict=True):
            if fate != "absent":
                self.poll(name, fate)

    @rule(fates=st.just(["heard"] * 5))
    def everybody_is_well(self, fates):
        self.everybody(fates)

    @rule()
    def a_calm_hour(self):
        for _ in range(5):
            self.everybody(["heard"] * 5)

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def an_old_message_comes_again(self, data):
        name, message = data.draw(st.sampled_from(self.heard))
        for reply in self.guarded(lambda: self.f.sites[name].tell(message)) or []:
            self.hand_in(name, reply)

    @precondition(lambda self: any(site.sent for site in self.f.sites.values()))
    @rule(data=st.data())
    def an_old_answer_comes_again(self, data):
        name = data.draw(st.sampled_from([name for name, site in self.f.sites.items() if site.sent]))
        self.hand_in(name, data.draw(st.sampled_from(self.f.sites[name].sent)))

    @rule(name=names, orders=orders)
    def kill_a_site_soon(self, name, orders):
        self.f.sites[name].kill_after = orders

    @rule(orders=orders)
    def kill_the_coordinator_soon(self, orders):
        self.f.hub.kill_after = orders

    @rule(name=names)
    def restart_a_site(self, name):
        self.f.sites[name].restart()

    @rule()
    def restart_the_coordinator(self):
        self.guarded(self.f.hub.restart)

    @rule()
    def wait(self):
        self.f.hub.now = max(self.f.hub.now, self.f.hub.machine.wake if self.f.hub.machine.waiting else 0.0)
        self.to_hub(Tick())

    @precondition(lambda self: self.f.hub.machine.stand.phase == "idle")
    @rule()
    def open_an_epoch(self):
        self.to_hub(Open())

    def start(self, again):
        self.tasks += not again
        self.to_hub(Start(f"{self.tasks:064x}"))

    def close(self):
        self.to_hub(Close(tuple(self.f.hub.machine.who("upload")), "root"))

    @precondition(lambda self: self.f.hub.machine.stand.phase in ("upload", "sign", "reveal"))
    @rule()
    def stop(self):
        self.to_hub(Stop("stopped"))

    @invariant()
    def every_sum_names_its_survivors_and_each_index_gives_one(self):
        by_index = {}
        for index, survivors, data in self.f.hub.sums:
            self.f.total(index, survivors, data)
            assert by_index.setdefault(index, (survivors, data)) == (survivors, data)

    @invariant()
    def no_index_masks_two_vectors(self):
        for site in self.f.sites.values():
            seen = {}
            for message in site.sent:
                if isinstance(message, Upload):
                    assert seen.setdefault((message.epoch, message.index), message.digest) == message.digest

    @invariant()
    def nobody_is_opened_both_ways(self):
        seeds, keys = {}, {}
        for site in self.f.sites.values():
            for message in site.sent:
                if isinstance(message, Reveal):
                    for kept, shown in ((seeds, message.seeds), (keys, message.keys)):
                        for name in shown:
                            kept.setdefault((message.epoch, message.index, name), set()).add(site.name)
        t = self.f.terms.threshold
        assert not [key for key in seeds.keys() & keys.keys() if len(seeds[key]) >= t and len(keys[key]) >= t]

    @invariant()
    def what_a_machine_holds_is_on_its_disk(self):
        for shell in (*self.f.sites.values(), self.f.hub):
            if shell.kill_after is None:
                held = {name: row for name, row in shell.rows.items() if not name.startswith("bundle/")}
                assert shell.machine.rows == held

    def teardown(self):
        """In the morning everything works again: the next epoch opens a sum over all sites."""
        for shell in (*self.f.sites.values(), self.f.hub):
            shell.kill_after = None
            shell.restart()
        if self.f.hub.machine.stand.phase in ("upload", "sign", "reveal"):
            self.f.hub.tell(Stop("morning"))
        self.f.prepare()
        assert self.f.round("ff" * 32) is not None
        assert self.f.hub.sums[-1][1] == tuple(self.f.names)


SMALL = settings(max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TestSchedules = Schedule.TestCase
TestSchedules.settings = SMALL


class LongSchedule(Schedule):
    """The same over longer nights."""


TestLongSchedules = pytest.mark.slow(LongSchedule.TestCase)
TestLongSchedules.settings = settings(SMALL, max_examples=100, stateful_step_count=100)


@pytest.mark.parametrize("seed", range(20))
def test_s01_calm_schedules_end_with_every_sum(seed):
    """Sites answer in random order, each as often as it likes: four rounds, four sums."""
    random = np.random.default_rng(seed)
    f = Federation(6).prepare()
    for number in range(4):
        f.start(f"{number:064x}", f"{number:064x}")
        while len(f.hub.machine.who("upload")) < 6:
            f.poll(random.choice(f.names))
        f.hub.tell(Close(tuple(f.names), "root"))
        while f.hub.machine.stand.phase != "idle":
            f.poll(random.choice(f.names))
    assert [data for _, _, data in f.hub.sums] == [f.plain(f.names)] * 4
    assert f.hub.found(Failed) == []


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_cohorts_add_up_to_the_survivors_of_those_that_stand(data):
    """Whoever drops out before its upload: a cohort opens its sum exactly where enough of it are left, whatever the others do."""
    names = [f"site{k:03}" for k in range(14)]
    total, plain = None, None
    for group in secagg.cohorts(STUDY, names, largest=6):
        f = Federation(len(group), names=list(group), make_layout=lambda n: layout(14)).prepare()
        survivors = tuple(sorted(data.draw(st.sets(st.sampled_from(group)))))
        before = len(f.hub.sums)
        f.start(TASK, WORK)
        f.settle(survivors)
        f.hub.tell(Close(survivors, "root"))
        f.settle()
        opened = len(f.hub.sums) > before
        assert opened == (len(survivors) >= f.terms.enough)
        if opened:
            found, wanted = (np.frombuffer(bytearray(each), np.uint8).copy() for each in (f.hub.sums[-1][2], f.plain(survivors)))
            for each, more in ((total, found), (plain, wanted)):
                if each is not None:
                    ring.add(more, each, 0, f.layout)
            total, plain = found, wanted
    assert (total is None) == (plain is None)
    assert total is None or total.tobytes() == plain.tobytes()
