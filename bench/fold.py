"""CPU time of the window fold alone: `python bench/fold.py [records]`; prints microseconds per record.

12 numeric features, 8 models, 95 % outcomes, 1 % duplicates, windows of one minute; decoded records are made
beforehand, so neither reading nor decoding is in the figure.
"""

import gc
import sys
from random import Random
from time import process_time
from typing import Any

import msgspec

from domain.windows.build import build_profile
from domain.windows.fold import PartitionFold
from domain.windows.policy import WindowPolicy
from domain.windows.progress import Progress

FEATURES = [f"feature_{i:02d}" for i in range(12)]
MODELS = [f"model-{i}" for i in range(8)]
BATCH = 2_000
PER_SECOND = 500


class Prediction(msgspec.Struct, frozen=True):
    prediction_id: str
    model: str
    version: str
    prediction: float | str
    features: dict[str, float | str | bool | None]
    horizon_s: int
    variant: str | None = None
    experiment: str | None = None
    epoch: int = 0
    served: bool = True
    unit: str | None = None
    covariate: float | None = None


class Outcome(msgspec.Struct, frozen=True):
    prediction_id: str
    actual: float | str
    values: dict[str, float] = {}


def make(requests: int) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
    """Encoded topics: decoding then gives every record strings and dicts of its own, as in the worker."""
    r = Random(1)
    predictions: list[tuple[int, bytes]] = []
    outcomes: list[tuple[int, bytes]] = []
    for number in range(requests):
        at = number * 1000 // PER_SECOND
        p = Prediction(
            f"{r.getrandbits(128):032x}",
            r.choice(MODELS),
            "7",
            r.gauss(0, 1),
            {name: r.gauss(0, 1) for name in FEATURES},
            60,
        )
        predictions += [(at, msgspec.json.encode(p))] * (2 if r.random() < 0.01 else 1)
        if r.random() < 0.95:
            outcomes.append((at + 60_000, msgspec.json.encode(Outcome(p.prediction_id, r.gauss(0, 1)))))
    return predictions, outcomes


def columns_of(batch: list[tuple[int, Any]], start: int) -> tuple[range, list[int], list[Any]]:
    return range(start, start + len(batch)), [at for at, _ in batch], [record for _, record in batch]


def main(requests: int) -> None:
    predictions, outcomes = make(requests)
    reference = Random(2)
    columns = {name: [reference.gauss(0, 1) for _ in range(2_000)] for name in FEATURES}
    profiles = {
        (model, "7"): build_profile(
            model=model, version="7", task="regression", features=columns, predictions=columns[FEATURES[0]]
        )
        for model in MODELS
    }
    fold = PartitionFold(WindowPolicy(), Progress.start(0))
    add = close = 0.0
    rows = 0
    decoders: tuple[msgspec.json.Decoder[Any], ...] = (
        msgspec.json.Decoder(Prediction),
        msgspec.json.Decoder(Outcome),
    )
    for start in range(0, max(len(predictions), len(outcomes)), BATCH):
        stop = start + BATCH
        decoded = [
            [(at, decoder.decode(body)) for at, body in topic[start:stop]]
            for topic, decoder in zip((predictions, outcomes), decoders, strict=True)
        ]
        began = process_time()
        fold.add_predictions(*columns_of(decoded[0], start))
        fold.add_outcomes(*columns_of(decoded[1], start))
        added = process_time()
        if fold.closable():
            rows += len(fold.close({v: profiles[v] for v in fold.closing_versions()}).rows)
        add += added - began
        close += process_time() - added
    count = len(predictions) + len(outcomes)
    print(f"{count} records, {rows} rows, {fold.open_state()}")
    print(f"add {add / count * 1e6:.2f} + close {close / count * 1e6:.2f} us per record")


if __name__ == "__main__":
    gc.freeze()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
