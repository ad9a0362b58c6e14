"""Values that no reader can use, each of another kind."""

from random import Random

import orjson

OVERSIZE = 1_200_000
"""Above what is parsed (1 MiB), and small on the wire once it is compressed."""


def poison(r: Random, sound: bytes) -> bytes:
    """A bad value; `sound` is a good one of the same topic to spoil."""
    kinds = (
        lambda: b"\xff\xfe" + sound,
        lambda: sound[: r.randrange(1, len(sound))],
        lambda: b"[" * 5_000,
        lambda: b'"just text"',
        lambda: b"null",
        lambda: _with(sound, prediction="NaN", actual="NaN"),
        lambda: _with(sound, prediction="1e400", actual="-1e400"),
        lambda: _with(sound, horizon_s="1000000000", actual="[]"),
        lambda: _with(sound, horizon_s="30000000", actual="{}"),
        lambda: _with(sound, prediction_id='""'),
        lambda: _with(sound, prediction_id='"' + "x" * 65 + '"'),
        lambda: _with(sound, model='"nul\\u0000"', actual="null"),
        lambda: _with(sound, features='{"x": [1]}', values='{"pnl": null}'),
        lambda: _with(sound, epoch="-1", values='{"pnl": Infinity}'),
        lambda: _with(sound, served='"yes"', occurred_at='"2024-01-01T00:00:00"'),
        lambda: b" " * OVERSIZE + sound if r.random() < 0.3 else b"{}",
    )
    return r.choice(kinds)()


def _with(sound: bytes, **raw: str) -> bytes:
    """`sound` with the fields that it has replaced by `raw` JSON, or what is no JSON at all."""
    known = orjson.loads(sound)
    parts = [
        orjson.dumps(name) + b":" + (raw[name].encode() if name in raw else orjson.dumps(value))
        for name, value in known.items()
    ]
    return b"{" + b",".join(parts) + b"}"
