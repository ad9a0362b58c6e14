"""The detectors that are compared, by name: ours, river's on window means and on items, fixed thresholds."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from consumers.driftbench import items, naive
from consumers.driftbench.items import Items
from consumers.driftbench.judged import Judged
from consumers.driftbench.measures import Detector
from consumers.driftbench.naive import Naive
from consumers.driftbench.streams import Errors, Kind, Numbers, Stream
from domain.drift.classic import Name

_HISTOGRAMS: tuple[Kind, ...] = ("numbers", "categories", "features")
_INPUTS: tuple[Kind, ...] = ("numbers",)
_ERRORS: tuple[Kind, ...] = ("errors",)
PROMISED = 0.01
"""Tolerance of the promise, in the unit of the error."""


def _ours(name: str, says: str, document: Mapping[str, Any], *kinds: Kind) -> Judged:
    return Judged(name=name, says=says, document=document, kinds=kinds)


def _classic(name: str, detector: Name, *kinds: Kind) -> tuple[Judged, ...]:
    """On predictions and on errors the same name."""
    says = f"river's {detector} on window means"
    return tuple(
        Judged(
            name=f"{name}-means",
            says=says,
            document={"classics": [{"detector": detector, "stream": _READS[kind]}]},
            kinds=(kind,),
        )
        for kind in kinds
    )


_READS: dict[Kind, str] = {"numbers": "prediction", "errors": "errors"}
_EVERYTHING: dict[str, Any] = {
    "features": {},
    "predictions": {},
    "feature_scores": {},
    "prediction_scores": {},
    "prediction_level": {},
}

DETECTORS: tuple[Detector, ...] = (
    _ours("roll-up", "roll-up chi-square, tolerated PSI .02 (default)", {"features": {}}, *_HISTOGRAMS),
    _ours(
        "roll-up-exact",
        "roll-up chi-square, no tolerance",
        {"features": {"tolerance_warn": 0.0}},
        *_HISTOGRAMS,
    ),
    _ours(
        "e-sr",
        "e-SR of location, scale and shares, tolerance .05 sd",
        {"feature_scores": {}},
        *_HISTOGRAMS,
    ),
    _ours(
        "bucket-adwin",
        "bucket-ADWIN on the prediction's level, both ways",
        {"prediction_level": {}},
        "numbers",
    ),
    _ours("bucket-adwin", "bucket-ADWIN on the error's level, upward (default)", {"errors": {}}, "errors"),
    _ours(
        "promise",
        f"e-SR against the error measured on the reference, tolerance {PROMISED}",
        {"promise": {"metric": "hit", "tolerance": PROMISED}},
        "errors",
    ),
    _ours(
        "everything",
        "all of these together, on one model's features and predictions",
        _EVERYTHING,
        "numbers",
    ),
    *_classic("adwin", "ADWIN", "numbers", "errors"),
    *_classic("page-hinkley", "PageHinkley", "numbers", "errors"),
    *_classic("kswin", "KSWIN", "numbers", "errors"),
    *_classic("hddm-a", "HDDM_A", "errors"),
    *_classic("hddm-w", "HDDM_W", "errors"),
    *_classic("ddm", "DDM", "errors"),
    *_classic("eddm", "EDDM", "errors"),
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

_BITS_ONLY = ("hddm-a", "hddm-w", "ddm", "eddm")
"""river's detectors of rates: of other errors they say nothing."""


def watching(stream: Stream) -> list[Detector]:
    """Those that can watch this stream and say something about it."""
    return [each for each in DETECTORS if _watches(each, stream)]


def _watches(detector: Detector, stream: Stream) -> bool:
    if stream.kind not in detector.kinds or (stream.tolerated and detector.name not in stream.tolerated):
        return False
    if isinstance(stream, Numbers) and stream.models > 1:
        return detector.budget is not None and isinstance(detector, Judged)
    if isinstance(stream, Errors) and stream.metric != "hit":
        if detector.name == "promise":
            return stream.metric == "abs_error_clipped"
        return not detector.name.startswith(_BITS_ONLY)
    return True


def says() -> dict[str, str]:
    """In words, by name."""
    words: dict[str, list[str]] = {}
    for each in DETECTORS:
        known = words.setdefault(each.name, [])
        known += [each.says] if each.says not in known else []
    return {name: "; ".join(parts) for name, parts in words.items()}


def is_rivers(detector: Detector) -> bool:
    return isinstance(detector, Items) or (isinstance(detector, Judged) and "classics" in detector.document)


def sharing(detector: Detector, models: int) -> Detector:
    """With a model's share of its rate; what all of them declare together stays the budget."""
    return replace(detector, share=models) if isinstance(detector, Judged) else detector
