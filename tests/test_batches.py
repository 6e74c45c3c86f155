"""Batches on a fake engine, where a test decides which run ends when: order, bounds, bad inputs, and going on."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from isolation.batches import find_batch
from isolation.clock import SystemClock
from isolation.controller import Controller
from isolation.errors import EngineUnreachableError, FileError, IdempotencyError, InputError
from isolation.model.key import Key
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.sandbox.cells import Cells
from isolation.sandbox.leases import Leases
from isolation.state.schema import controllers
from isolation.stores import Stores
from isolation.testing import IMAGE, FakeEngine, Inside
from tests.site import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isolation.batches import Batch, Done

ONCE = Policy.model_validate({"name": "test", "retry": {"lost": {"attempts": 1}, "no_answer": {"attempts": 1}}})

STAY, SILENT = "stay", "silent"
"""What a run may do instead of its work: go on until it is killed, or end without a word."""


class Bench:
    """A controller whose runs each write a key of their input's number; ``when`` is called before they do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fake = FakeEngine(self._script)
        self.began: list[int] = []
        self.when: Callable[[int], object] = lambda _: None
        self.recipe = folder / "recipe"
        self.recipe.mkdir()
        (self.recipe / "work.py").write_text("def run(context, params): ...\n")
        (self.recipe / "recipe.yaml").write_text(
            "metadata: {name: work}\ncontext: {reads: [i], writes: ['n.*']}\n"
            "steps: [{name: work, module: work, function: run}]\n"
        )
        self.controller = self.open()

    def open(self) -> Controller:
        """Open a controller, as another process would."""
        cells = Cells(self.fake, Leases(self.folder / "uids"), local=False)
        stores = Stores(self.folder / "state")
        return Controller(stores=stores, engine=self.fake, cells=cells, clock=SystemClock(), image=IMAGE)

    def batch(self, inputs: object, **how: object) -> Batch:
        """Make a batch of this recipe."""
        how = {"policy": ONCE, "workers": 2, **how}
        return self.controller.batch(self.recipe, inputs, **how)  # type: ignore[arg-type]  # a test's own words

    def merged(self) -> list[int]:
        """Tell the numbers of the inputs whose runs were merged, one each time."""
        entries = self.controller.stores.contexts.history("n.*", 10_000)
        return sorted(int(entry.key.removeprefix("n.")) for entry in entries)

    def file(self, *lines: str) -> Path:
        """Write a file of inputs."""
        path = self.folder / "inputs.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def _script(self, inside: Inside) -> int:
        inside.hello()
        inside.hear_plan()
        number = self._input_of(inside)
        self.began.append(number)
        what = self.when(number)
        if what == STAY:
            inside.stay()
        if what in {STAY, SILENT}:
            return 0
        inside.step(0, {f"n.{number}": number})
        inside.end()
        inside.hear_bye()
        return 0

    def _input_of(self, inside: Inside) -> int:
        (container,) = [found for found in [*self.fake.containers.values()] if found.inside is inside]
        (place,) = [mount["Source"] for mount in container.body["HostConfig"]["Mounts"] if mount["Target"] == "/in"]
        number: int = json.loads(Path(place, "snapshot.json").read_bytes())["values"]["i"]
        return number


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    with bench.controller:
        yield bench
    bench.fake.forget()


def numbers(batch: Batch) -> list[int]:
    return [done.number for done in batch]


def take(batch: Batch, into: list[Done]) -> None:
    """Keep what came before an error."""
    for done in batch:
        into.append(done)  # noqa: PERF402 - a list made at once would be lost with the error


def inputs(count: int) -> list[dict[str, int]]:
    return [{"i": number} for number in range(1, count + 1)]


@pytest.mark.parametrize(("ordered", "order"), [(True, [1, 2]), (False, [2, 1])])
def test_results_come_in_the_order_of_the_inputs_or_as_the_runs_end(
    bench: Bench, order: list[int], *, ordered: bool
) -> None:
    """The first is held up until the second has ended, and is recorded."""
    bench.when = lambda number: until(lambda: number != 1 or bench.merged() == [2])

    assert numbers(bench.batch(inputs(2), ordered=ordered)) == order


def test_as_many_runs_go_on_at_once_as_there_are_workers(bench: Bench) -> None:
    """Three meet, so that there are as many; and a fourth never stands with them."""
    meeting, lock, here, most = threading.Barrier(3), threading.Lock(), [0], [0]

    def meet(_: int) -> None:
        with lock:
            here[0] += 1
            most[0] = max(most[0], here[0])
        meeting.wait(timeout=60)
        with lock:
            here[0] -= 1
        meeting.wait(timeout=60)

    bench.when = meet

    assert numbers(bench.batch(inputs(6), workers=3)) == [1, 2, 3, 4, 5, 6]
    assert most == [3]


def test_no_more_inputs_are_read_than_there_is_room_for_their_results(bench: Bench) -> None:
    """In order, with the first held up, all others would else be run and wait in memory."""
    read: list[int] = []
    go = threading.Event()

    def come() -> Iterator[dict[str, int]]:
        for number in range(1, 101):
            read.append(number)
            if number == 17:  # eight results a worker, and the next input in the hand
                go.set()
            yield {"i": number}

    bench.when = lambda number: number != 1 or go.wait(timeout=60)
    results = iter(bench.batch(come()))

    assert next(results).number == 1
    assert len(read) < 100
    results.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"i": 2', "not JSON"),
        ("", "the line is empty"),
        ("[2]", "the line is no JSON object"),
        ('{"i": 2, "i": 3}', "stands twice"),
        ('{"i": NaN}', "NaN is not JSON"),
        ('{"j": 2}', "may not read 'j'"),
        ('{" i": 2}', "' i'"),
    ],
)
def test_a_file_with_a_bad_line_runs_nothing(bench: Bench, line: str, said: str) -> None:
    """It is read through first, so that nobody finds half of it done."""
    file = bench.file('{"i": 1}', line, '{"i": 3}')

    with pytest.raises(FileError, match=said) as caught:
        numbers(bench.batch(file))

    assert (caught.value.path, caught.value.line) == (str(file), 2)
    assert bench.began == []


def test_a_bad_input_that_comes_later_ends_the_batch_after_those_before_it(bench: Bench) -> None:
    """What comes as it comes cannot be read twice; nothing before is lost, nothing after begins."""
    given: list[Done] = []

    with pytest.raises(InputError, match=r"^input 3: .* may not read 'j'"):
        take(bench.batch(iter([{"i": 1}, {"i": 2}, {"j": 3}, {"i": 4}])), given)

    assert [done.number for done in given] == [1, 2]
    assert bench.merged() == [1, 2]


def test_what_is_no_object_is_refused(bench: Bench) -> None:
    """Also from a program, which no type checker may have seen."""
    with pytest.raises(InputError, match="input 2: this is no mapping"):
        numbers(bench.batch([{"i": 1}, 2]))
    assert bench.began == []


def test_an_input_stands_over_what_all_have(bench: Bench) -> None:
    """As --set gives a value to all, and a line another to one."""
    assert numbers(bench.batch([{}, {"i": 2}], context={"i": 7})) == [1, 2]
    assert bench.merged() == [2, 7]


def test_who_leaves_early_goes_on_with_the_same_key(bench: Bench) -> None:
    """What was under way is cancelled; in the end each input was merged once, and each result is given."""
    under_way = threading.Event()

    def stay(number: int) -> str:
        if number == 3:
            under_way.set()
        return STAY if number == 3 else ""

    bench.when = stay
    first = {}
    for done in bench.batch(inputs(5), key="nightly", workers=1):
        first[done.number] = done.result.run_id
        if done.number == 2:
            assert under_way.wait(timeout=60)
            break
    assert bench.merged() == [1, 2]
    (cancelled,) = bench.controller.stores.ledger.list(10, outcome=Outcome.CANCELLED)

    bench.when = lambda _: None
    again = [*bench.batch(inputs(5), key="nightly")]

    assert [(done.number, done.before) for done in again] == [(1, True), (2, True), *((n, False) for n in (3, 4, 5))]
    assert {done.number: done.result.run_id for done in again[:2]} == first
    assert cancelled.run_id not in {done.result.run_id for done in again}
    assert bench.merged() == [1, 2, 3, 4, 5]


def test_what_failed_stands_unless_it_is_to_be_tried_again(bench: Bench) -> None:
    """A recipe's failure is a result."""
    bench.when = lambda number: SILENT if number == 2 else ""
    assert [done.result.succeeded for done in bench.batch(inputs(3), key="k")] == [True, False, True]

    bench.when = lambda _: None
    assert [done.result.succeeded for done in bench.batch(inputs(3), key="k")] == [True, False, True]
    again = [*bench.batch(inputs(3), key="k", retry_failed=True)]

    assert [(done.result.succeeded, done.before) for done in again] == [(True, True), (True, False), (True, True)]
    assert bench.merged() == [1, 2, 3]


def test_an_engine_that_goes_away_ends_the_batch_and_not_all_its_inputs(bench: Bench) -> None:
    """Else each would be lost, one after another; the one that was is run again."""
    bench.when = lambda number: bench.fake.vanish() if number == 2 else None
    given: list[Done] = []

    with pytest.raises(EngineUnreachableError):
        take(bench.batch(inputs(5), key="k", workers=1), given)
    bench.fake._gone = False
    bench.when = lambda _: None

    assert [done.result.outcome for done in given] == [Outcome.SUCCEEDED, Outcome.LOST]
    assert [done.before for done in bench.batch(inputs(5), key="k")] == [True, False, False, False, False]
    assert bench.merged() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("what", ["inputs", "policy", "recipe"])
def test_a_key_is_for_one_batch(bench: Bench, what: str) -> None:
    """Whoever changed something would get results of something else."""
    numbers(bench.batch(inputs(2), key="k"))
    given, how = inputs(2), {}
    if what == "inputs":
        given[0] = {"i": 9}
    elif what == "policy":
        how = {"policy": ONCE.model_copy(update={"name": "other"})}
    else:
        (bench.recipe / "work.py").write_text("def run(context, params): pass\n")

    with pytest.raises(InputError, match="input 1: the batch 'k' has run this one with another recipe, policy or"):
        numbers(bench.batch(given, key="k", workers=1, **how))


@pytest.mark.parametrize("key", ["", "last", "a:b", "-k", "k" * 101])
def test_a_key_is_a_plain_name(bench: Bench, key: str) -> None:
    """It is part of another, and people type it."""
    with pytest.raises(InputError, match="cannot be the key of a batch"):
        bench.batch(inputs(1), key=key)


def test_a_run_that_another_process_has_is_not_begun_twice(bench: Bench) -> None:
    """Two who go on with one batch at once: the second is told."""
    begun = threading.Event()
    caught = []

    def meanwhile(_: int) -> None:
        begun.set()
        with bench.open() as other, pytest.raises(InputError, match="goes on, in another process") as found:
            [*other.batch(bench.recipe, inputs(1), policy=ONCE, key="k")]
        caught.append(found.value)

    bench.when = meanwhile

    assert numbers(bench.batch(inputs(1), key="k")) == [1]
    assert len(caught) == 1
    assert bench.merged() == [1]


def test_a_run_whose_process_died_is_made_again(bench: Bench) -> None:
    """Nobody needs to clean up first."""
    bench.when = lambda _: bench.fake.vanish()
    with pytest.raises(EngineUnreachableError):
        numbers(bench.batch(inputs(1), key="k"))
    bench.fake._gone = False
    with bench.open() as dead:
        run_id = die_at_work(dead, "batch:k:1")
        bench.when = lambda _: None

        (done,) = bench.batch(inputs(1), key="k")

        assert bench.controller.stores.ledger.summary(run_id).state == "abandoned"
    assert done.result.succeeded
    assert bench.merged() == [1]


def die_at_work(dead: Controller, key: str) -> str:
    """Leave the run with that key as a process does that dies when it has just begun it anew."""
    stores = dead.stores
    before = stores.ledger.list(1)[0]
    record = stores.ledger.record(before.run_id)
    held = Key(text=key, instead_of=before.run_id)
    stores.ledger.start(
        "20250101-000000-dead", "work", "test", record.digests, "t", inputs_digest=record.inputs_digest, key=held
    )
    with stores.database.writing() as connection:
        ours = controllers.c.controller_id == stores.presence.controller_id
        connection.execute(update(controllers).where(ours).values(owner_started="1"))
    return "20250101-000000-dead"


def test_two_who_begin_the_same_at_once_do_not_both(bench: Bench) -> None:
    """Both saw that nobody had the key; the ledger decides in one transaction."""
    prepared = bench.controller.prepare(bench.recipe, policy=ONCE, context={"i": 1})
    assert prepared.run(key=Key(text="k")).succeeded

    with pytest.raises(IdempotencyError, match="has the key 'k' by now"):
        prepared.run(key=Key(text="k"))
    assert bench.merged() == [1]


def test_a_prepared_recipe_outlives_its_folder(bench: Bench) -> None:
    """It was packed once, and all of its runs are the same package."""
    prepared = bench.controller.prepare(bench.recipe, policy=ONCE)
    (bench.recipe / "work.py").write_text("raise SystemExit\n")

    first, second = prepared.run({"i": 1}), prepared.run({"i": 2})

    assert first.digests.package == second.digests.package
    assert bench.merged() == [1, 2]


def test_the_last_batch_is_found_by_the_runs_that_it_made(bench: Bench) -> None:
    """By name, or as the last; what was never begun is a mistake."""
    ledger = bench.controller.stores.ledger
    with pytest.raises(InputError, match="a batch was never begun here"):
        find_batch(ledger, "last")
    numbers(bench.batch(inputs(1), key="one"))
    numbers(bench.batch(inputs(1), key="two"))
    bench.controller.run(bench.recipe, policy=ONCE, context={"i": 3})

    assert find_batch(ledger, "last") == "two"
    assert find_batch(ledger, "one") == "one"
    with pytest.raises(InputError, match="a batch 'on' was never begun here"):
        find_batch(ledger, "on")
