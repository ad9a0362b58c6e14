"""What the store can refuse or fail at: three families; driver errors are `__cause__`.

* `StoreUnavailable` (`Transient`): nothing was written; wait and do the whole transaction again.
* `Refused`: a rule of the data was broken (stale compare-and-set, another value under an immutable key).
* `StoreMisconfigured`: a person has to act (wrong URL, password or schema, missing driver).
"""


class StoreError(Exception):
    """The store refused or failed."""


class Transient(StoreError):
    """Trying again later may succeed."""


class StoreUnavailable(Transient):
    """The database is locked, full, unreadable or out of reach. The transaction was rolled back."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the store is unavailable: {reason}")
        self.reason = reason


class StoreConflict(StoreUnavailable):
    """Two transactions were in each other's way, and this one gave way: do it again at once."""


class StoreMisconfigured(StoreError):
    """A person has to act before the store can be used."""


class InvalidStoreUrl(StoreMisconfigured):
    """The URL names no database that the store can use."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"store URL {url!r}: {reason}")
        self.url, self.reason = url, reason


class DriverMissing(StoreMisconfigured):
    """The driver for the URL is not installed."""

    def __init__(self, url: str, package: str) -> None:
        super().__init__(f"store URL {url!r} needs the package {package!r}, which is not installed")
        self.url, self.package = url, package


class StoreRefused(StoreMisconfigured):
    """The database server does not let this client in: wrong password, no such database, no privilege."""

    def __init__(self, reason: str, place: str = "") -> None:
        where = f" at {place}" if place else ""
        super().__init__(f"the store{where} refuses: {reason}; check the database URL and the role's grants")
        self.place, self.reason = place, reason


class SchemaMismatch(StoreMisconfigured):
    """The database was made by another release; `found` is None when it holds no store yet."""

    def __init__(self, url: str, found: str | None, expected: str, *, ahead: bool) -> None:
        state = "holds no tables yet" if found is None else f"has schema {found}"
        advice = (
            "it was written by a newer release: install that release"
            if ahead
            else f"this release needs {expected}: run `lifecycle init`"
        )
        super().__init__(f"the store {url} {state}; {advice}")
        self.url, self.found, self.expected, self.ahead = url, found, expected, ahead


class Refused(StoreError):
    """The data do not allow it. Nothing that the refused statement would have written was written."""


class ConstraintViolated(Refused):
    """A constraint of the schema was hit that no repository expects: a fault of the caller."""


class NotFound(Refused):
    """There is no such row."""

    def __init__(self, noun: str, name: str) -> None:
        super().__init__(f"there is no {noun} {name}")
        self.noun, self.name = noun, name


class DecisionConflict(Refused):
    """A decision id is taken by other evidence: two judges did not compute the same."""

    def __init__(self, decision_id: str, stored: str, offered: str) -> None:
        super().__init__(f"decision {decision_id} is stored with digest {stored}, offered with {offered}")
        self.decision_id, self.stored, self.offered = decision_id, stored, offered


class ImmutableConflict(Refused):
    """Something that never changes was offered with other content."""

    def __init__(self, noun: str, name: str, stored: str, offered: str) -> None:
        super().__init__(f"{noun} {name} never changes: stored {stored}, offered {offered}")
        self.noun, self.name, self.stored, self.offered = noun, name, stored, offered


class DeploymentMismatch(Refused):
    """The deployment was set up with another value."""

    def __init__(self, key: str, stored: object, offered: object) -> None:
        super().__init__(f"this deployment was set up with {key} = {stored!r}; {offered!r} was offered")
        self.key, self.stored, self.offered = key, stored, offered


class StaleJudgement(Refused):
    """Another judge has taken this model further."""

    def __init__(self, model: str, offered_through_ms: int) -> None:
        super().__init__(f"model {model} is judged beyond {offered_through_ms} already")
        self.model, self.offered_through_ms = model, offered_through_ms


class VersionExists(Refused):
    """The version, or a version of the same job, is registered already."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(f"model {model} has a version {version} (or one of the same job) already")
        self.model, self.version = model, version


class StaleStage(Refused):
    """Compare-and-set on a version's stage missed; `found` is None when there is no such version."""

    def __init__(self, model: str, version: str, expected: str, found: str | None) -> None:
        super().__init__(
            f"version {version} of {model} was expected in {expected} and is in {found or 'no stage'}"
        )
        self.model, self.version, self.expected, self.found = model, version, expected, found


class ProductionTaken(StaleStage):
    """Another version of the model is PRODUCTION; it has to be archived first."""

    def __init__(self, model: str, version: str, expected: str, production: str | None) -> None:
        super().__init__(model, version, expected, expected)
        self.args = (f"version {version} of {model} cannot become PRODUCTION: version {production} is",)
        self.production = production


class StaleExperiment(Refused):
    """Compare-and-set on an experiment's status missed; `found` is None when there is no such experiment."""

    def __init__(self, experiment_id: str, expected: str, found: str | None) -> None:
        super().__init__(
            f"experiment {experiment_id} was expected to be {expected} and is {found or 'unknown'}"
        )
        self.experiment_id, self.expected, self.found = experiment_id, expected, found


class ExperimentAlreadyRunning(Refused):
    """The model has a RUNNING experiment; there is never a second one."""

    def __init__(self, model: str, experiment_id: str, running: str | None) -> None:
        super().__init__(f"experiment {experiment_id} cannot run: {running} is running on {model}")
        self.model, self.experiment_id, self.running = model, experiment_id, running


class JobAlreadyOpen(Refused):
    """The model has an open retraining job; there is never a second one."""

    def __init__(self, model: str, job_id: str, open_job_id: str | None) -> None:
        super().__init__(f"retraining job {job_id} is refused: job {open_job_id} of {model} is open")
        self.model, self.job_id, self.open_job_id = model, job_id, open_job_id


class LeaseLost(Refused):
    """The job is not RUNNING in this owner's hands any more: stop working on it."""

    def __init__(self, job_id: str, owner: str) -> None:
        super().__init__(f"{owner} does not hold the lease of retraining job {job_id}")
        self.job_id, self.owner = job_id, owner
