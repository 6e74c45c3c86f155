"""The pool of idle cells: how many there are, whose they become, and that none is left."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, cast

import pytest

from isolation.clock import SystemClock
from isolation.errors import EngineError
from isolation.model.policy import Limits, Policy
from isolation.sandbox.pool.pool import Pool, Standing
from isolation.sandbox.pool.pressure import Pressure, read_pressure
from isolation.sandbox.pool.shape import Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.sandbox.cell import Cell

IMAGE = "sha256:0"
WITHIN_S = 20.0


class Idle:
    """As much of a cell as a pool looks at."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.stands = True


class Yard:
    """Makes and destroys cells, and counts them."""

    def __init__(self) -> None:
        self.made: list[Idle] = []
        self.destroyed: list[Idle] = []
        self.error: EngineError | None = None
        self.tried = threading.Event()

    def make(self, shape: Shape) -> Cell:
        """Make one, or fail as it is told to."""
        self.tried.set()
        if self.error is not None:
            raise self.error
        self.made.append(Idle(shape))
        return cast("Cell", self.made[-1])

    def destroy(self, cell: Cell) -> None:
        """Remember it."""
        self.destroyed.append(cast("Idle", cell))


def shape(**limits: object) -> Shape:
    found = shape_of(Policy(name="test", limits=Limits.model_validate(limits)), IMAGE)
    assert found is not None
    return found


@pytest.fixture
def yard() -> Yard:
    return Yard()


@pytest.fixture
def open_pool(yard: Yard) -> Iterator[Callable[..., Pool]]:
    opened: list[Pool] = []

    def open_pool(most: int = 4, pressure: Pressure = "free") -> Pool:
        opened.append(Pool(yard.make, yard.destroy, most=most, clock=SystemClock(), pressure=lambda: pressure))
        return opened[-1]

    yield open_pool
    for pool in opened:
        pool.close()


def test_who_asks_first_gets_none_and_the_next_gets_one(open_pool: Callable[..., Pool], yard: Yard) -> None:
    pool = open_pool()

    assert pool.take(shape()) is None
    assert pool.wait(shape(), 1, WITHIN_S)
    assert cast("Idle", pool.take(shape())) is yard.made[0]


def test_its_cells_are_counted(open_pool: Callable[..., Pool], yard: Yard) -> None:
    """Whoever has one may give it back elsewhere; then it is gone, too."""
    pool = open_pool(most=3)
    assert pool.standing() == Standing(idle=0, used=0, wanted=0)
    pool.expect(shape(), 10)
    assert pool.wait(shape(), 2, WITHIN_S)
    assert pool.standing() == Standing(idle=2, used=0, wanted=2)
    taken = [pool.take(shape()) for _ in range(2)]
    assert pool.standing().used == 2
    assert pool.standing().wanted == 3
    back = taken.pop()
    assert back is not None
    pool.give_back(back)
    assert pool.standing().used == 1
    taken.clear()
    yard.made.clear()
    gc.collect()
    assert pool.standing().used == 0


def test_a_cell_is_given_out_once(open_pool: Callable[..., Pool]) -> None:
    pool = open_pool()
    taken = set()
    for _ in range(10):
        pool.expect(shape())
        assert pool.wait(shape(), 1, WITHIN_S)
        taken.add(id(pool.take(shape())))

    assert len(taken) == 10


def test_what_is_asked_for_often_is_kept_in_number_and_never_above_the_most(
    open_pool: Callable[..., Pool], yard: Yard
) -> None:
    pool = open_pool(most=3)
    pool.expect(shape(), 100)

    assert pool.wait(shape(), 3, WITHIN_S)
    pool.close()
    assert len(yard.made) == 3


def test_another_shape_takes_the_place_of_one_that_was_asked_for_longer_ago(
    open_pool: Callable[..., Pool], yard: Yard
) -> None:
    pool = open_pool(most=1)
    pool.expect(shape())
    assert pool.wait(shape(), 1, WITHIN_S)
    pool.expect(shape(pids=64))

    assert pool.wait(shape(pids=64), 1, WITHIN_S)
    assert pool.take(shape()) is None
    pool.close()
    assert yard.made[0] in yard.destroyed


def test_an_idle_cell_that_died_is_not_given_out(open_pool: Callable[..., Pool], yard: Yard) -> None:
    pool = open_pool()
    pool.expect(shape())
    assert pool.wait(shape(), 1, WITHIN_S)
    yard.made[0].stands = False

    assert cast("Idle", pool.take(shape())) is not yard.made[0]
    pool.close()
    assert yard.made[0] in yard.destroyed


def test_a_host_without_memory_to_spare_keeps_none(open_pool: Callable[..., Pool], yard: Yard) -> None:
    pool = open_pool(pressure="full")
    pool.expect(shape(), 100)
    pool.close()

    assert not yard.made


def test_where_none_can_be_made_the_engine_is_left_alone(open_pool: Callable[..., Pool], yard: Yard) -> None:
    """Whoever runs makes a cell of his own then, and is told why not."""
    yard.error = EngineError("no room")
    pool = open_pool()
    pool.expect(shape())
    assert yard.tried.wait(WITHIN_S)
    yard.error = None
    pool.expect(shape())

    assert pool.take(shape()) is None
    pool.close()
    assert not yard.made


def test_none_is_left_at_the_end(open_pool: Callable[..., Pool], yard: Yard) -> None:
    pool = open_pool()
    pool.expect(shape())
    assert pool.wait(shape(), 1, WITHIN_S)
    pool.expect(shape(pids=64), 100)
    assert pool.wait(shape(pids=64), 3, WITHIN_S)
    taken = pool.take(shape(pids=64))
    assert taken is not None
    pool.give_back(taken)
    pool.close()

    assert sorted(map(id, yard.destroyed)) == sorted(map(id, yard.made))


def test_two_threads_never_get_the_same_cell(open_pool: Callable[..., Pool]) -> None:
    pool = open_pool(most=8)
    taken: list[Cell] = []

    def take() -> None:
        while len(taken) < 40:
            found = pool.take(shape())
            if found is not None:
                taken.append(found)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id(cell) for cell in taken}) == len(taken)


def test_runs_share_a_shape_whatever_may_be_changed_later() -> None:
    assert shape(memory="64MiB", cpus=0.5, tmp="2MiB", wall=3, log=0) == shape()


@pytest.mark.parametrize("limits", [{"pids": 64}, {"open_files": 64}, {"file": "4MiB"}, {"shm": "1MiB"}])
def test_what_a_process_is_born_with_makes_another_shape(limits: dict[str, object]) -> None:
    assert shape(**limits) != shape()


def test_another_clock_or_hash_seed_makes_another_shape() -> None:
    policy = Policy.model_validate({"name": "test", "determinism": {"hash_seed": 7}})

    assert shape_of(policy, IMAGE) != shape()


def test_a_policy_that_counts_no_inodes_gets_no_idle_cell() -> None:
    """A tmpfs that had a limit cannot be given none, tmpfs(5)."""
    assert shape_of(Policy(name="test", limits=Limits(tmp_inodes=None)), IMAGE) is None


@pytest.mark.parametrize(
    ("files", "pressure"),
    [
        ({}, "free"),
        ({"meminfo": "MemTotal: 1000 kB\nMemAvailable: 99 kB\n"}, "full"),
        ({"meminfo": "MemTotal: 1000 kB\nMemAvailable: 100 kB\n"}, "free"),
        ({"pressure/memory": "some avg10=99.00 avg60=0\nfull avg10=10.01 avg60=0\n"}, "full"),
        ({"pressure/memory": "some avg10=99.00 avg60=0\nfull avg10=9.00 avg60=0\n"}, "free"),
        ({"pressure/cpu": "some avg10=60.50 avg60=0\n"}, "busy"),
        ({"loadavg": "1000.0 1 1 1/2 3\n"}, "busy"),
        ({"loadavg": "0.5 1 1 1/2 3\n"}, "free"),
    ],
)
def test_how_pressed_the_host_is(tmp_path: Path, files: dict[str, str], pressure: str) -> None:
    (tmp_path / "pressure").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    assert read_pressure(tmp_path) == pressure
