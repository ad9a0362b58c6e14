"""The import names of this repository belong to this distribution alone."""

from importlib.metadata import packages_distributions

import pytest

OURS = {"gal-friday-lifecycle"}


@pytest.mark.parametrize("package", ["consumers", "domain", "schemas"])
def test_no_other_installed_distribution_owns_a_package_of_ours(package: str) -> None:
    """`domain` and `schemas` are common names: a second owner in site-packages would shadow ours silently."""
    assert set(packages_distributions().get(package, ())) <= OURS
