"""
Runs one prepared recipe on many inputs: some at once, in bounded memory, and so that it can be gone on with.

::

    inputs ──feeder──▶ at most `workers` runs at once ──▶ results, in the order of the inputs or as they end
      ▲                                                      │
      └──────── room: results that nobody took yet ◀─────────┘

What was done is known from the ledger alone: each run is recorded under a key of its batch and its input's number.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

from isolation.errors import IdempotencyError, InputError
from isolation.model.key import Key
from isolation.model.outcome import Outcome
from isolation.submission import new_run_id

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from isolation.inputs import Context, Inputs
    from isolation.model.key import Holder
    from isolation.model.run import Result, RunSummary
    from isolation.prepared import Prepared
    from isolation.storage.ledger import Ledger

LAST = "last"
PREFIX = "batch:"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,99}", re.ASCII)
_ROOM_A_WORKER = 8
_NOTHING_SAID = {Outcome.CANCELLED, Outcome.LOST, Outcome.REFUSED}
"""The outcomes that say nothing of the recipe: such a run is made again when the batch goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """
    One input, and what became of it. ``number`` counts from 1, and is the line of a file.

    ``before``: the run was made when the same batch was begun, and not again.
    """

    number: int
    result: Result
    before: bool = False


@dataclass(frozen=True, slots=True)
class _Ended:
    number: int
    done: Done | None = None
    problem: BaseException | None = None


@dataclass(frozen=True, slots=True)
class _Fed:
    """The last input has been handed out: ``count`` of them."""

    count: int
    problem: BaseException | None = None


class Batch:
    """
    A batch that is about to begin; iterate over it, once, to have it carried out.

    At most ``workers`` runs go on at once. Results come in the order of the inputs, if ``ordered``, else as the runs
    end; the memory that they take does not grow with the inputs. Inputs that can be read twice are all checked before
    anything runs, and others when they come: after one that is refused no more are begun, and the error is raised when
    all before it have been given. So it is with an error of ours in a run. Whoever leaves the loop early, as by
    Ctrl-C, cancels the runs that are under way.

    ``key`` names the batch. Who begins one with the same key and the same inputs goes on with it: what was run before
    is given again from the record. Runs that were cancelled, lost or refused are made again, with ``retry_failed`` all
    that did not succeed. Raises InputError for an input that is not what the key was given to.
    """

    def __init__(
        self,
        prepared: Prepared,
        inputs: Inputs,
        *,
        key: str | None = None,
        workers: int | None = None,
        ordered: bool = True,
        retry_failed: bool = False,
    ) -> None:
        if key is not None:
            check_key(key)
        self.key = key or new_run_id(prepared.clock)
        self.inputs = inputs
        self.recipe = prepared.recipe.name
        self.workers = workers or os.cpu_count() or 1
        self._prepared = prepared
        self._goes_on = key is not None
        self._ordered = ordered
        self._retry_failed = retry_failed
        self._room = threading.Semaphore(self.workers * _ROOM_A_WORKER)
        self._heard: SimpleQueue[_Ended | _Fed] = SimpleQueue()
        self._lock = threading.Lock()
        self._over = False
        self._cancels: set[threading.Event] = set()

    def __iter__(self) -> Generator[Done, None, None]:
        self._check_all()
        if self._goes_on:
            self._prepared.bury_the_dead()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="isolation-batch")
        # A daemon, and never waited for: an input that does not come cannot be waited for any less.
        threading.Thread(target=self._feed, args=(pool,), name="isolation-feeder", daemon=True).start()
        try:
            yield from self._results()
        finally:
            self._leave()
            pool.shutdown()

    def _check_all(self) -> None:
        if self.inputs.count is not None:
            for number, context in enumerate(self.inputs.read(), 1):
                self._check(number, context)

    def _check(self, number: int, context: object) -> None:
        if not isinstance(context, Mapping):
            raise self.inputs.refused(number, "this is no mapping of context values")
        try:
            self._prepared.check(context)
        except InputError as error:
            raise self.inputs.refused(number, error.sentence, error.hint) from error

    def _results(self) -> Iterator[Done]:
        """Give what ended, each in its turn, until all that was handed out has; then raise what went wrong first."""
        count: int | None = None
        ended = 0
        problem: BaseException | None = None
        held: dict[int, Done | None] = {}
        turn = 1
        while count is None or ended < count:
            heard = self._heard.get()
            problem = problem or heard.problem
            if isinstance(heard, _Fed):
                count = heard.count
                continue
            ended += 1
            held[heard.number if self._ordered else turn] = heard.done
            while turn in held:
                done = held.pop(turn)
                turn += 1
                self._room.release()
                if done is not None:
                    yield done
        if problem is not None:
            raise problem

    def _feed(self, pool: ThreadPoolExecutor) -> None:
        """Hand out one input after another, as long as there is room for what comes of them."""
        handed_out, problem = 0, None
        try:
            for number, context in enumerate(self.inputs.read(), 1):
                self._check(number, context)
                self._room.acquire()
                with self._lock:
                    if self._over:
                        break
                    pool.submit(self._carry_out, number, context)
                handed_out = number
        except BaseException as error:  # noqa: BLE001 - whoever iterates gets it
            problem = error
        self._heard.put(_Fed(handed_out, problem))

    def _carry_out(self, number: int, context: Context) -> None:
        cancel = threading.Event()
        with self._lock:
            if self._over:
                self._heard.put(_Ended(number))
                return
            self._cancels.add(cancel)
        done, problem = None, None
        try:
            done = self._done(number, context, cancel)
            if done.result.outcome is Outcome.LOST:
                self._prepared.check_engine()  # while it is away all others would be lost, too
        except BaseException as error:  # noqa: BLE001 - as above
            problem = error
            self._begin_no_more()
        with self._lock:
            self._cancels.discard(cancel)
        self._heard.put(_Ended(number, done, problem))

    def _done(self, number: int, context: Context, cancel: threading.Event) -> Done:
        text = run_key(self.key, number)
        holder = self._holder(number, text, context) if self._goes_on else None
        if holder is not None and self._stands(number, holder):
            return Done(number=number, result=self._prepared.recorded(holder.run_id), before=True)
        key = Key(text=text, instead_of=holder.run_id if holder else "")
        return Done(number=number, result=self._prepared.run(context, cancel=cancel, key=key))

    def _holder(self, number: int, text: str, context: Context) -> Holder | None:
        try:
            return self._prepared.holder(text, context)
        except IdempotencyError as error:
            said = f"the batch {self.key!r} has run this one with another recipe, policy or values"
            raise self.inputs.refused(number, said, "What is new needs a new batch.") from error

    def _stands(self, number: int, holder: Holder) -> bool:
        """Tell whether what became of an input before is to stay so."""
        if holder.state in {"running", "queued"}:
            hint = f"Wait for that: `isolation wait {holder.run_id}`, or end that process."
            said = f"the run {holder.run_id} of this one goes on, in another process"
            raise self.inputs.refused(number, said, hint)
        if self._retry_failed:
            return holder.outcome is Outcome.SUCCEEDED
        return holder.outcome is not None and holder.outcome not in _NOTHING_SAID

    def _begin_no_more(self) -> None:
        with self._lock:
            self._over = True

    def _leave(self) -> None:
        """End what is under way; nothing is, where all results were taken."""
        self._begin_no_more()
        self._room.release()  # for a feeder that waits there
        with self._lock:
            for cancel in self._cancels:
                cancel.set()


def check_key(key: str) -> None:
    """Raise InputError for what cannot name a batch."""
    if not _KEY.fullmatch(key) or key == LAST:
        raise InputError(
            f"{key!r} cannot be the key of a batch", hint="Letters, digits and -_. make one, such as nightly-31."
        )


def run_key(batch: str, number: int | str) -> str:
    """Name the key of the run of one input, counted from 1; that of an empty one begins the keys of all."""
    return f"{PREFIX}{batch}:{number}"


def find_batch(ledger: Ledger, key: str) -> str:
    """Return the key of a batch that was begun, ``last`` for the one that ran last; InputError if there is none."""
    beginning = PREFIX if key == LAST else f"{PREFIX}{key}:"
    found = ledger.newest_key(beginning)
    if found is None:
        which = "a batch" if key == LAST else f"a batch {key!r}"
        raise InputError(f"{which} was never begun here", hint="Begin one: without --resume.")
    return found.removeprefix(PREFIX).rpartition(":")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchProgress:
    """
    How far a batch is: its runs counted by state and by outcome, and some of them by the numbers of their inputs.

    ``next``: there are more after this number.
    """

    key: str
    count: int
    states: Mapping[str, int]
    outcomes: Mapping[str, int]
    inputs: Sequence[tuple[int, RunSummary]]
    next: int | None

    @property
    def ended(self) -> bool:
        """Whether none of its runs waits or runs."""
        return not self.states.keys() & {"queued", "running"}


def progress_of(ledger: Ledger, key: str, after: int, limit: int) -> BatchProgress | None:
    """Tell how far a batch is, whoever began it, with at most ``limit`` inputs ``after`` one; None: there is none."""
    check_key(key)
    runs = {int(number): run for number, run in ledger.keyed(run_key(key, "")).items()}
    if not runs:
        return None
    rest = sorted(number for number in runs if number > after)
    page = rest[:limit]
    return BatchProgress(
        key=key,
        count=len(runs),
        states=Counter(run.state for run in runs.values()),
        outcomes=Counter(run.outcome.value for run in runs.values() if run.outcome),
        inputs=[(number, runs[number]) for number in page],
        next=page[-1] if len(rest) > limit else None,
    )


def begun(ledger: Ledger, limit: int, before: str | None = None) -> Sequence[tuple[str, RunSummary]]:
    """Return the keys of at most ``limit`` batches, the last begun first, each with the run of its first input."""
    return ledger.keyed_so(PREFIX, run_key("", 1).removeprefix(PREFIX), limit, before)
