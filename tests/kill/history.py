"""Was a promise broken? Judges what clients, functions and the daemon say of the same events.

Three witnesses, none of which trusts another:

- the clients' log: what was about to be sent, and what became of it (acknowledged, refused, no answer);
- the effects: what the functions did, told by themselves before and after each run;
- the daemon's listing after everything came to rest.

And the killer's diary: the intervals in which something was killed. Times are CLOCK_MONOTONIC microseconds throughout.

What is judged (R numbers of docs/reliability.md):

  lost          an acknowledged event that the daemon does not know, or calls done without a run that said so       R2
  invented      a run or an event that nobody submitted, with another payload, or under two ids                     R3
  refused_ran   it was answered that nothing was stored, and it ran                                                 R3
  torn          of one request without an answer, some events ran and others did not                               R3
  stuck         not final at the end                                                                                R2
  over_policy   more attempts than the function's settings allow                                                    R4
  counted       an attempt is counted that was none                                                                 R4
  given_up      dead for its retries, which it had not had                                                          R4
  repeated      more runs than attempts, disruptions and kills just after a start explain                           R4
  finished      a run after a success that no kill touched                                                          R5
  early         a retry before its wait was over                                                                    R6
  overlap       more runs at once than the reserved concurrency, or one event in two runs at once                   R8
  cancelled     cancelled, and nobody asked for it                                                                  R2
  books         the counts do not add up, or differ from the listing

A run that a kill touched may be an attempt or a disruption; only the daemon knows, and what it says must add up: each run is one or the
other, except that a kill just after the hand-over may have come before the start was on disk (the hand-over does not wait for it).
"""
import bisect
import collections
import dataclasses

US = 1_000_000
STATES = ("queued", "running", "waiting", "done", "dead", "cancelled", "removed", "replayed")
FINAL = ("done", "dead", "cancelled", "replayed")


@dataclasses.dataclass
class Policy:
    """Of one function."""
    max_attempts: int = 3
    reserved: int = 0          # 0: none
    first_wait_us: int = 0
    timeout_us: int = 60 * US
    purged: bool = False       # somebody purged it


@dataclasses.dataclass
class Intent:
    function: str
    digest: str
    length: int
    at: int


@dataclasses.dataclass
class Run:
    token: str
    id: str
    digest: str
    length: int
    start: int
    function: str
    end: int = 0               # 0: it did not tell of its end
    result: str = ""
    touched: bool = False      # by a kill
    fresh: bool = False        # touched so early that its start may not have been on disk


@dataclasses.dataclass
class History:
    policies: dict                                                       # function -> Policy
    intents: dict = dataclasses.field(default_factory=dict)              # token -> Intent
    acks: dict = dataclasses.field(default_factory=dict)                 # token -> (id, at)
    refused: dict = dataclasses.field(default_factory=dict)              # token -> status
    unknown: set = dataclasses.field(default_factory=set)                # tokens
    batches: list = dataclasses.field(default_factory=list)              # tokens of one request
    runs: list = dataclasses.field(default_factory=list)
    kills: list = dataclasses.field(default_factory=list)                # (from, to)
    events: dict = dataclasses.field(default_factory=dict)               # id -> the listing's members
    books: dict = dataclasses.field(default_factory=dict)
    cancels: set = dataclasses.field(default_factory=set)                # ids somebody asked to cancel
    boxes: int = 0                                                       # how many of the kills were of a box only
    # From what a run tells until it is on disk: its start from the begin, its outcome from the end.
    commit_us: int = US // 4


def read_client_log(h, lines):
    for line in lines:
        word = line.split()
        if word[0] == "I":
            h.intents[word[1]] = Intent(word[2], word[3], int(word[4]), int(word[5]))
        elif word[0] == "A":
            h.acks[word[1]] = (word[2], int(word[3]))
        elif word[0] == "R":
            h.refused[word[1]] = int(word[2])
        elif word[0] == "U":
            h.unknown.add(word[1])
        elif word[0] == "B":
            h.batches.append(word[1:])
        else:
            raise ValueError("client log: " + line)
    # Still under way when the client ended.
    h.unknown |= set(h.intents) - set(h.acks) - set(h.refused)


def read_effects(h, lines):
    """A run's end belongs to the last begin of the same event: one worker runs one event at a time."""
    last = {}
    for line in lines:
        word = line.split()
        if word[0] == "S":
            run = Run(word[1], word[2], word[3], int(word[4]), int(word[5]), word[6])
            h.runs.append(run)
            last.setdefault(run.id, []).append(run)
        elif word[0] == "E":
            # Lines of two workers may come in another order than they were sent.
            begun = [r for r in last.get(word[2], ()) if r.start <= int(word[4]) and not r.end]
            if not begun:
                raise ValueError("effects: an end without its begin: " + line)
            begun[-1].end, begun[-1].result = int(word[4]), word[3]
        else:
            raise ValueError("effects: " + line)


class Judge:
    def __init__(self, h):
        self.h = h
        self.findings = []      # (kind, text)
        self.by_id = collections.defaultdict(list)
        for run in sorted(h.runs, key=lambda r: r.start):
            self.by_id[run.id].append(run)
        self._touch()

    def find(self, kind, text, *args):
        self.findings.append((kind, text % args))

    def _touch(self):
        kills = sorted(self.h.kills)
        froms = [k[0] for k in kills]

        def killed(start, last):
            """Some kill began before last and ended after start."""
            at = bisect.bisect_right(froms, last)
            return at > 0 and kills[at - 1][1] >= start

        for run in self.h.runs:
            policy = self.h.policies.get(run.function)
            last = run.end or run.start + (policy.timeout_us if policy else 0)
            run.touched = killed(run.start, last + self.h.commit_us)
            run.fresh = killed(run.start, run.start + self.h.commit_us)

    def root(self, ident):
        """The event that this one is a replay of, and so on."""
        seen = set()
        while ident not in seen:
            seen.add(ident)
            up = (self.h.events.get(ident) or {}).get("replay_of")
            if not up:
                return ident
            ident = up
        return ident

    def judge(self):
        for check in (self.lost, self.invented, self.torn, self.stuck, self.attempts, self.early, self.overlap, self.cancelled, self.books):
            check()
        return self.findings

    def lost(self):
        for token, (ident, _) in self.h.acks.items():
            if ident not in self.h.events:
                self.find("lost", "%s, acknowledged as %s, is not known", token, ident)
        for ident, event in self.h.events.items():
            if event["state"] == "done" and not any(r.result == "ok" for r in self.by_id.get(ident, ())):
                self.find("lost", "%s is done without a run that said so", ident)

    def invented(self):
        ids = collections.defaultdict(set)      # token -> roots of the ids it ran under
        for run in self.h.runs:
            intent = self.h.intents.get(run.token)
            if not intent:
                self.find("invented", "%s ran, and was never sent", run.token)
                continue
            if (intent.function, intent.digest, intent.length) != (run.function, run.digest, run.length):
                self.find("invented", "%s ran with another payload or function", run.token)
            if run.id not in self.h.events:
                self.find("invented", "%s ran, and is not known", run.id)
            if run.token in self.h.refused:
                self.find("refused_ran", "%s was refused with %d and ran", run.token, self.h.refused[run.token])
            ids[run.token].add(self.root(run.id))
        for token, roots in ids.items():
            ack = self.h.acks.get(token)
            if len(roots) > 1 or (ack and ack[0] not in roots):
                self.find("invented", "%s ran as %s, acknowledged as %s", token, sorted(roots), ack and ack[0])
        acknowledged = {ident for ident, _ in self.h.acks.values()}
        if len(acknowledged) < len(self.h.acks):
            self.find("invented", "%d ids for %d acknowledgements", len(acknowledged), len(self.h.acks))
        more = collections.Counter(e["function"] for i, e in self.h.events.items() if i not in acknowledged and not e.get("replay_of"))
        may = collections.Counter(self.h.intents[t].function for t in self.h.unknown)
        for function, n in more.items():
            if n > may[function]:
                self.find("invented", "%d events of %s were not acknowledged, of %d without an answer", n, function, may[function])

    def torn(self):
        ran = {r.token for r in self.h.runs}
        for tokens in self.h.batches:
            policy = self.h.policies.get(self.h.intents[tokens[0]].function)
            # One that was cancelled before its run, or whose only attempt was killed before its first word, left no trace either.
            if not policy or policy.purged or policy.max_attempts == 1 or tokens[0] not in self.h.unknown:
                continue
            there = sum(t in ran for t in tokens)
            if 0 < there < len(tokens):
                self.find("torn", "%d of %d events ran: %s", there, len(tokens), tokens[0])

    def stuck(self):
        for ident, event in self.h.events.items():
            if event["state"] not in FINAL:
                self.find("stuck", "%s of %s is %s", ident, event["function"], event["state"])

    def attempts(self):
        for ident, runs in self.by_id.items():
            policy, event = self.h.policies.get(runs[0].function), self.h.events.get(ident)
            if not policy or not event:
                continue
            untouched = sum(not r.touched for r in runs)
            if untouched > policy.max_attempts:
                self.find("over_policy", "%s: %d runs that no kill touched", ident, untouched)
            if len(runs) > event["attempt_count"] + event["disruptions"] + sum(r.fresh for r in runs):
                self.find("repeated", "%s: %d runs, %d attempts, %d disruptions", ident, len(runs), event["attempt_count"],
                          event["disruptions"])
            if any(r.result == "ok" and not r.touched for r in runs[:-1]):
                self.find("finished", "%s ran again after its success", ident)
        excess = []
        for ident, event in self.h.events.items():
            policy, counted = self.h.policies.get(event["function"]), event["attempt_count"]
            if policy and counted > policy.max_attempts:
                self.find("over_policy", "%s: %d attempts are counted", ident, counted)
            if policy and event.get("condition") == "RetriesExhausted" and counted < policy.max_attempts:
                self.find("given_up", "%s: after %d attempts", ident, counted)
            if counted > len(self.by_id.get(ident, ())):
                excess.append(ident)
        # A box killed between the hand-over and its first word leaves an attempt of which nothing else is known.
        if len(excess) > self.h.boxes:
            self.find("counted", "%d events with more attempts than runs, %s for one; %d boxes were killed", len(excess), excess[0],
                      self.h.boxes)

    def early(self):
        for ident, runs in self.by_id.items():
            policy = self.h.policies.get(runs[0].function)
            for run, following in zip(runs, runs[1:]):
                # Due times are whole milliseconds.
                if policy and run.result in ("err", "exit") and not run.touched \
                        and following.start < run.end + policy.first_wait_us - 1000:
                    self.find("early", "%s: again after %d us", ident, following.start - run.end)

    def overlap(self):
        for function, policy in self.h.policies.items():
            if not policy.reserved:
                continue
            marks = []
            for run in self.h.runs:
                # Without its end nobody knows how long it lived; one that outlived a kill tells its end and is counted.
                if run.function == function and run.end:
                    marks += [(run.start, 1), (run.end, -1)]
            high = now = 0
            for _, step in sorted(marks):
                now += step
                high = max(high, now)
            if high > policy.reserved:
                self.find("overlap", "%s: %d at once, %d are reserved", function, high, policy.reserved)
        for ident, runs in self.by_id.items():
            for run, following in zip(runs, runs[1:]):
                if run.end and following.start < run.end:
                    self.find("overlap", "%s in two runs at once", ident)

    def cancelled(self):
        for ident, event in self.h.events.items():
            policy = self.h.policies.get(event["function"])
            if event["state"] == "cancelled" and ident not in self.h.cancels and not (policy and policy.purged):
                self.find("cancelled", "%s of %s", ident, event["function"])

    def books(self):
        b = self.h.books
        if b["accepted"] != sum(b[s] for s in STATES):
            self.find("books", "they do not balance: %s", b)
        listed = collections.Counter(e["state"] for e in self.h.events.values())
        for state in STATES:
            if state != "removed" and b[state] != listed[state]:
                self.find("books", "%d %s, and %d are listed", b[state], state, listed[state])


def numbers(h, judge):
    """What the seed log tells of a batch."""
    repeats = collections.Counter(len(r) for r in judge.by_id.values())
    kinds = collections.Counter(kind for kind, _ in judge.findings)
    return {
        "acknowledged": len(h.acks), "unknown": len(h.unknown), "refused": len(h.refused), "runs": len(h.runs),
        "untouched": sum(not r.touched for r in h.runs), "fresh": sum(r.fresh for r in h.runs),
        "twice": sum(n for times, n in repeats.items() if times > 1), "repeats": dict(sorted(repeats.items())),
        "findings": dict(kinds),
    }
