"""The timeline says in words what happened, in time order, and drives no terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from consumers.demo.story import DemoStory
from consumers.demo.timeline import chronicle, figures, print_story
from tests.demo.stories import at, body, error_episode, input_episode, job, measure, story, trial, uneventful


def printed(told: DemoStory, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_story(told, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def lines(**events: object) -> list[str]:
    nothing = {"drift_episodes": (), "retraining_jobs": (), "experiments": (), "promotions": ()}
    return [entry.text for entry in chronicle(story(**{**nothing, **events}))][1:]


def test_everything_is_told_in_time_order() -> None:
    assert [(entry.kind, entry.text) for entry in chronicle(story())] == [
        ("service", "v1 begins to serve"),
        ("inputs", "3 drifts of the inputs of v1 until 1995-11-05, mostly price, mean_60, abs_move"),
        ("drift", "drift opens on v1: error level 0.31 -> 0.52 dollars; closed 1996-04-03"),
        (
            "job",
            "v2 trained on 1,200 rows: error 0.2941 against v1's 0.3101 dollars on 125 holdout rows; "
            "good enough, registered",
        ),
        ("experiment", "v2 is tried against v1 in shadow"),
        ("inputs", "inputs of v1 drift (mean_5); closed 1996-07-12"),
        ("verdict", "verdict PROMOTE after 456 outcomes: error 0.0155 dollars a day lower, e-value 26 >= 20"),
        ("promotion", "v2 is PRODUCTION instead of v1"),
    ]


def test_dozens_of_input_drifts_share_one_line() -> None:
    drifts = tuple(input_episode(day, "price") for day in range(10, 90))
    assert lines(drift_episodes=drifts) == ["80 drifts of the inputs of v1 until 1995-08-06, mostly price"]


def test_a_model_that_was_not_good_enough_is_said_to_be_so() -> None:
    validation = {"n": 125, "challenger_mae": 0.2647, "champion_mae": 0.2513, "champion_version": "1"}
    (line,) = lines(retraining_jobs=(job(9, "VALIDATION_FAILED", validation=validation),))
    assert line == (
        "a new model was trained: error 0.2647 against v1's 0.2513 dollars on 125 holdout rows; "
        "not good enough, not registered"
    )


def test_a_job_with_too_little_history_is_not_counted_as_a_bad_model() -> None:
    jobs = (
        job(9, "VALIDATION_FAILED", validation={}, detail="20 joined rows, 250 are needed"),
        job(19, "VALIDATION_FAILED"),
        job(29, version="2"),
        job(39, version="3"),
    )
    told = dict(figures(story(retraining_jobs=jobs)))
    assert told["retraining"] == "4 jobs: 2 registered, 1 with too little history, 1 not good enough"


@pytest.mark.parametrize(
    ("status", "said"),
    [("SUPPRESSED", "request held back: experiment e runs"), ("FAILED", "failed: experiment e runs")],
)
def test_jobs_that_made_no_model_say_why(status: str, said: str) -> None:
    assert lines(retraining_jobs=(job(9, status, validation={}, detail="experiment e runs"),)) == [said]


def test_an_experiment_without_a_winner_says_who_stays() -> None:
    evidence = body(
        "verdict",
        verdict="INCONCLUSIVE",
        outcomes=756,
        treatments={"challenger": {"primary": measure(-0.0148, -2.5257)}},
    )
    told = lines(experiments=(trial("INCONCLUSIVE", evidence=evidence),))
    assert told[-1] == (
        "no decision after 756 outcomes: error 0.0148 dollars a day higher, e-value 0.08 < 20; v1 stays"
    )


def test_a_roll_back_shows_the_harm_that_was_proven() -> None:
    harm = measure(-0.2, 3.3, metric="abs_error")
    evidence = body(
        "verdict",
        verdict="ROLL_BACK",
        outcomes=90,
        treatments={"challenger": {"primary": measure(-0.2, -4.0), "harm": [measure(0.0, 0.1), harm]}},
    )
    told = lines(experiments=(trial("ROLL_BACK", evidence=evidence),))
    assert told[-1] == (
        "verdict ROLL_BACK after 90 outcomes: error 0.2000 dollars a day higher, e-value 27.1 >= 20; v1 stays"
    )


def test_what_is_open_at_the_end_is_said_to_be_open() -> None:
    running = trial(None, ended_at_ms=None, evidence=None, status="RUNNING")
    told = lines(experiments=(running,), drift_episodes=(error_episode(880, closed_at_ms=None),))
    assert "v2 against v1 still runs at the end" in told
    assert "drift opens on v1: error level 0.31 -> 0.52 dollars; still open at the end" in told


def test_the_figures_do_not_flatter() -> None:
    told = dict(figures(story()))
    assert told["v1, never retrained"] == "0.3000 dollars: served is 29.6% lower"
    assert told["served by later versions"] == "400 of 900 days: 66.7% lower there"
    assert told["drift episodes"] == "1 of errors, 4 of inputs"
    good = story().series
    worse = story(series=replace(good, served=good.frozen_v1, frozen_v1=good.served))
    assert dict(figures(worse))["v1, never retrained"].endswith("served is 42.1% higher")
    assert dict(figures(story(conservation_ok=False)))["conservation"] == "BROKEN"


def test_nothing_happened_is_told_too() -> None:
    assert "nothing to compare yet" in printed(uneventful())
    assert [entry.text for entry in chronicle(uneventful(5))] == ["v1 begins to serve"]
    assert "served is the same" in printed(uneventful(5))


@pytest.mark.parametrize("width", [60, 100, 160])
def test_a_pipe_gets_plain_text_within_its_width(width: int) -> None:
    text = printed(story(), width)
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= width
    assert "1996-09-20" in text


def test_names_from_the_log_drive_no_terminal_and_are_no_markup() -> None:
    hostile = "\x1b[31m[bold]x[/bold]\a"
    text = printed(story(model=hostile, drift_episodes=(input_episode(5, hostile),)))
    assert "\x1b" not in text
    assert "\a" not in text
    assert text.count("[31m[bold]x[/bold]") == 2


def test_days_are_utc() -> None:
    late = at(5) + 86_399_999
    assert "1995-05-14" in printed(story(drift_episodes=(error_episode(5, opened_at_ms=late),)))
