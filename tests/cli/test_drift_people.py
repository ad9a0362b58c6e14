"""`lifecycle drift`: what drifted, who knows of it, what is muted, and how many false alarms are promised."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from consumers.cli.faults import USAGE, WRONG
from tests.cli.commands import lifecycle
from tests.cli.homes import home_of
from tests.services.deployment import Deployment, drifting_life

BY = ("--actor", "ada", "--reason", "the feed moved")


async def _live(where: Deployment) -> None:
    await drifting_life(where)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose feature and errors drifted: the first episode is open, the second has recovered."""
    return home_of(tmp_path_factory.mktemp("lived"), _live)


@pytest.fixture
def drifted(lived: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lived, tmp_path / "home"))


def drift(home: Path, *arguments: str) -> Any:
    """The JSON of a `lifecycle drift` command."""
    said = lifecycle("drift", *arguments, "--json", "--home", home)
    assert (said.code, said.err) == (0, ""), said
    return said.document


def ids(home: Path) -> list[str]:
    return [each["drift_id"] for each in drift(home, "list")]


def test_episodes_are_listed_by_what_a_person_asks_for(drifted: Path) -> None:
    first, second = drift(drifted, "list")
    assert (first["drift_type"], first["closed"]) == ("DATA_DRIFT", None)
    assert second["closed"] is not None
    assert drift(drifted, "list", "--open") == [first]
    assert drift(drifted, "list", "--type", second["drift_type"]) == [second]
    assert drift(drifted, "list", "--since", "1970-01-01T00:01:00Z") == [first]
    assert drift(drifted, "list", "--model", "other") == []
    assert (first["acknowledged"], first["muted"]) == (None, None)


@pytest.mark.parametrize("width", [80, 120])
def test_an_episode_is_told_in_words_with_what_moved_and_what_became_of_it(
    drifted: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    first, second = ids(drifted)
    said = lifecycle("drift", "show", first, "--home", drifted).out
    assert max(map(len, said.splitlines())) <= width
    words = " ".join(said.split())
    assert "DATA_DRIFT (drift) of version 1 of m, open" in words
    assert "the roll-up tolerant chi-square test" in words
    assert "120 items against 10,000 of the reference" in words
    assert "against a level of 1.43e-05, with a tolerance of 0.1" in words
    assert "x moved: PSI 0.879" in words
    assert "<= 0: 50% -> 90%" in words
    assert "opened as drift and announced" in words
    assert "retraining requested; the registry worker has not made a job of it yet" in words
    other = " ".join(lifecycle("drift", "show", second, "--home", drifted).out.split())
    assert "over since" in other
    assert "The errors grew while the inputs drifted. Found by bucket-ADWIN" in other
    assert "The inputs moved as well." in other
    assert "abs_error_clipped went from 0.1 to 0.9." in other
    assert "recovered: quiet long enough" in other


def test_a_program_reads_the_decisions_with_their_evidence(drifted: Path) -> None:
    told = drift(drifted, "show", ids(drifted)[0])
    (opened,) = told["decisions"]
    assert (opened["kind"], opened["decision_id"]) == ("drift", told["drift_id"])
    assert opened["evidence"]["features"] == ["x"]
    assert [each["job_id"] for each in told["retraining"]] == [None]
    assert (told["mutes"], told["acknowledged"], told["muted_now"]) == ([], None, False)
    assert told["words"]


def test_whoever_acknowledges_first_is_shown_and_nothing_else_changes(drifted: Path) -> None:
    first, second = ids(drifted)
    known = drift(drifted, "acknowledge", first, *BY)
    assert drift(drifted, "acknowledge", first, "--actor", "bob", "--reason", "me too") == known
    assert (known["actor"], known["reason"]) == ("ada", "the feed moved")
    assert [each["acknowledged"] for each in drift(drifted, "list")] == ["ada", None]
    assert drift(drifted, "show", first)["acknowledged"]["actor"] == "ada"
    said = lifecycle("drift", "show", first, "--home", drifted).out
    assert "acknowledged by ada: the feed moved (wall clock)" in " ".join(said.split())
    assert (
        "is acknowledged by ada since" in lifecycle("drift", "acknowledge", first, *BY, "--home", drifted).out
    )
    assert drift(drifted, "show", second)["acknowledged"] is None


def test_a_mute_is_given_listed_and_ended(drifted: Path) -> None:
    first, _ = ids(drifted)
    made = drift(drifted, "mute", "m", "--type", "DATA_DRIFT", "--until", "1970-01-02", *BY)
    assert (made["drift_type"], made["until"], made["ended"]) == ("DATA_DRIFT", "1970-01-02", None)
    assert drift(drifted, "mute", "m", "--type", "DATA_DRIFT", "--until", "1970-01-02", *BY) == made
    assert drift(drifted, "mutes") == [made]
    assert [each["muted"] for each in drift(drifted, "list")] == ["now", None]
    said = lifecycle("drift", "mute", "m", "--home", drifted, *BY).out
    assert "all drift of m is muted from 1970-01-01T00:00:" in said
    assert "until somebody ends it: mute " in said
    ended = drift(drifted, "unmute", made["mute_id"], "--actor", "bob", "--reason", "over")
    assert (ended["ended_by"], ended["ended"]) == ("bob", ended["from"])
    assert "ends at" in lifecycle("drift", "unmute", made["mute_id"], "--home", drifted, *BY).out
    assert len(drift(drifted, "mutes")) == 1
    assert len(drift(drifted, "mutes", "--all")) == 2
    table = lifecycle("drift", "mutes", "--all", "--home", drifted).out
    assert max(map(len, table.splitlines())) <= 80
    assert table.count(made["mute_id"]) == 1
    assert len(drift(drifted, "show", first)["mutes"]) == 1, "one that never governed is no part of it"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "nothing"), WRONG, "there is no drift episode nothing: lifecycle drift list shows them"),
        (("acknowledge", "nothing", *BY), WRONG, "there is no drift episode nothing"),
        (("unmute", "nothing", *BY), WRONG, "there is no mute nothing: lifecycle drift mutes shows them"),
        (("mute", "nobody", *BY), WRONG, "there is no model nobody"),
        (("mute", "m", "--until", "1970-01-01", *BY), WRONG, "mutes nothing: all before"),
        (("mute", "m", "--until", "soon", *BY), USAGE, "--until 'soon' is not an ISO 8601 date or time"),
        (("mute", "m", "--actor", "", "--reason", "x"), USAGE, "'--actor': must have 1 to 128 characters"),
        (("list", "--since", "soon"), USAGE, "--since 'soon' is not an ISO 8601 date or time"),
        (("list", "--type", "BAD"), USAGE, "DATA_DRIFT"),
        (("budget", "--model", "nobody"), WRONG, "there is no model nobody"),
        (("budget", "--apply"), USAGE, "need --per-month"),
        (("budget", "--per-month", "2", "--apply"), USAGE, "--apply needs --actor and --reason"),
        (("budget", "--per-month", "two"), USAGE, "--per-month 'two' is not a number"),
        (("budget", "--per-month", "0"), USAGE, "--per-month '0' is not above 0"),
        (("budget", "--per-month", "2", "--weight", "m"), USAGE, "is not a model and a number"),
        (("budget", "--per-month", "2", "--weight", "m=-1"), USAGE, "is not above 0"),
        (("budget", "--per-month", "2", "--weight", "m=1", "--weight", "m=2"), USAGE, "names m twice"),
        (("budget", "--per-month", "2", "--weight", "nobody=1"), WRONG, "there is no model nobody"),
        (("budget", "--per-month", "2", "--model", "m"), USAGE, "do not go together"),
        (("budget", "--per-month", "99999999"), WRONG, "m cannot spend its share"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    lived: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert says in lifecycle("drift", *arguments, "--home", lived).refuses(code)


@pytest.mark.parametrize("width", [80, 120])
def test_a_person_sees_what_is_promised_and_what_stands(
    drifted: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = lifecycle("drift", "budget", "--model", "m", "--home", drifted)
    assert (said.code, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= width
    words = " ".join(said.out.split())
    assert "measured bound" in words
    assert "at most 673.9 false alarms in 30 days are promised, by 1 model together" in words
    assert "0 of 1 open alarms stand" in words, "in a month of seconds this may be chance"


def test_a_budget_is_shown_first_and_then_applied(drifted: Path) -> None:
    before = drift(drifted, "budget")
    assert before["window_length_ms"] == 1_000
    (model,) = before["models"]
    assert (model["windows"], model["windows_since"]) == (14, "1970-01-01T00:00:01Z")
    assert [each["detector"] for each in model["detectors"]] == ["features", "predictions", "errors"]
    assert sum(each["per_month"] for each in model["detectors"]) == pytest.approx(before["per_month"])
    shown = drift(drifted, "budget", "--per-month", "2")
    assert (shown["applied"], shown["shares"][0]["changes"]) == (False, True)
    assert drift(drifted, "budget") == before
    words = lifecycle("drift", "budget", "--per-month", "2", "--home", drifted).out
    assert "1 new policy, whose detectors start afresh: --apply puts them in force" in words
    done = drift(drifted, "budget", "--per-month", "2", "--apply", *BY)
    assert done["applied"] is True
    assert done["shares"] == shown["shares"]
    after = drift(drifted, "budget")
    assert 1.999 < after["per_month"] <= 2
    assert (after["last_order"]["per_month"], after["last_order"]["actor"]) == (2, "ada")
    again = lifecycle("drift", "budget", "--per-month", "2", "--apply", *BY, "--home", drifted).out
    assert "every policy is within its share already: nothing changes" in again
    said = lifecycle("drift", "budget", "--home", drifted).out
    assert "2 in 30 days were divided by ada on" in said
    policy = lifecycle("policy", "show", "m", "--home", drifted).document[-1]["drift"]
    assert policy["features"]["false_alarms_per_window"] < 1e-6
