"""The streams that detectors are compared on, by name."""

from consumers.driftbench import laws
from consumers.driftbench.laws import Law
from consumers.driftbench.streams import Categories, Errors, Features, Numbers, Stream

_APART = 0.8
"""Of the humps of the bimodal change: PSI .06 over 20 bins of equal mass under N(0, 1)."""
_DAY = 24
_FIXED = ("psi-0.1", "psi-0.25", "ks-0.05", "wasserstein-0.1")
_HEIGHT = 0.5
"""Of the daily cycle, in standard deviations of the noise."""
_ZIPF = tuple(1 / rank / sum(1 / r for r in range(1, 11)) for rank in range(1, 11))


def _shifted(mass: float) -> tuple[float, ...]:
    """That much mass goes from the most frequent category to the rarest."""
    return (_ZIPF[0] - mass, *_ZIPF[1:-1], _ZIPF[-1] + mass)


def _unseen(mass: float) -> tuple[float, ...]:
    return (*(share * (1 - mass) for share in _ZIPF), mass)


def _moved(name: str, says: str, law: Law) -> Numbers:
    return Numbers(name=name, says=says, law=law, changes=True)


def _errors(before: float, after: float | None = None) -> Errors:
    if after is None:
        law, name, says = (
            laws.wrong(before, before),
            f"error-{before:.2f}",
            f"errors at a rate of {before:.2f}",
        )
    else:
        law, name = laws.wrong(before, after), f"error-{before:.2f}-{after:.2f}"
        says = f"error rate from {before:.2f} to {after:.2f}"
    return Errors(name=name, says=says, law=law, metric="hit", changes=after is not None)


def _heavy(larger: float | None = None) -> list[Errors]:
    """Absolute errors with t3 tails: as they are, clipped at the reference's 99 % quantile, as logarithms."""
    law = laws.magnitudes(larger or 1.0)
    tail, what = ("", "") if larger is None else (f"-x{larger}", f", {larger} times as large")
    changes = larger is not None
    return [
        Errors(
            name=f"abs-t3{tail}",
            says=f"absolute t3 errors{what}",
            law=law,
            metric="abs_error",
            changes=changes,
        ),
        Errors(
            name=f"abs-t3-clipped{tail}",
            says=f"absolute t3 errors, clipped at the 99 % quantile{what}",
            law=law,
            metric="abs_error_clipped",
            clip_at=0.99,
            changes=changes,
        ),
        Errors(
            name=f"abs-t3-log{tail}",
            says=f"log(1 + absolute t3 error){what}",
            law=laws.logarithms(law),
            metric="value.log_abs_error",
            changes=changes,
        ),
    ]


_ALL: tuple[Stream, ...] = (
    Numbers(name="normal", says="N(0, 1)", law=laws.moved(laws.normal)),
    Numbers(name="t3", says="Student's t, 3 degrees of freedom", law=laws.moved(laws.t3)),
    Numbers(name="ar1", says="AR(1) .9, phi measured on reference windows", law=laws.moved(laws.ar1)),
    Numbers(
        name="ar1-no-phi",
        says="AR(1) .9, phi taken to be 1",
        law=laws.moved(laws.ar1),
        measured_phi=False,
    ),
    Categories(name="zipf", says="10 categories, shares by Zipf's law", shares=_ZIPF),
    Features(name="features-50", says="50 independent features of N(0, 1)", features=50),
    Numbers(
        name="models-100",
        says="100 models of N(0, 1) that share one budget",
        law=laws.moved(laws.normal),
        models=100,
    ),
    Numbers(
        name="tolerated-psi",
        says="N(.14, 1) against N(0, 1): PSI .02, the edge of the tolerance",
        law=laws.moved(laws.normal, by=0.14),
        tolerated=("roll-up", *_FIXED),
    ),
    Numbers(
        name="tolerated-sd",
        says="N(.05, 1) against N(0, 1): the edge of the tolerance of e-SR",
        law=laws.moved(laws.normal, by=0.05),
        tolerated=("e-sr", "roll-up", *_FIXED),
    ),
    Numbers(
        name="cycle",
        says="N(.5 sin, 1) over a day of 24 windows, a reference per hour",
        law=laws.cycle(_HEIGHT, _DAY),
        period=_DAY,
    ),
    Numbers(
        name="cycle-pooled",
        says="the same, one reference for the whole day with the phi it measures",
        law=laws.cycle(_HEIGHT, _DAY),
        period=_DAY,
        seasonal=False,
    ),
    _moved("mean+0.15", "mean by .15 sd", laws.moved(laws.normal, by=0.15)),
    _moved("mean+0.25", "mean by .25 sd", laws.moved(laws.normal, by=0.25)),
    _moved("mean+0.5", "mean by .5 sd", laws.moved(laws.normal, by=0.5)),
    _moved("mean+1", "mean by 1 sd", laws.moved(laws.normal, by=1.0)),
    _moved("sd-x1.3", "sd by a factor of 1.3", laws.moved(laws.normal, wider=1.3)),
    _moved("bimodal", f"two humps at +-{_APART}, same mean and sd", laws.split(_APART)),
    _moved(
        "gradual", "ever more items of N(1, 1), over 100 windows", laws.mixed(laws.normal, by=1.0, over=100)
    ),
    _moved("incremental", "mean to .5 sd, over 100 windows", laws.moved(laws.normal, by=0.5, over=100)),
    _moved("missing-0.05", "missing items from .01 to .05", laws.lost(0.01, 0.05)),
    Numbers(
        name="cycle+0.5",
        says="mean by .5 sd on the daily cycle, a reference per hour",
        law=laws.cycle(_HEIGHT, _DAY, by=0.5),
        period=_DAY,
        changes=True,
    ),
    Numbers(
        name="cycle-pooled+0.5",
        says="the same, one reference for the whole day",
        law=laws.cycle(_HEIGHT, _DAY, by=0.5),
        period=_DAY,
        seasonal=False,
        changes=True,
    ),
    Features(name="3-of-50", says="3 of 50 features by .25 sd", features=50, moving=3, by=0.25, changes=True),
    *(
        Categories(
            name=f"mass-{mass}",
            says=f"{mass} of the mass from the first category to the last",
            shares=_ZIPF,
            after=_shifted(mass),
            changes=True,
        )
        for mass in (0.05, 0.1, 0.2)
    ),
    Categories(
        name="unseen-0.02",
        says="a category that the reference never saw, at .02",
        shares=_ZIPF,
        after=_unseen(0.02),
        changes=True,
    ),
    _errors(0.1),
    _errors(0.3),
    Errors(
        name="error-0.10-tolerated",
        says="error rate .11 where .10 was promised: the edge of the tolerance of the promise",
        law=laws.wrong(0.1, 0.11),
        metric="hit",
        tolerated=("promise",),
    ),
    *_heavy(),
    *(_errors(0.1, after) for after in (0.13, 0.15, 0.2)),
    *(_errors(0.3, after) for after in (0.33, 0.35, 0.4)),
    *_heavy(1.2),
)

STREAMS: dict[str, Stream] = {stream.name: stream for stream in _ALL}
