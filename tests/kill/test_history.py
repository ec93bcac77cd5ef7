"""The checker is tried on a history that is right, and on the same with one thing wrong: each must be found, and named."""
import copy
import os
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from history import STATES, History, Intent, Judge, Policy, Run, read_client_log, read_effects  # noqa: E402

MS = 1000


class World:
    """Events of two functions one after the other, some failing, some broken off by a kill."""

    def __init__(self, seed=1):
        self.rng = random.Random(seed)
        self.h = History({"plain": Policy(3, 0, 50 * MS, 5000 * MS), "two": Policy(2, 2, 50 * MS, 5000 * MS)}, commit_us=10 * MS)
        self.now = 1_000_000
        for n in range(1200):
            self.event(n)
        self.books()

    def tick(self, ms):
        self.now += ms * MS
        return self.now

    def run(self, token, ident, result):
        i = self.h.intents[token]
        run = Run(token, ident, i.digest, i.length, self.tick(20), i.function)
        self.h.runs.append(run)
        if result:
            run.end, run.result = self.tick(3), result
        return run

    def event(self, n):
        token, ident, function = "t-%d" % n, "id-%d" % n, self.rng.choice(("plain", "two"))
        self.h.intents[token] = Intent(function, "%016x" % n, 100 + n, self.tick(1))
        fate = self.rng.random()
        if fate < 0.02:
            self.h.refused[token] = 500
            return
        if fate < 0.05:
            self.h.unknown.add(token)
            if fate < 0.03:
                return
        else:
            self.h.acks[token] = (ident, self.tick(1))
        allowed, attempts, disruptions, state = self.h.policies[function].max_attempts, 0, 0, "dead"
        while attempts < allowed:
            end = self.rng.choice(("ok", "ok", "ok", "err", "exit", "killed"))
            self.run(token, ident, "" if end == "killed" else end)
            if end == "killed":
                self.h.kills.append((self.tick(2), self.tick(5)))
                disruptions += 1
                self.tick(20)
                continue
            attempts += 1
            if end == "ok":
                state = "done"
                break
            self.tick(100)
        self.h.events[ident] = {"id": ident, "function": function, "state": state, "attempt_count": attempts, "disruptions": disruptions,
                                "replay_of": None, "condition": "RetriesExhausted" if state == "dead" else None}
        self.tick(30)

    def books(self):
        b = dict.fromkeys(STATES, 0)
        for e in self.h.events.values():
            b[e["state"]] += 1
        self.h.books = dict(b, accepted=len(self.h.events))


def kinds(h):
    return {kind for kind, _ in Judge(h).judge()}


def pick(h, wanted):
    """An acknowledged event that ended as wanted in its first run, which no kill touched."""
    Judge(h)  # sets touched
    for token, (ident, _) in h.acks.items():
        runs = [r for r in h.runs if r.id == ident]
        if len(runs) == 1 and runs[0].result == wanted and not runs[0].touched:
            return token, ident, runs[0]
    raise AssertionError("no such event")


def forget(h):
    """The daemon lost an acknowledged event after it ran."""
    _, ident, run = pick(h, "ok")
    del h.events[ident]
    h.runs.remove(run)
    h.books["accepted"] -= 1
    h.books["done"] -= 1


def forget_before_run(h):
    _, ident, run = pick(h, "ok")
    h.runs.remove(run)


def forget_one_in_thousand(h):
    for n, (token, (ident, at)) in enumerate(list(h.acks.items())):
        if n % 1000 == 999:
            h.acks[token] = ("dropped-%d" % n, at)


def another_attempt(h):
    ident = next(i for i, e in h.events.items() if e["state"] == "dead")
    last = [r for r in h.runs if r.id == ident][-1]
    more = copy.copy(last)
    more.start, more.end, more.result = last.end + 60 * MS, last.end + 63 * MS, "err"
    h.runs.append(more)
    h.events[ident]["attempt_count"] += 1


def another_run(h):
    """Told as an attempt of none."""
    _, _, run = pick(h, "ok")
    more = copy.copy(run)
    more.start, more.end = run.end + 15 * MS, run.end + 16 * MS
    h.runs.append(more)


def attempt_of_nothing(h):
    _, ident, _ = pick(h, "ok")
    h.events[ident]["attempt_count"] += 1


def given_up(h):
    ident = next(i for i, e in h.events.items() if e["state"] == "dead" and e["function"] == "plain")
    h.events[ident]["attempt_count"] -= 1


def never_sent(h):
    h.runs.append(Run("t-none", next(iter(h.events)), "0" * 16, 1, 5, "plain", 6, "ok"))


def other_payload(h):
    pick(h, "ok")[2].digest = "f" * 16


def two_ids(h):
    """One submission was stored twice."""
    token, ident, run = pick(h, "ok")
    more = copy.copy(run)
    more.id, more.start, more.end = "second", run.end + 15 * MS, run.end + 16 * MS
    h.runs.append(more)
    h.events["second"] = dict(h.events[ident], id="second")
    h.books["accepted"] += 1
    h.books["done"] += 1


def from_nowhere(h):
    for n in range(len(h.unknown) + 1):
        h.events["more-%d" % n] = dict(id="more-%d" % n, function="plain", state="dead", attempt_count=0, disruptions=0, condition="FunctionDeleted")
        h.books["accepted"] += 1
        h.books["dead"] += 1


def refused_ran(h):
    token = next(iter(h.refused))
    i = h.intents[token]
    h.runs.append(Run(token, "id-refused", i.digest, i.length, 5, i.function, 6, "ok"))
    h.events["id-refused"] = dict(id="id-refused", function=i.function, state="done", attempt_count=1, disruptions=0)


def torn(h):
    """Of two events of a request without an answer, one was stored and ran."""
    there = next(r.token for r in h.runs if r.token in h.unknown)
    h.batches.append([there, next(t for t in h.unknown if t not in {r.token for r in h.runs})])


def still_waiting(h):
    e = h.events[pick(h, "ok")[1]]
    e["state"] = "waiting"
    h.books["done"] -= 1
    h.books["waiting"] += 1


def one_overlap(h):
    """A third worker of a function of two, for a moment."""
    runs = [r for r in h.runs if r.function == "two" and r.end][:3]
    for r in runs:
        r.start, r.end = runs[0].start, runs[0].end + 30 * 1000 * MS


def itself(h):
    token, ident, run = pick(h, "ok")
    more = copy.copy(run)
    more.start, more.end = run.start + MS, run.end + MS
    h.runs.append(more)
    h.events[ident]["attempt_count"] += 1


def too_soon(h):
    for ident, e in h.events.items():
        runs = [r for r in h.runs if r.id == ident]
        if len(runs) == 2 and runs[0].result == "err" and not runs[0].touched:
            runs[1].start, runs[1].end = runs[0].end + 40 * MS, runs[0].end + 41 * MS
            return


def nobody_asked(h):
    h.events[pick(h, "ok")[1]]["state"] = "cancelled"
    h.books["done"] -= 1
    h.books["cancelled"] += 1


def unbalanced(h):
    h.books["accepted"] += 1


MUTATIONS = (
    (forget, "lost"), (forget_before_run, "lost"), (forget_one_in_thousand, "lost"), (another_attempt, "over_policy"), (another_run, "repeated"),
    (another_run, "finished"), (attempt_of_nothing, "counted"), (given_up, "given_up"), (never_sent, "invented"),
    (other_payload, "invented"), (two_ids, "invented"), (from_nowhere, "invented"), (refused_ran, "refused_ran"), (torn, "torn"), (still_waiting, "stuck"),
    (one_overlap, "overlap"), (itself, "overlap"), (too_soon, "early"), (nobody_asked, "cancelled"), (unbalanced, "books"),
)


def test_right():
    for seed in range(10):
        found = Judge(World(seed).h).judge()
        assert not found, found[:5]


def test_each_wrong_is_found():
    for seed in range(3):
        for mutate, kind in MUTATIONS:
            h = World(seed).h
            mutate(h)
            assert kind in kinds(h), "%s (seed %d) was not found: %s" % (mutate.__name__, seed, kinds(h))


def test_asked_for():
    h = World().h
    nobody_asked(h)
    h.cancels = {i for i, e in h.events.items() if e["state"] == "cancelled"}
    assert not kinds(h), kinds(h)


def test_replay():
    """The same payload again, under a new id, because somebody asked."""
    h = World().h
    token, ident, run = pick(h, "ok")
    more = copy.copy(run)
    more.id, more.start, more.end = "again", run.end + 15 * MS, run.end + 16 * MS
    h.runs.append(more)
    h.events["again"] = dict(h.events[ident], id="again", replay_of=ident)
    h.books["accepted"] += 1
    h.books["done"] += 1
    assert not kinds(h), kinds(h)


def test_logs_are_read():
    h = History({})
    read_client_log(h, ["I a f 00ff 10 5", "A a id-a 6", "I b f 00fe 11 7", "R b 500 8", "I c f 00fd 12 9", "B b c", "U c 10", "I d f 00fc 13 11"])
    assert h.acks == {"a": ("id-a", 6)} and h.refused == {"b": 500} and h.unknown == {"c", "d"} and h.batches == [["b", "c"]], h
    # The end of the first run is read after the begin of the second.
    read_effects(h, ["S a id-a 00ff 10 20 f", "S a id-a 00ff 10 40 f", "E a id-a err 30", "E a id-a ok 50"])
    assert [(r.start, r.end, r.result) for r in h.runs] == [(20, 30, "err"), (40, 50, "ok")], h.runs
    for bad in ("X", "E z id-z ok 5"):
        try:
            read_effects(h, [bad])
            raise AssertionError(bad)
        except ValueError:
            pass


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print("ok", name)
