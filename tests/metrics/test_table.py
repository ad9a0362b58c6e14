"""The table of metrics keeps Prometheus' conventions, and what workers count with counts right."""

import re

import pytest

from consumers.metrics import DecisionCounts, Definition, Fates, Metric, Samples

DEFINITIONS = [metric.value for metric in Metric]


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.name)
def test_a_name_says_whose_it_is_and_in_what_unit(definition: Definition) -> None:
    assert re.fullmatch(r"lifecycle_[a-z]+(_[a-z]+)*", definition.name)
    assert definition.name.endswith("_total") == (definition.kind == "counter")
    assert not re.search(r"_(ms|milliseconds|minutes|count|sum|bucket|info)$", definition.name)
    if re.search(r"Wall clock|[Tt]ime since|[Aa]ge of", definition.help):
        assert definition.name.endswith("_seconds")
    assert definition.help.endswith(".")
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", label) for label in definition.labels)


def test_no_name_is_given_twice() -> None:
    assert len({definition.name for definition in DEFINITIONS}) == len(DEFINITIONS)


def test_figures_of_the_deployment_tell_readers_not_to_add_them_up() -> None:
    texts = {family.name: family.documentation for family in Samples().families()}
    shared = [definition for definition in DEFINITIONS if definition.scope == "DEPLOYMENT"]
    assert shared
    assert all(texts[definition.name].endswith("Of the deployment: max.") for definition in shared)


def test_every_label_of_the_table_needs_a_value() -> None:
    samples = Samples()
    with pytest.raises(ValueError, match="lifecycle_lag_records"):
        samples.add(Metric.LAG_RECORDS, 1.0, "a-topic")
    with pytest.raises(TypeError, match="is a histogram"):
        samples.add(Metric.DECISION_LATENCY, 1.0)
    with pytest.raises(TypeError, match="no histogram"):
        samples.add_histogram(Metric.LAG_RECORDS, [], 0.0)


def test_fates_are_summed_over_arrival_rows_without_the_sum_that_rows_carry() -> None:
    fates = Fates()
    fates.add("predictions", b'{"read":5,"tallied":3,"late":2,"heartbeat":7}')
    fates.add("predictions", b'{"read":1,"tallied":1,"late":0,"heartbeat":0}')
    assert fates.counts == {
        ("predictions", "tallied"): 4,
        ("predictions", "late"): 2,
        ("predictions", "heartbeat"): 7,
    }


def test_latencies_fall_into_cumulative_buckets_whose_bounds_belong_to_them() -> None:
    counts = DecisionCounts(bounds_s=(1.0, 10.0))
    for seconds in (-3.0, 1.0, 1.5, 10.0, 11.0):
        counts.add("DRIFT_DETECTED", seconds)
    assert counts.buckets() == [("1.0", 2), ("10.0", 4), ("+Inf", 5)]
    assert counts.seconds == 23.5
    assert counts.kinds == {"DRIFT_DETECTED": 5}
    assert DecisionCounts(bounds_s=(1.0,)).buckets() == [("1.0", 0), ("+Inf", 0)]
