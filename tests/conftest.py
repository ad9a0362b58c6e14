"""What every test gets: hypothesis profiles, real servers, no LIFECYCLE_ variable of the caller's."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.fixtures", "tests.store.fixtures"]

# No deadline: two test processes share two cores, so one slow example says nothing.
settings.register_profile(
    "default",
    max_examples=50,
    deadline=None,
    print_blob=True,
    # CI says whether this change is sound, not whether luck found an old defect today: `make test` searches
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# A developer's exported settings must not change what a test sees, nor reach the processes it starts.
for name in [name for name in os.environ if name.upper().startswith("LIFECYCLE_")]:
    del os.environ[name]
