"""The machines of a gaggle in a made-up world: links are cut, workers freeze, die, leave and come back."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaggle import parcel
from gaggle.errors import ProtocolError
from gaggle.fetcher import Fetcher, Unpack
from gaggle.keeping import WEIGHTY
from gaggle.manager import Manager, Node
from gaggle.news import Counted, Ended, Happened, Missing, Resumed, Started
from gaggle.plan import Block, Plan, blocks, cut, without
from gaggle.protocol import Fetch, Hello, Lease, Message, Piece, Refused
from gaggle.standing import Lead, lead_of, take_up
from gaggle.terms import Shipment, Terms
from gaggle.worker import Add, Allow, Drop, End, Halt, Kill, Numbers, Prepare, Start, Worker

STEP_NS = 100_000_000
SECOND = 10  # steps
USERS = 12


@dataclass
class Machine:
    """A worker's machine: engines that count one for each of their users and step, while their lease lasts."""

    name: str
    hash: str = "same"
    worker: Worker = field(init=False)
    running: list[Block] = field(default_factory=list)
    starts_ns: int = 0
    until_ns: int = 0
    counted: int = 0  # by the engines, and not frozen yet
    made: int = 0  # in all, by this process and those before it
    boots: int = 0
    frozen_until: int = 0
    is_dead: bool = False
    is_ended: bool = False
    first: Block = field(default=Block(1, 1, 0, 0))
    stops_in: int | None = None
    drops: list[tuple[int, Block]] = field(default_factory=list)  # in so many steps they are gone

    def __post_init__(self) -> None:
        self.boot()

    def boot(self) -> None:
        self.boots += 1
        hello = Hello(
            node=f"{self.name}-{self.boots}", host=self.name, pid=1, hash=self.hash, engines=1, boot=self.name, cores=()
        )
        self.worker = Worker(hello)
        self.worker.state = "waiting"
        self.running, self.counted, self.is_ended, self.until_ns, self.stops_in = [], 0, False, 0, None
        self.drops = []

    @property
    def speaker(self) -> Worker | Fetcher:
        """Who talks with the manager."""
        return self.worker

    def may_run(self, now_ns: int) -> bool:
        return bool(self.running) and self.starts_ns <= now_ns < self.until_ns

    def step(self, now_ns: int) -> None:
        """What the engines do in a tenth of a second; then the supervisor's turn."""
        if self.may_run(now_ns):
            users = sum(block.count for block in self.running)
            self.counted += users
            self.made += users
        self.worker.tick(now_ns, Numbers(users=1, has_pending=bool(self.counted)))
        if now_ns // STEP_NS % SECOND == 0:
            self.freeze()
        self.do(now_ns)
        self.drop()
        if self.stops_in is not None:
            self.stops_in -= 1
            if self.stops_in <= 0:
                self.stops_in, self.running, self.drops = None, [], []
                self.freeze(is_last=True)
                self.worker.stopped()

    def drop(self) -> None:
        """Users that others are to have leave after a while."""
        due = [block for steps, block in self.drops if steps <= 0]
        self.drops = [(steps - 1, block) for steps, block in self.drops if steps > 0]
        for block in due:
            self.running = [without(own, block) for own in self.running]
            self.first = without(self.first, block)
            self.worker.freed(block)

    def freeze(self, is_last: bool = False) -> None:
        if self.counted and (is_last or self.worker.may_freeze()):
            self.worker.freeze(self.worker.epoch, 0.0, 1.0, [str(self.counted).encode()])
            self.counted = 0

    def do(self, now_ns: int) -> None:
        while self.worker.todo:
            deed = self.worker.todo.pop(0)
            if isinstance(deed, Prepare):
                self.first, self.drops = deed.assign.blocks[0], []
                self.worker.prepared()
            elif isinstance(deed, Allow):
                self.until_ns = deed.until_ns
            elif isinstance(deed, Start):
                self.running, self.starts_ns = [self.first, *deed.more], max(deed.t0_ns, now_ns)
            elif isinstance(deed, Add):
                self.running += deed.blocks
            elif isinstance(deed, Drop):
                self.drops.append((5, deed.block))
            elif isinstance(deed, Halt):
                self.stops_in = 3
            elif isinstance(deed, Kill):
                self.running, self.until_ns, self.stops_in, self.drops = [], 0, None, []
            elif isinstance(deed, End):
                self.is_ended = True


class Newcomer(Machine):
    """A machine that is started without a load test: it fetches the manager's, and joins in a session of its own."""

    fetcher: Fetcher | None = None
    ends_session = False

    def boot(self) -> None:
        super().boot()
        self.fetcher = Fetcher()

    @property
    def speaker(self) -> Worker | Fetcher:
        return self.fetcher or self.worker

    def step(self, now_ns: int) -> None:
        if self.fetcher is None:
            super().step(now_ns)

    def do(self, now_ns: int) -> None:
        if self.fetcher is None:
            super().do(now_ns)
        for deed in self.fetcher.todo if self.fetcher else ():
            self.is_ended = isinstance(deed, End)
            if isinstance(deed, Unpack):
                assert deed.parcel == LOAD_TEST
                self.fetcher, self.ends_session = None, True


LOAD_TEST = parcel.Parcel("loadtest.py", {"loadtest.py": b"x" * 50, "users.csv": b"y" * 50})
PACKED = parcel.pack(LOAD_TEST)
SHIPMENT = Shipment(parcel.digest_of(PACKED), tuple(PACKED[at : at + 60] for at in range(0, len(PACKED), 60)))


class World:
    """A manager, workers, and the links between them. Time goes in steps of a tenth of a second."""

    def __init__(self, machines: list[Machine], **terms: object) -> None:
        plan = Plan(USERS, 1_000.0, 20.0)
        self.terms = Terms(plan, expect=2, hash="same", options={}, test="this", **terms)  # type: ignore[arg-type]
        self.manager = Manager(self.terms)
        self.away_until = 0  # no manager until then
        self.saved = self.standing()
        self.held: list[tuple[bytes, Message]] = []  # words that wait for the disk
        self.counted: dict[str, int] = {}  # deltas that do
        self.returns: list[Resumed] = []
        self.missing: list[Missing] = []
        self.machines = machines
        self.now_ns = STEP_NS
        self.sessions: dict[str, bytes] = {}
        self.is_cut: dict[str, int] = {}
        self.is_mute: set[str] = set()  # their cables are cut, and nobody has noticed yet
        self.is_deaf: set[str] = set()  # they do not read: the queue of what they are told is full
        self.refusals: list[str] = []
        self.to_manager: deque[tuple[int, str, bytes, Message]] = deque()
        self.to_worker: deque[tuple[int, str, bytes, Message]] = deque()
        self.counts: Counter[str] = Counter()
        self.incidents: list[Happened] = []
        self.has_ended = False
        self.started_ns = 0
        self.session = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
            if self.has_ended:
                return

    def step(self) -> None:
        self.now_ns += STEP_NS
        for machine in self.machines:
            self.connect(machine)
            if not self.is_frozen(machine):
                machine.step(self.now_ns)
                self.send(machine)
        if self.now_ns >= self.away_until:
            self.deliver()
            self.manager.tick(self.now_ns)
            self.read_news()
            self.answer()
            self.save()
        self.check_owners()

    # The manager's disk.

    def standing(self) -> tuple[bytes, Counter[str]]:
        return msgspec.msgpack.encode(lead_of(self.manager)), Counter(getattr(self, "counts", {}))

    def save(self) -> None:
        """Every third step, or as soon as a word waits for it; as `keeping.Keeper` does."""
        if self.held or self.now_ns // STEP_NS % 3 == 0:
            self.saved = self.standing()
            held, self.held = self.held, []
            counted, self.counted = self.counted, {}
            for node, number in counted.items():
                self.manager.acknowledge(node, number)
            for peer, message in held:
                self.post(peer, message)

    def kill_manager(self, steps: int) -> None:
        """kill -9, and another one after so many steps, with what is on disk. At any moment: also before it is."""
        for machine in self.machines:
            if machine.name in self.sessions:
                self.lose_session(machine)
        lead, counts = self.saved
        self.counts, self.held, self.counted = Counter(counts), [], {}
        self.away_until = self.now_ns + steps * STEP_NS
        self.manager = Manager(self.terms)
        take_up(self.manager, msgspec.msgpack.decode(lead, type=Lead), self.away_until)

    def is_frozen(self, machine: Machine) -> bool:
        return machine.is_dead or machine.is_ended or self.now_ns < machine.frozen_until

    def connect(self, machine: Machine) -> None:
        is_up = self.now_ns >= max(self.is_cut.get(machine.name, 0), self.away_until) and not machine.is_dead
        if isinstance(machine, Newcomer) and machine.ends_session:
            machine.ends_session = is_up = False
        if machine.is_ended and machine.name not in self.sessions:
            return
        if machine.is_ended and not any(item[1] == machine.name for item in self.to_manager):
            is_up = False  # its last word is out
        if is_up and machine.name not in self.sessions and not self.is_frozen(machine):
            self.session += 1
            self.sessions[machine.name] = b"%d" % self.session
            machine.speaker.connected()
            self.send(machine)
        elif not is_up and machine.name in self.sessions:
            self.lose_session(machine)

    def lose_session(self, machine: Machine, is_heard_out: bool = False) -> None:
        """What was on its way is lost, in both directions; or the manager's machine has it, and it is heard later."""
        peer = self.sessions.pop(machine.name)
        if not is_heard_out:
            self.to_manager = deque(item for item in self.to_manager if item[2] != peer)
        self.to_worker = deque(item for item in self.to_worker if item[2] != peer)
        self.manager.disconnected(peer)
        machine.speaker.disconnected()
        machine.speaker.outbox.clear()

    def send(self, machine: Machine) -> None:
        peer = self.sessions.get(machine.name)
        for message in machine.speaker.outbox:
            if peer is not None and machine.name not in self.is_mute:
                self.to_manager.append((self.now_ns + STEP_NS, machine.name, peer, message))
        machine.speaker.outbox.clear()

    def answer(self) -> None:
        for peer, message in self.manager.outbox:
            is_weighty = self.held or isinstance(message, WEIGHTY)
            if is_weighty and not isinstance(message, Lease):
                self.held.append((peer, message))
            else:
                self.post(peer, message)
        self.manager.outbox.clear()

    def post(self, peer: bytes, message: Message) -> None:
        names = {peer: name for name, peer in self.sessions.items()}
        if peer not in names or names[peer] in self.is_deaf:
            self.manager.disconnected(peer)
        elif names[peer] not in self.is_mute:
            self.to_worker.append((self.now_ns + STEP_NS, names[peer], peer, message))

    def deliver(self) -> None:
        while self.to_manager and self.to_manager[0][0] <= self.now_ns:
            _, _, peer, message = self.to_manager.popleft()
            try:
                self.manager.hear(peer, message, self.now_ns)
            except ProtocolError as error:
                live = {peer for name, peer in self.sessions.items() if name not in self.is_deaf}
                assert peer not in live, "only a session that has ended may be behind its time"
                self.refusals.append(str(error))
                self.manager.dismiss(peer, str(error))
        frozen = deque()
        while self.to_worker and self.to_worker[0][0] <= self.now_ns:
            item = self.to_worker.popleft()
            machine = next(machine for machine in self.machines if machine.name == item[1])
            if self.is_frozen(machine) and not machine.is_ended:
                frozen.append(item)
            elif not machine.is_ended:
                machine.speaker.hear(item[3], self.now_ns)
                machine.do(self.now_ns)
                self.send(machine)
        self.to_worker.extendleft(reversed(frozen))

    def read_news(self) -> None:
        while self.manager.news:
            news = self.manager.news.pop(0)
            if isinstance(news, Counted):
                self.counts[news.node] += int(b"".join(news.parts))
                self.counted[news.node] = news.number
            elif isinstance(news, Resumed):
                self.returns.append(news)
            elif isinstance(news, Missing):
                self.missing.append(news)
            elif isinstance(news, Happened):
                self.incidents.append(news)
            elif isinstance(news, Started):
                self.started_ns = news.t0_ns
            elif isinstance(news, Ended):
                self.has_ended = True

    def check_owners(self) -> None:
        """No user is at work on two machines, whatever the manager believes."""
        owners = Counter(
            number
            for machine in self.machines
            if machine.may_run(self.now_ns) and not machine.is_dead
            for block in machine.running
            for number in block.numbers()
        )
        twice = [number for number, times in owners.items() if times > 1]
        assert not twice, f"users {twice} run twice at {self.now_ns / 1e9}"

    def machine(self, number: int) -> Machine:
        return self.machines[number % len(self.machines)]

    def kill(self, machine: Machine) -> None:
        """kill -9: what was counted and is not acknowledged dies with it."""
        machine.is_dead = True
        machine.running = []

    def at_work(self) -> set[int]:
        return {n for m in self.machines if m.may_run(self.now_ns) for b in m.running for n in b.numbers()}


def test_blocks_are_the_seeds_turns_and_classes() -> None:
    """Worker 1 has users 1, 3, 5, 7 with the first half of the layout, worker 2 the others."""
    first, second = blocks(8, 2)

    assert (list(first.numbers()), list(first.places())) == ([1, 3, 5, 7], [0, 1, 2, 3])
    assert (list(second.numbers()), list(second.places())) == ([2, 4, 6, 8], [4, 5, 6, 7])


@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 5))
def test_blocks_divide_all_users_and_no_user_twice(users: int, workers: int, parts: int) -> None:
    divided = [piece for block in blocks(users, workers) for piece in block.split(parts)]

    assert sorted(n for piece in divided for n in piece.numbers()) == list(range(1, users + 1))
    assert sorted(p for piece in divided for p in piece.places()) == list(range(users))


def test_a_test_without_trouble_runs_all_users_and_counts_all() -> None:
    world = World([Machine("a"), Machine("b")])

    world.run(60 * SECOND)

    assert world.has_ended
    assert sum(world.counts.values()) == sum(machine.made for machine in world.machines) > USERS * 15 * SECOND
    assert not world.incidents


def test_the_first_worker_may_wait_long_for_the_second() -> None:
    world = World([Machine("a")])
    world.run(23 * 60 * SECOND)
    assert not world.started_ns

    world.machines.append(Machine("b"))
    world.run(40 * SECOND)

    assert world.has_ended
    assert sum(world.counts.values()) == sum(machine.made for machine in world.machines)


def test_a_worker_with_another_load_test_is_refused_and_the_others_go_on() -> None:
    world = World([Machine("a"), Machine("x", hash="other"), Machine("b")])

    world.run(40 * SECOND)

    assert world.has_ended
    assert world.machines[1].is_ended
    assert world.machines[1].made == 0


def test_a_cut_shorter_than_the_lease_changes_nothing() -> None:
    world = World([Machine("a"), Machine("b")])
    world.run(6 * SECOND)

    world.is_cut["a"] = world.now_ns + 5 * SECOND * STEP_NS
    world.run(60 * SECOND)

    assert world.has_ended
    assert not world.incidents
    assert sum(world.counts.values()) == sum(machine.made for machine in world.machines)


def test_the_users_of_a_killed_worker_go_to_the_others_when_its_lease_is_over() -> None:
    world = World([Machine("a"), Machine("b")])
    world.run(4 * SECOND)

    world.kill(world.machines[0])
    world.run(13 * SECOND)

    assert world.at_work() == set(range(1, USERS + 1))
    assert [incident.kind for incident in world.incidents] == ["loss"]
    assert not world.incidents[0].lost


def test_a_spare_takes_the_users_of_a_lost_worker() -> None:
    world = World([Machine("a"), Machine("b"), Machine("spare")])
    world.run(4 * SECOND)

    world.kill(world.machines[0])
    world.run(14 * SECOND)

    assert world.machines[2].running
    assert world.at_work() == set(range(1, USERS + 1))


# A manager that was away.


def test_users_go_on_when_another_manager_is_there_within_their_lease() -> None:
    world = World([Machine("a"), Machine("b")])
    world.run(6 * SECOND)

    world.kill_manager(4 * SECOND)
    world.run(60 * SECOND)

    assert world.has_ended
    assert world.returns == [Resumed(USERS, 0)]
    assert not world.incidents
    assert sum(world.counts.values()) == sum(machine.made for machine in world.machines)


def test_users_that_ended_while_there_was_no_manager_begin_again_where_they_were() -> None:
    world = World([Machine("a"), Machine("b")])
    world.run(4 * SECOND)

    world.kill_manager(12 * SECOND)
    world.run(14 * SECOND)

    assert world.returns == [Resumed(0, USERS)]
    assert world.at_work() == set(range(1, USERS + 1))
    assert not world.incidents


def test_a_manager_that_is_killed_before_the_start_gathers_its_workers_again() -> None:
    world = World([Machine("a")])
    world.run(4 * SECOND)
    world.kill_manager(2 * SECOND)
    world.run(4 * SECOND)

    world.machines.append(Machine("b"))
    world.run(40 * SECOND)

    assert world.has_ended
    assert sum(world.counts.values()) == sum(machine.made for machine in world.machines) > USERS * 15 * SECOND


def test_a_manager_that_is_killed_while_it_stops_ends_with_all_counts() -> None:
    world = World([Machine("a"), Machine("b")])
    world.run(4 * SECOND)
    world.manager.stop("signal", world.now_ns)
    world.run(3)

    world.kill_manager(3 * SECOND)
    world.run(60 * SECOND)

    assert world.has_ended
    assert sum(world.counts.values()) == sum(machine.made for machine in world.machines)


def test_the_share_of_a_worker_that_never_came_back_is_missing() -> None:
    world = World([Machine("a"), Machine("b")])
    world.run(4 * SECOND)

    world.kill(world.machines[0])
    world.run(60 * SECOND)

    assert [(missing.node, missing.number) for missing in world.missing] == [("a-1", 1)]


@pytest.mark.parametrize("is_lost_before", [True, False])
def test_the_end_does_not_wait_for_a_worker_of_which_nothing_is_heard(is_lost_before: bool) -> None:
    """It waited for half a minute and more, as its session was still there, and then told of another loss."""
    world = World([Machine("a"), Machine("b")], stop_timeout=30.0)
    world.run(4 * SECOND)

    world.is_mute.add("a")
    world.run(20 * SECOND if is_lost_before else 1)
    world.manager.stop("signal", world.now_ns)
    world.run(14 * SECOND)

    assert world.has_ended
    assert [(missing.node, missing.number) for missing in world.missing] == [("a-1", 1)]
    assert [incident.lost for incident in world.incidents] == [not is_lost_before]


def test_the_end_waits_for_a_worker_that_is_cut_off_and_brings_its_counts() -> None:
    world = World([Machine("a"), Machine("b")])
    world.run(6 * SECOND)
    world.is_cut["a"] = world.now_ns + 9 * SECOND * STEP_NS

    world.manager.stop("signal", world.now_ns)
    world.run(60 * SECOND)

    assert world.has_ended
    assert not world.missing
    assert sum(world.counts.values()) == sum(machine.made for machine in world.machines)


def test_what_a_session_has_brought_before_its_end_counts_also_when_that_is_known_already() -> None:
    """A beat before the Bye could not be answered any more: the Bye was refused, and the counts were called missing."""
    world = World([Machine("a"), Machine("b")])
    world.run(6 * SECOND)
    world.manager.stop("signal", world.now_ns)
    while not world.machines[0].is_ended:
        world.run(1)

    world.lose_session(world.machines[0], is_heard_out=True)
    world.run(5 * SECOND)

    assert world.has_ended
    assert not world.missing
    assert not world.incidents


def test_a_worker_that_does_not_read_is_refused_when_its_lease_is_over() -> None:
    """Its queue was full, so its session takes no more; but it still is there, and beats."""
    world = World([Machine("a"), Machine("b")])
    world.run(6 * SECOND)

    world.is_deaf.add("a")
    world.run(18 * SECOND)

    assert world.refusals[0] == "a Beat from a worker that does not read what it is told"
    assert [incident.lost for incident in world.incidents] == [False]


# A worker that comes while the test runs.


def test_a_worker_that_comes_late_gets_its_share() -> None:
    world = World([Machine("a"), Machine("b")], rebalance=True)
    world.run(6 * SECOND)

    world.machines.append(Machine("c"))
    world.run(6 * SECOND)

    assert [sum(block.count for block in machine.running) for machine in world.machines] == [4, 4, 4]
    assert world.at_work() == set(range(1, USERS + 1))
    assert [incident.kind for incident in world.incidents] == ["rebalance"]


def test_a_worker_that_comes_late_is_a_spare_where_nobody_wants_it_otherwise() -> None:
    world = World([Machine("a"), Machine("b")])
    world.run(6 * SECOND)

    world.machines.append(Machine("c"))
    world.run(6 * SECOND)

    assert not world.machines[2].running


@pytest.mark.parametrize("lost", ["a", "b", "c"])
def test_users_that_move_are_not_lost_with_either_side(lost: str) -> None:
    world = World([Machine("a"), Machine("b")], rebalance=True)
    world.run(6 * SECOND)
    world.machines.append(Machine("c"))
    world.run(5)

    world.kill(next(machine for machine in world.machines if machine.name == lost))
    world.run(13 * SECOND)

    assert world.at_work() == set(range(1, USERS + 1))


def test_users_that_move_stay_one_when_the_manager_is_killed_meanwhile() -> None:
    world = World([Machine("a"), Machine("b")], rebalance=True)
    world.run(6 * SECOND)
    world.machines.append(Machine("c"))
    world.run(5)

    world.kill_manager(2 * SECOND)
    world.run(6 * SECOND)

    assert [sum(block.count for block in machine.running) for machine in world.machines] == [4, 4, 4]
    assert world.at_work() == set(range(1, USERS + 1))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 40))
def test_what_is_cut_off_are_the_last_users_and_none_is_lost(counts: list[int], count: int) -> None:
    mine = [Block(100 * turn + 1, 2, users, 100 * turn) for turn, users in enumerate(counts)]
    all_of_them = [number for block in mine for number in block.numbers()]

    left, off = cut(mine, count)

    assert [number for block in left for number in block.numbers()] == all_of_them[: max(len(all_of_them) - count, 0)]
    assert sum(block.count for block in off) == min(count, len(all_of_them))


def test_a_worker_that_leaves_hands_over_at_once() -> None:
    world = World([Machine("a"), Machine("b")])
    world.run(4 * SECOND)

    world.machines[0].worker.leave()
    world.run(2 * SECOND)

    assert world.at_work() == set(range(1, USERS + 1))


def test_ctrl_c_on_a_worker_stops_all() -> None:
    world = World([Machine("a"), Machine("b")])
    world.run(4 * SECOND)

    world.machines[1].worker.interrupt()
    world.run(5 * SECOND)

    assert world.has_ended
    assert sum(world.counts.values()) == sum(machine.made for machine in world.machines)


@pytest.mark.parametrize("policy", ["continue", "stop"])
def test_a_loss_that_is_not_made_good_is_said_to_be(policy: str) -> None:
    world = World([Machine("a"), Machine("b")], on_loss=policy)
    world.run(4 * SECOND)

    world.kill(world.machines[0])
    world.run(90 * SECOND)

    assert world.has_ended
    assert [incident.lost for incident in world.incidents] == [True]


TROUBLE = st.tuples(
    st.integers(0, 250),  # when, in steps
    st.integers(0, 2),  # whose
    st.sampled_from(["cut", "freeze", "break", "leave", "restart", "interrupt", "manager", "newcomer"]),
    st.integers(1, 400),  # for how many steps
)


def test_a_worker_without_a_load_test_fetches_it_and_joins() -> None:
    world = World([Machine("a"), Newcomer("new")], shipment=SHIPMENT)

    world.run(60 * SECOND)

    assert world.has_ended
    assert world.machines[1].made > 0
    assert sum(world.counts.values()) == sum(machine.made for machine in world.machines)
    assert not world.incidents


def test_a_cut_while_a_load_test_is_fetched_costs_no_more_than_the_time() -> None:
    world = World([Machine("a"), Newcomer("new")], shipment=SHIPMENT)
    world.run(3)

    world.is_cut["new"] = world.now_ns + 50 * SECOND * STEP_NS
    world.run(120 * SECOND)

    assert world.has_ended
    assert world.machines[1].made > 0


def test_a_worker_without_a_load_test_is_told_where_there_is_none_for_it() -> None:
    manager = Manager(Terms(Plan(2, 1.0), expect=1, hash="same", options={}))

    manager.hear(b"1", Fetch(0), 1)

    ((_, refused),) = manager.outbox
    assert isinstance(refused, Refused)
    assert refused.reason == "it has no load test: name its file, or start the manager with --ship"


def test_a_load_test_is_handed_out_piece_by_piece_to_whoever_asks() -> None:
    manager = Manager(Terms(Plan(2, 1.0), expect=1, hash="same", options={}, shipment=SHIPMENT))

    manager.hear(b"1", Fetch(1), 1)
    manager.hear(b"2", Fetch(0), 1)

    assert manager.outbox == [(peer, Piece(SHIPMENT.digest, part, len(SHIPMENT.pieces), SHIPMENT.pieces[part]))
                              for peer, part in ((b"1", 1), (b"2", 0))]  # fmt: skip
    assert not manager.nodes
    with pytest.raises(ProtocolError):
        manager.hear(b"1", Fetch(len(SHIPMENT.pieces)), 1)


def test_a_worker_that_has_joined_fetches_nothing_more() -> None:
    manager = Manager(Terms(Plan(2, 1.0), expect=1, hash="same", options={}, shipment=SHIPMENT))
    manager.hear(b"1", Hello("n", "h", 1, "same", 1, "b", ()), 1)

    with pytest.raises(ProtocolError):
        manager.hear(b"1", Fetch(0), 2)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TROUBLE, max_size=6), st.booleans())
def test_whatever_happens_no_user_runs_twice_no_count_is_lost_or_doubled_and_it_ends(
    troubles: list[tuple[int, int, str, int]], rebalance: bool
) -> None:
    world = World([Machine("a"), Machine("b"), Newcomer("c")], rebalance=rebalance, shipment=SHIPMENT)
    due = deque(sorted(troubles))

    for step in range(300):
        while due and due[0][0] <= step:
            _, number, what, steps = due.popleft()
            trouble(world, world.machine(number), what, steps)
        world.run(1)
    world.manager.stop("enough", world.now_ns)
    world.run(200 * SECOND)

    assert world.has_ended
    for machine in world.machines:
        counted = sum(count for node, count in world.counts.items() if node.startswith(machine.name))
        assert counted <= machine.made
        if machine.is_ended and machine.boots == 1:
            assert counted == machine.made - machine.counted


def trouble(world: World, machine: Machine, what: str, steps: int) -> None:
    if what == "cut":
        world.is_cut[machine.name] = world.now_ns + steps * STEP_NS
    elif what == "freeze":
        machine.frozen_until = world.now_ns + steps * STEP_NS
    elif what in ("leave", "interrupt") and isinstance(machine.speaker, Fetcher):
        machine.is_ended = True  # nobody knows of it yet
    elif what == "leave":
        machine.worker.leave()
    elif what == "interrupt" and steps > 350:
        machine.worker.interrupt()
    elif what == "manager" and not world.has_ended:
        world.kill_manager(steps // 2)
    elif what == "newcomer" and len(world.machines) < 6:
        world.machines.append(Machine(f"n{len(world.machines)}"))
    elif what == "break" and machine.name in world.sessions:
        world.lose_session(machine, is_heard_out=True)
    elif what == "restart" and machine.name in world.sessions:
        world.lose_session(machine)
        machine.boot()


def test_a_hello_refused_is_told_why() -> None:
    manager = Manager(Terms(Plan(2, 1.0), expect=1, hash="same", options={}))

    manager.hear(b"1", Hello("n", "h", 1, "other", 1, "b", ()), 1)

    assert isinstance(manager.outbox[0][1], Refused)
    assert "different load test" in manager.outbox[0][1].reason
    assert not [node for node in manager.nodes.values() if isinstance(node, Node) and node.number]
