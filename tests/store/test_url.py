"""URLs of a store: what is refused, and that no error shows a password."""

import pytest

from consumers.store.errors import InvalidStoreUrl
from consumers.store.schema import mismatch
from consumers.store.url import store_url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h/db",
        "postgresql://u:hun/hunter2@h/db",
        "postgresql://u:hun?hunter2@h/db",
        "postgresql://me@srv:hunter2@h/db",
        "postgresql://h/db?user=u&password=hunter2",
        "postgresql://h/db?user=u&passw%6Frd=hunter2&sslpassword=hunter2",
    ],
)
def test_a_store_of_another_schema_is_named_without_its_password(url: str) -> None:
    parsed = store_url(url)
    assert "hunter2" in parsed.render_as_string(hide_password=False), "the driver has to know it"
    said = str(mismatch(parsed, None))
    assert said.startswith("the store postgresql://")
    assert "***" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://u:hunter2@h:abc/db", "a port that is no number"),
        ("postgresql://u:hunter2/db", "a port that is no number"),
        ("postgresql://u:hunter2@h:65536/db", "a port that is not from 1 to 65535"),
        ("postgresql://u:hunter2@h:0/db", "a port that is not from 1 to 65535"),
        ("postgresql://u:p@hunter2@h/db", "an @ in its password"),
        ("postgresql://u:p@ss/hunter2@h/db", "an @ in its password"),
        ("postgresql://u:p@ss?hunter2@h/db?sslmode=require", "an @ in its password"),
        ("mysql://u:hunter2@h/db?password=hunter2", "only sqlite"),
        ("://u:hunter2@h/db", "is not a URL"),
    ],
)
def test_a_url_of_no_store_is_refused_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(InvalidStoreUrl, match=reason) as caught:
        store_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_query_may_hold_what_a_password_may_not() -> None:
    assert store_url("postgresql://u:p@h/db?user=me@srv&application_name=a@b").host == "h"
