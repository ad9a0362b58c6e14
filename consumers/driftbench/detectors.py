"""The detectors that are compared, by name: ours, river's on window means and on items, fixed thresholds."""

from dataclasses import dataclass, replace

from consumers.driftbench import items, naive
from consumers.driftbench.items import Items
from consumers.driftbench.measures import Detector
from consumers.driftbench.naive import Naive
from consumers.driftbench.stepped import Stepped
from consumers.driftbench.streams import Kind, Stream
from domain.drift.adwin import AdwinPolicy
from domain.drift.classic import ClassicPolicy, Name
from domain.drift.esr import EsrPolicy
from domain.drift.promise import PromisePolicy
from domain.drift.rollup import RollUpPolicy

_HISTOGRAMS: tuple[Kind, ...] = ("numbers", "categories", "features")
_INPUTS: tuple[Kind, ...] = ("numbers",)
_ERRORS: tuple[Kind, ...] = ("errors",)
_BUDGET = 1e-4
"""Declared false alarms per window, of one model with all its features."""
PROMISED = 0.01
"""Tolerance of the promise, in the unit of the error."""


def _roll_up(name: str, says: str, policy: RollUpPolicy) -> Stepped:
    budget = policy.false_alarms_per_window
    return Stepped(name=name, says=says, part=policy, kinds=_HISTOGRAMS, budget=budget)


def _classic(name: str, detector: Name, kinds: tuple[Kind, ...]) -> Stepped:
    return Stepped(
        name=f"{name}-means",
        says=f"river's {detector} on window means",
        part=ClassicPolicy(detector=detector),
        kinds=kinds,
    )


_ALL: tuple[Detector, ...] = (
    _roll_up("roll-up", "roll-up chi-square, tolerated PSI .02 (default)", RollUpPolicy()),
    _roll_up("roll-up-exact", "roll-up chi-square, no tolerance", RollUpPolicy(tolerance_warn=0.0)),
    Stepped(
        name="e-sr",
        says="e-SR of location, scale and shares, tolerance .05 sd (default)",
        part=EsrPolicy(),
        kinds=_HISTOGRAMS,
        budget=_BUDGET,
    ),
    Stepped(
        name="bucket-adwin",
        says="bucket-ADWIN (default): a prediction's level both ways, errors upward",
        part=AdwinPolicy(),
        kinds=("numbers", "errors"),
    ),
    Stepped(
        name="promise",
        says=f"e-SR against the error measured on the reference, tolerance {PROMISED}",
        part=PromisePolicy(metric="hit", tolerance=PROMISED),
        kinds=_ERRORS,
        budget=_BUDGET,
    ),
    _classic("adwin", "ADWIN", ("numbers", "errors")),
    _classic("page-hinkley", "PageHinkley", ("numbers", "errors")),
    _classic("kswin", "KSWIN", ("numbers", "errors")),
    _classic("hddm-a", "HDDM_A", _ERRORS),
    _classic("hddm-w", "HDDM_W", _ERRORS),
    _classic("ddm", "DDM", _ERRORS),
    _classic("eddm", "EDDM", _ERRORS),
    Items(
        name="adwin-items", says="river's ADWIN on every item", make=items.adwin, kinds=("numbers", "errors")
    ),
    Items(
        name="page-hinkley-items",
        says="river's PageHinkley on every item",
        make=items.page_hinkley,
        kinds=("numbers", "errors"),
    ),
    Items(name="hddm-a-items", says="river's HDDM_A on every item", make=items.hddm_a, kinds=_ERRORS),
    Items(name="hddm-w-items", says="river's HDDM_W on every item", make=items.hddm_w, kinds=_ERRORS),
    Items(name="ddm-items", says="river's DDM on every item", make=items.ddm, kinds=_ERRORS),
    Items(name="eddm-items", says="river's EDDM on every item", make=items.eddm, kinds=_ERRORS),
    Naive(
        name="psi-0.1",
        says="PSI >= .1 over 10 bins",
        rule=naive.psi_at_least(0.1),
        kinds=("numbers", "categories"),
    ),
    Naive(
        name="psi-0.25",
        says="PSI >= .25 over 10 bins",
        rule=naive.psi_at_least(0.25),
        kinds=("numbers", "categories"),
    ),
    Naive(
        name="ks-0.05",
        says="Kolmogorov-Smirnov p < .05 (Evidently's default up to 1,000 items)",
        rule=naive.ks_below(0.05),
        kinds=_INPUTS,
    ),
    Naive(
        name="wasserstein-0.1",
        says="Wasserstein / sd >= .1 (Evidently's default over 1,000 items)",
        rule=naive.wasserstein_at_least(0.1),
        kinds=_INPUTS,
    ),
)

DETECTORS: dict[str, Detector] = {each.name: each for each in _ALL}
_BITS_ONLY = ("hddm-a", "hddm-w", "ddm", "eddm", "promise")
"""Detectors of rates: of other errors they have no meaning."""


def watches(detector: Detector, stream: Stream) -> bool:
    """Whether the detector can watch this stream, and says anything about it."""
    if stream.kind not in detector.kinds or (stream.tolerated and detector.name not in stream.tolerated):
        return False
    if stream.kind == "errors" and getattr(stream, "metric", "hit") != "hit":
        clipped = getattr(stream, "metric", "") == "abs_error_clipped" and detector.name == "promise"
        return clipped or not detector.name.startswith(_BITS_ONLY)
    return True


def needs_river(detector: Detector) -> bool:
    return isinstance(detector, Items) or (
        isinstance(detector, Stepped) and isinstance(detector.part, ClassicPolicy)
    )


@dataclass(frozen=True, slots=True)
class Share:
    """Of a budget that several models have together."""

    models: int

    def of(self, detector: Detector) -> Detector:
        """The detector with a model's share of its rate; what is declared for all stays the budget."""
        if not isinstance(detector, Stepped):
            return detector
        match detector.part:
            case RollUpPolicy() | EsrPolicy() as part:
                rate = part.false_alarms_per_window / self.models
                return replace(detector, part=replace(part, false_alarms_per_window=rate))
            case _:
                return detector
