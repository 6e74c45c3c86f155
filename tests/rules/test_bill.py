"""How an attempt's time is shared between its steps and us."""

from __future__ import annotations

from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.run import Attempt, StepReport
from isolation.rules.bill import Share, share


def attempt(*spans: tuple[float | None, float | None], **phases: tuple[float, float]) -> Attempt:
    """Make one whose steps began after so many seconds and took so many, and its phases in ms."""
    steps = (StepReport(name="s", outcome=StepOutcome.SUCCEEDED, began_s=at, wall_s=took) for at, took in spans)
    return Attempt(
        number=1,
        outcome=Outcome.SUCCEEDED,
        cause="",
        started_at="2025-01-02T03:04:05.678Z",
        phases_at_ms={name: at for name, (at, _) in phases.items()},
        phases_ms={name: took for name, (_, took) in phases.items()},
        steps=tuple(steps),
    )


def test_what_is_not_the_steps_is_ours() -> None:
    """Up to the end of the phase that ended last; between phases, too."""
    made = attempt((0.5, 0.25), freeze=(0, 300), create=(100, 350), run=(475, 300), merge=(900, 100))

    assert share(made) == Share(1000, 250)
    assert Share(1000, 250).ours_ms == 750


def test_steps_that_ran_at_once_count_once() -> None:
    """What one waits while another works is nobody's overhead."""
    assert share(attempt((0.0, 0.5), (0.25, 0.5), (1.0, 0.125), run=(0, 2000))) == Share(2000, 875)


def test_the_queue_is_nobodys_work() -> None:
    """It is on the bill, and not in what is shared."""
    assert share(attempt(queue=(-5000, 5000), pack=(0, 10))) == Share(10, 0)


def test_steps_never_have_more_than_the_whole() -> None:
    """Their times are their runner's word."""
    assert share(attempt((0.0, 99.0), run=(0, 1000))) == Share(1000, 1000)


def test_a_record_without_moments_is_not_shared() -> None:
    """Those of older versions tell how long, and not when; a step that never ran needs no moment."""
    assert share(attempt()) is None
    assert share(attempt((None, 0.5), run=(0, 1000))) is None
    assert share(attempt((None, None), run=(0, 1000))) == Share(1000, 0)
