"""Random logs of one partition with everything that can be wrong with one."""

from random import Random

from domain.windows.calibration import Calibration
from domain.windows.policy import WindowPolicy
from domain.windows.profile import FeatureReference, ReferenceProfile
from domain.windows.records import Feature, Invalid
from tests.windows.records import Log, Outcome, OutcomeEntry, Prediction, PredictionEntry

LENGTH, SLACK, GRACE = 2_000, 400, 600

_NUMERIC = FeatureReference(kind="numeric", edges=(-1.0, 0.0, 1.0), counts=(1, 2, 3, 4, 0, 0))
_CATEGORICAL = FeatureReference(
    kind="categorical", categories=("0.0", "blue", "red", "true"), counts=(1, 2, 3, 4, 0, 0)
)
PROFILES = {
    ("m", "1"): ReferenceProfile(
        model="m",
        version="1",
        task="regression",
        features={"f": _NUMERIC, "g": _NUMERIC, "c": _CATEGORICAL, "absent": _NUMERIC},
        prediction=_NUMERIC,
        error_clip=0.5,
    ),
    # takes effect in the middle of most logs
    ("m", "2"): ReferenceProfile(
        model="m", version="2", task="regression", effective_from_ms=4 * LENGTH, features={"f": _NUMERIC}
    ),
    ("p", "1"): ReferenceProfile(
        model="p", version="1", task="probability", features={"c": _CATEGORICAL}, prediction=_NUMERIC
    ),
    ("p", "2"): ReferenceProfile(
        model="p",
        version="2",
        task="probability",
        effective_from_ms=2 * LENGTH,
        calibration=Calibration(x=(0.1, 0.3, 0.55, 0.9), y=(0.05, 0.35, 0.35, 0.8)),
    ),
    ("l", "1"): ReferenceProfile(model="l", version="1", task="label", prediction=_CATEGORICAL),
    ("far", "1"): ReferenceProfile(model="far", version="1", task="regression", effective_from_ms=10**15),
}


def policy_of(r: Random) -> tuple[int, int]:
    """(grace, memory) in ms."""
    return r.choice([0, GRACE, GRACE]), r.choice([0, GRACE, 5_000])


def make_policy(r: Random) -> WindowPolicy:
    grace, memory = policy_of(r)
    return WindowPolicy(length_ms=LENGTH, slack_ms=SLACK, grace_ms=grace, memory_ms=memory)


def make_log(r: Random, requests: int) -> Log:
    """Requests with their outcomes, both topics disturbed; the last heartbeats may or may not close it."""
    predictions: list[PredictionEntry] = []
    outcomes: list[OutcomeEntry] = []
    clock = r.choice([0, 0, 50 * LENGTH])
    for number in range(requests):
        clock += r.choice([0, 20, 60, 200, 3_000 if r.random() < 0.05 else 100])
        at = max(0, clock - r.randrange(SLACK * 2)) if r.random() < 0.3 else clock
        at = at // LENGTH * LENGTH if r.random() < 0.05 else at  # on a border
        answers = _answers(r, f"i{number}")
        predictions += [(at, answer) for answer in answers]
        predictions += [(at, r.choice(answers)) for _ in range(r.random() < 0.1)]
        if r.random() < 0.04:  # the same id again, in another window as like as not
            predictions.append((at + r.choice([1, LENGTH]), _answer(r, f"i{number}")))
        for _ in range(r.random() < 0.08):
            predictions.append(_disturbance(r, clock))
        outcomes += _outcomes(r, f"i{number}", at, answers[0])
    outcomes += [_disturbance(r, r.randrange(clock + 1)) for _ in range(r.randrange(1 + requests // 10))]
    outcomes.sort(key=lambda entry: entry[0] + r.randrange(3 * SLACK))
    if r.random() < 0.8:
        predictions.append((clock + r.choice([500, 5_000, 60_000]), None))
        outcomes.append((clock + r.choice([500, 5_000, 60_000]), None))
    return Log(predictions, outcomes)


def make_lopsided_log(r: Random, requests: int) -> Log:
    """Outcomes far ahead, so that windows finish as they close; repeats some records after their first; and
    a stretch without a prediction.
    """
    log = make_log(r, requests)
    for place in sorted(r.sample(range(len(log.predictions)), len(log.predictions) // 3), reverse=True):
        log.predictions.insert(min(place + r.randrange(1, 8), len(log.predictions)), log.predictions[place])
    at = r.randrange(len(log.predictions))
    newest = max((timestamp for timestamp, _ in log.predictions[:at] if timestamp < 10**12), default=0)
    step, count = r.choice([100, SLACK, LENGTH // 4]), r.choice([5, 20])
    empty = [
        (newest + step * number, r.choice([None, Invalid("not JSON", moves_time=True)]))
        for number in range(1, count + 1)
    ]
    later = [(timestamp + step * count, record) for timestamp, record in log.predictions[at:]]
    ahead = newest + step * count + r.choice([0, 20, 200]) * LENGTH
    return Log([*log.predictions[:at], *empty, *later], [(ahead, None), *log.outcomes])


def _disturbance(r: Random, clock: int) -> tuple[int, Invalid | None]:
    match r.randrange(4):
        case 0:
            return clock, None
        case 1:
            return max(0, clock + r.choice([-3 * SLACK, 0, SLACK])), Invalid("not JSON", moves_time=True)
        case 2:
            return r.choice([10**14, -5]), Invalid("timestamp in the future", moves_time=False)
        case _:
            return max(0, clock - r.randrange(4 * SLACK)), None


def _answers(r: Random, request: str) -> list[Prediction]:
    kind = r.random()
    if kind < 0.4:
        return [_answer(r, request)]
    if kind < 0.5:
        probability = r.choice([0.0, 0.2, 0.5, 0.9, 1.0, 1.5, 0.3, 0.7, "red"])
        return [_answer(r, request, model="p", version=r.choice("122"), prediction=probability)]
    if kind < 0.6:
        return [_answer(r, request, model="l", prediction=r.choice(["red", "blue", "green", 1.0]))]
    if kind < 0.75:  # sticky: one variant answers
        variant = r.choice("ab")
        unit = r.choice(["BRN", "WTI", "NG", None])
        return [_answer(r, request, variant=variant, experiment="sticky", unit=unit)]
    epoch, horizon = r.choice([1, 1, 2]), r.choice([1, 6])
    served = _answer(r, request, variant="a", experiment="shadow", epoch=epoch, horizon_s=horizon)
    shadows = [
        _answer(
            r,
            request,
            version=r.choice("12"),
            variant=variant,
            experiment="shadow",
            epoch=epoch if r.random() < 0.9 else 3,
            served=r.random() < 0.1,
            horizon_s=horizon if r.random() < 0.9 else 3,
        )
        for variant in r.choice(["b", "b", "bc"])
    ]
    return r.sample([served, *shadows], 1 + len(shadows))


def _answer(r: Random, request: str, **given: object) -> Prediction:
    values: dict[str, object] = {
        "prediction_id": request,
        "version": r.choice(["1", "1", "1", "2", "3"]) if given.get("experiment") is None else "1",
        "horizon_s": r.choice([1, 1, 1, 6]),
        "prediction": _number(r),
        "features": _features(r),
        "covariate": r.choice([None, 1e200, 0.1, -0.3]) if r.random() < 0.3 else r.random(),
        **given,
    }
    return Prediction(**values)  # type: ignore[arg-type]


def _number(r: Random) -> float:
    odd: list[float] = [0.0, -0.0, 1.0, 1e-300, 1e60, -1e200, 1.7e308]
    return r.choice(odd) if r.random() < 0.1 else r.gauss(0, 1)


def _features(r: Random) -> dict[str, Feature]:
    features: dict[str, Feature] = {"f": r.gauss(0, 1), "g": r.gauss(0, 1), "c": r.choice(["red", "blue"])}
    features |= {"absent": r.random(), "unknown to the profile": 1.0} if r.random() < 0.7 else {}
    if r.random() < 0.2:
        odd: list[Feature] = [None, True, False, "text", "1.5", 0.0, -0.0, 1.0, "green"]
        features[r.choice("fgc")] = r.choice(odd)
    return features


def _outcomes(r: Random, request: str, at: int, answer: Prediction) -> list[OutcomeEntry]:
    result: list[OutcomeEntry] = []
    for _ in range(r.choice([0, 1, 1, 1, 2, 3])):
        delay = r.choice([-SLACK - 1, -SLACK, 0, 20, 200, 800, 2_000, 4_000, 9_000, 12_000])
        request_id = request if r.random() < 0.95 else "nobody's"
        result.append(
            (
                max(0, at + delay),
                Outcome(prediction_id=request_id, actual=_actual(r, answer), values=_values(r)),
            )
        )
    if result and r.random() < 0.2:  # exactly at the cutoff, or just before it
        cutoff = at // LENGTH * LENGTH + LENGTH + answer.horizon_s * 1_000 + r.choice([0, GRACE])
        result.append((cutoff - r.choice([0, 1]), Outcome(prediction_id=request, actual=_actual(r, answer))))
    if r.random() < 0.1:  # exactly at the lower bound, or just before it
        lowest = at // LENGTH * LENGTH - SLACK
        result.append(
            (max(0, lowest - r.choice([0, 1])), Outcome(prediction_id=request, actual=_actual(r, answer)))
        )
    return result


def _actual(r: Random, answer: Prediction) -> float | str:
    if r.random() < 0.05:
        return "red"
    if isinstance(answer.prediction, str):
        return r.choice(["red", "blue"])
    return r.choice([0.0, 1.0]) if answer.model == "p" else _number(r)


def _values(r: Random) -> dict[str, float]:
    return {"pnl": _number(r), "cost": r.random()} if r.random() < 0.3 else {}
