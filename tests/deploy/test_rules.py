"""Alert rules speak of metrics and labels that exist. Their expressions are not evaluated here."""

import re
from typing import Any

import pytest

from consumers.metrics import Definition, Metric
from tests.deploy.files import RULES, SCRAPE, ours, services, yaml_of

DEFINITIONS = {metric.value.name: metric.value for metric in Metric}
ALERTS: list[dict[str, Any]] = [rule for group in yaml_of(RULES)["groups"] for rule in group["rules"]]
# what every sample gets by being scraped
OF_THE_SCRAPE = {"instance", "job"}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_speaks_of_metrics_that_exist(alert: dict[str, Any]) -> None:
    metrics = _metrics(alert["expr"])
    assert metrics or alert["expr"].startswith("up{")
    labels = {label for metric in metrics for label in metric.labels} | OF_THE_SCRAPE
    grouped = re.findall(r"by \(([^)]*)\)", alert["expr"])
    selected = re.findall(r"[{,]\s*(\w+)\s*(?:=|!=|=~|!~)", alert["expr"])
    told = re.findall(r"\$labels\.(\w+)", str(alert["annotations"]))
    wanted = {name.strip() for group in grouped for name in group.split(",")} | {*selected, *told}
    assert wanted <= labels
    # what the aggregation drops cannot be told
    if grouped:
        assert set(told) <= {name.strip() for group in grouped for name in group.split(",")}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_a_counter_is_looked_at_by_its_growth_and_a_figure_of_the_deployment_by_its_maximum(
    alert: dict[str, Any],
) -> None:
    for metric in _metrics(alert["expr"]):
        if metric.kind == "counter":
            assert re.search(rf"(rate|increase)\({metric.name}\[", alert["expr"])
        if metric.scope == "DEPLOYMENT":
            assert re.search(rf"max( by \([^)]*\) )?\({metric.name}", alert["expr"])
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["summary"]


def test_that_a_worker_is_missing_is_looked_for_with_every_worker_and_where_it_is_scraped() -> None:
    expressions = {alert["alert"]: alert["expr"] for alert in ALERTS}
    (job,) = yaml_of(SCRAPE)["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    missing = re.findall(r'absent\(\w+\{worker="(\w+)"\}\)', expressions["LifecycleWorkerMissing"])
    assert sorted(missing) == sorted(found["names"])
    assert expressions["LifecycleProcessDown"] == f'up{{job="{job["job_name"]}"}} == 0'


@pytest.mark.parametrize("name", ["LifecycleWindowsStuck", "LifecyclePartitionUnheld"])
def test_that_a_partition_stands_still_is_known_without_whoever_holds_it(name: str) -> None:
    (expression,) = [alert["expr"] for alert in ALERTS if alert["alert"] == name]
    first = _metrics(expression)[0]
    assert first == Metric.STORED_DELAY.value
    assert first.scope == "DEPLOYMENT"


def test_no_alert_has_another_s_name() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)


def test_prometheus_finds_every_worker_where_the_compose_file_puts_it() -> None:
    (job,) = yaml_of(SCRAPE)["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    workers = {name for name, one in services().items() if one.get("command", [""])[0] == "run"}
    assert set(found["names"]) == workers
    assert {one["environment"]["LIFECYCLE_METRICS_PORT"] for one in ours().values()} == {str(found["port"])}
    assert yaml_of(SCRAPE)["rule_files"] == [RULES.name]


def _metrics(expression: str) -> list[Definition]:
    names = re.findall(r"\blifecycle_\w+", expression)
    assert set(names) <= set(DEFINITIONS)
    return [DEFINITIONS[name] for name in names]
