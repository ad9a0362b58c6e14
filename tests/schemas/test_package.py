"""The package's API, and that the SDK ships the very same files."""

from pathlib import Path

import lifecycle_sdk.contracts as shipped
import schemas

ROOT = Path(__file__).parents[2]


def test_the_api_is_sorted_and_complete() -> None:
    assert schemas.__all__ == sorted(schemas.__all__)
    assert all(hasattr(schemas, name) for name in schemas.__all__)


def test_the_sdk_ships_the_same_contracts_under_its_own_name() -> None:
    assert (ROOT / "sdk/lifecycle_sdk/contracts").resolve() == ROOT / "schemas"
    assert shipped.__all__ == schemas.__all__
    assert shipped.PredictionMade.__module__ == "lifecycle_sdk.contracts.events"
