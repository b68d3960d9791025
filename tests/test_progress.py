from itertools import count

import pytest

from unbraid import progress
from unbraid.progress import counting, track


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_with_share_rate_and_time_left_every_30_seconds(clock, capsys):
    with counting("label", unit="items", total=10_000, done=1000) as advance:
        for _ in range(7):
            clock[0] += 10
            advance(100)
    assert capsys.readouterr().err.splitlines() == [
        "label: 1,300 of 10,000 items, 10.0/s, 0:14:30 left",
        "label: 1,600 of 10,000 items, 10.0/s, 0:14:00 left",
    ]


def test_a_rate_is_that_of_this_run_alone(clock, capsys):
    with counting("label", unit="items", total=1_000_000, done=999_000) as advance:
        clock[0] += 40
        advance(10)
    assert capsys.readouterr().err == "label: 999,010 of 1,000,000 items, 0.2/s, 1:06:00 left\n"


def test_short_work_leaves_a_log_alone(clock, capsys):
    with counting("label", unit="items", total=3) as advance:
        advance(3)
    assert capsys.readouterr().err == ""


def test_a_person_sees_a_bar_however_few_the_steps_are(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the captured stream for a terminal then
    monkeypatch.setenv("COLUMNS", "120")
    with counting("label", unit="items", total=3, bar=True) as advance:
        advance(1)
        advance(2)
    shown = capsys.readouterr().err
    assert "label" in shown
    assert "3/3" in shown


@pytest.mark.parametrize("shown", [None, False, True])
def test_tracking_changes_no_step(shown):
    numbers = count()
    assert list(track([next(numbers) for _ in range(40)], "work", unit="steps", shown=shown)) == [*range(40)]
