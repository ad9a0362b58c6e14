"""Cells, pages and records of the bench."""

from consumers.driftbench.document import document, markdown
from consumers.driftbench.measures import FalseAlarms
from consumers.driftbench.page import render, scatter
from consumers.driftbench.run import measured
from consumers.driftbench.situations import STREAMS
from consumers.driftbench.tables import TABLES, Size, cells

TINY = Size(windows=640, screened=640, controls=640, fleet=640, fleet_screened=640, runs=2, control_runs=2)


def test_every_stream_is_watched_by_something_and_by_no_name_twice() -> None:
    every = cells(TABLES, (), ())
    assert {cell.stream for cell in every} == {*STREAMS, "annotated"}
    assert len(set(every)) == len(every)


def test_cells_are_chosen_by_table_stream_and_detector() -> None:
    chosen = cells(("delays",), ("mean+0.5", "normal"), ("e-sr",))
    assert [(cell.table, cell.stream, cell.detector) for cell in chosen] == [("delays", "mean+0.5", "e-sr")]


def test_a_page_holds_every_cell_and_a_seed_repeats_it() -> None:
    chosen = [
        *cells(("false alarms",), ("normal", "ar1-no-phi"), ("e-sr", "psi-0.1")),
        *cells(("delays",), ("mean+0.25", "error-0.10-0.20"), ("e-sr", "psi-0.1", "bucket-adwin")),
    ]
    told, again = (document(list(measured(chosen, TINY, seed=3, jobs=1)), seed=3) for _ in range(2))
    assert told == again
    text, drawn = markdown(told, "lifecycle drift bench"), render(told, "lifecycle drift bench")
    for name in ("### normal: N(0, 1)", "### Delays: inputs and predictions", "| mean+0.25 |", "| psi-0.1 |"):
        assert name in text
    assert "## Cost" not in text
    # phi 1 on autocorrelated items breaks the budget, and is there to show it
    assert "broken" in text
    assert told["broken"] == 0
    assert drawn.count("<circle") == 2
    assert "http" not in drawn


def test_results_do_not_depend_on_the_number_of_processes() -> None:
    chosen = cells(("delays",), ("mass-0.2", "mean+1"), ("roll-up", "e-sr"))
    alone, together = (document(list(measured(chosen, TINY, seed=1, jobs=jobs)), seed=1) for jobs in (1, 2))
    assert alone == together


def test_labels_of_a_picture_are_text() -> None:
    drawn = scatter([("<b>", 0.0, 1.0), ("b & c", 5_000.0, 400.0)], "a < b")
    assert "&lt;b&gt;" in drawn
    assert "b &amp; c" in drawn
    assert "<b>" not in drawn


def test_the_cost_of_a_window_is_of_the_detector_that_was_asked_for() -> None:
    (cost,) = document(list(measured(cells(("cost",), ("normal",), ("e-sr",)), TINY, 1, 1)), 1)["cost"]
    assert (cost["stream"], cost["detector"]) == ("normal", "e-sr")
    assert cost["microseconds"] >= 0


def test_a_budget_that_is_broken_is_counted_and_one_without_phi_is_not() -> None:
    def found(stream: str) -> FalseAlarms:
        return FalseAlarms(
            stream=stream, detector="e-sr", windows=10_000, episodes=90, alarming=None, budget=1e-4
        )

    assert document([found("normal"), found("ar1-no-phi")], 1)["broken"] == 1
