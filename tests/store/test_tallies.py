"""Window rows, divergences, and progress by dominance."""

import pytest

from consumers.store.engine import Store
from consumers.store.repositories.pruning import PruningRepository
from consumers.store.repositories.tallies import Divergence, TallyCounts, TallyRepository, UnknownVersion
from consumers.store.types import digest_of
from domain.windows.progress import Progress
from domain.windows.rows import ArrivalRow, Side, WindowRow, canonical
from tests.store.builders import MINUTE, NOW, add_model, arrival_row, progress, version, window_row


async def insert(
    store: Store, *rows: WindowRow, arrivals: tuple[ArrivalRow, ...] = (), moved: Progress | None = None
) -> list[Divergence]:
    async with store.write() as session:
        tallies = TallyRepository(session)
        return await tallies.insert_closed(rows, arrivals, moved or progress(0, 0), now=NOW)


async def stored(store: Store) -> list[WindowRow]:
    async with store.read() as session:
        return [WindowRow(row.key, row.due_ms, row.body) async for row in TallyRepository(session).all_rows()]


async def stored_progress(store: Store, partition: int = 0) -> Progress | None:
    async with store.read() as session:
        return await TallyRepository(session).progress(partition)


async def test_rows_come_back_byte_for_byte_in_the_order_of_their_key(store: Store) -> None:
    rows = [
        window_row(MINUTE, kind="score", horizon_s=60, due_ms=9 * MINUTE),
        window_row(MINUTE, partition=1),
        window_row(MINUTE, version="2", variant="challenger", experiment="e", epoch=3),
        window_row(0, n=7),
    ]
    assert await insert(store, *rows, arrivals=(arrival_row(),)) == []
    assert await stored(store) == sorted(rows, key=lambda row: row.key)
    async with store.read() as session:
        tallies = TallyRepository(session)
        digests = [row.digest async for row in tallies.all_rows()]
        assert digests[0] == digest_of(b'{"n":7}')
        assert [row async for row in tallies.all_arrivals()] == [arrival_row()]
        assert await tallies.counts() == TallyCounts(inputs=3, scores=1, arrivals=1, divergences=0)


async def test_the_same_rows_again_change_nothing_and_diverge_nowhere(store: Store) -> None:
    rows = [window_row(start * MINUTE) for start in range(1_200)]
    arrivals = tuple(arrival_row(start * MINUTE) for start in range(5))
    assert await insert(store, *rows, arrivals=arrivals) == []
    assert await insert(store, *reversed(rows), arrivals=arrivals) == []
    assert await stored(store) == rows


async def test_other_bytes_under_a_stored_key_are_reported_once_recorded_and_not_written(
    store: Store,
) -> None:
    await insert(store, window_row(0, n=1), arrivals=(arrival_row(read=1),))
    found = await insert(store, window_row(0, n=2), window_row(MINUTE), arrivals=(arrival_row(read=2),))
    assert [one.offered_digest for one in found] == [digest_of(b'{"n":2}'), digest_of(b'{"read":2}')]
    assert [one.stored_digest for one in found] == [digest_of(b'{"n":1}'), digest_of(b'{"read":1}')]
    assert found[1].row_key == '{"partition":0,"side":"predictions","window_start_ms":0}'
    assert '"model":"brent"' in found[0].row_key
    assert await stored(store) == [window_row(0, n=1), window_row(MINUTE)]
    assert await insert(store, window_row(0, n=2)) == found[:1]
    async with store.read() as session:
        tallies = TallyRepository(session)
        assert await tallies.divergences() == found
        assert await tallies.divergence_count() == 2


async def test_progress_moves_only_to_a_rectangle_that_covers_the_old_one(store: Store) -> None:
    assert await stored_progress(store) is None
    await insert(store, moved=progress(10, 10, offset=1))
    for worse in (progress(9, 20), progress(20, 9), progress(9, 9)):
        await insert(store, moved=worse)
        assert await stored_progress(store) == progress(10, 10, offset=1)
    await insert(store, moved=progress(10, 11, offset=2))
    assert await stored_progress(store) == progress(10, 11, offset=2)
    await insert(store, moved=progress(10, 11, offset=3))
    assert await stored_progress(store) == progress(10, 11, offset=3)


def claimed_by(inputs_ms: int, outcomes_ms: int) -> set[tuple[int, int]]:
    """(window start, cutoff) of the score rows that a closed rectangle says are in the table."""
    starts = range(0, inputs_ms - MINUTE + 1, MINUTE)
    return {(s, s + lag) for s in starts for lag in (2 * MINUTE, 5 * MINUTE) if s + lag <= outcomes_ms}


async def test_two_workers_never_claim_a_window_that_neither_closed(store: Store) -> None:
    # one worker is far on predictions, the other far on outcomes
    rectangles = [(5 * MINUTE, 2 * MINUTE), (MINUTE, 9 * MINUTE)]
    for inputs_ms, outcomes_ms in rectangles:
        rows = [
            window_row(start, kind="score", horizon_s=(cutoff - start) // 1_000, due_ms=cutoff)
            for start, cutoff in claimed_by(inputs_ms, outcomes_ms)
        ]
        await insert(store, *rows, moved=progress(inputs_ms, outcomes_ms))
    written = {(row.key.window_start_ms, row.due_ms) for row in await stored(store)}
    found = await stored_progress(store)
    assert found is not None
    assert claimed_by(found.inputs_through_ms, found.outcomes_through_ms) <= written
    # the tempting rule, each side's maximum, claims rows that nobody wrote
    assert not claimed_by(max(r[0] for r in rectangles), max(r[1] for r in rectangles)) <= written


async def test_partitions_progress_on_their_own(store: Store) -> None:
    await insert(store, moved=progress(5, 5, partition=1))
    await insert(store, moved=progress(1, 1, partition=0))
    async with store.read() as session:
        assert await TallyRepository(session).all_progress() == [
            progress(1, 1, partition=0),
            progress(5, 5, partition=1),
        ]


async def test_due_rows_are_one_models_after_and_through_a_time_in_judging_order(store: Store) -> None:
    score = window_row(0, kind="score", horizon_s=60, due_ms=2 * MINUTE)
    longer = window_row(0, kind="score", horizon_s=120, due_ms=2 * MINUTE)
    first, second = window_row(MINUTE, partition=0), window_row(MINUTE, partition=1)
    challenger = window_row(MINUTE, version="2", partition=0)
    outside = [window_row(0), window_row(2 * MINUTE), window_row(MINUTE, model="wti")]
    await insert(store, longer, challenger, *outside, second, score, first)
    async with store.read() as session:
        due = await TallyRepository(session).rows_due("brent", MINUTE, 2 * MINUTE)
        assert [row.key for row in due] == [r.key for r in (first, second, challenger, score, longer)]
        assert due[0].body == first.body
        assert due[0].due_ms == 2 * MINUTE


async def test_a_part_of_the_due_rows_never_ends_inside_a_due_time(store: Store) -> None:
    rows = [window_row(at * MINUTE, partition=p) for at in range(3) for p in range(2)]
    await insert(store, *rows)
    async with store.read() as session:
        for at_least, found in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 6), (6, 6), (7, 6)):
            part = await TallyRepository(session).rows_due("brent", 0, 9 * MINUTE, at_least=at_least)
            assert [row.key for row in part] == [row.key for row in rows[:found]]


async def test_input_windows_are_the_last_closed_ones_of_one_version_each_once(store: Store) -> None:
    await insert(
        store,
        *(window_row(start * MINUTE, partition=partition) for start in range(5) for partition in (0, 1)),
        window_row(5 * MINUTE, version="2"),
        window_row(6 * MINUTE, kind="score", horizon_s=60, due_ms=8 * MINUTE),
        window_row(7 * MINUTE),
    )
    async with store.read() as session:
        tallies = TallyRepository(session)

        async def last(limit: int, before: int) -> list[int]:
            found = await tallies.input_windows("brent", "1", before_ms=before * MINUTE, limit=limit)
            return [start // MINUTE for start in found]

        assert await last(3, 7) == [2, 3, 4]
        assert await last(9, 8) == [0, 1, 2, 3, 4, 7]
        assert await last(9, 3) == [0, 1, 2]
        assert await tallies.input_windows("brent", "9", before_ms=9 * MINUTE, limit=1) == []
        rows = await tallies.version_inputs("brent", "1", MINUTE, 4 * MINUTE, through_ms=3 * MINUTE)
        assert [(row.key.window_start_ms // MINUTE, row.key.partition) for row in rows] == [
            (1, 0),
            (1, 1),
            (2, 0),
            (2, 1),
        ]


async def test_models_with_rows_are_those_with_newer_ones(store: Store) -> None:
    await insert(store, window_row(0, model="wti"), window_row(0), window_row(MINUTE))
    async with store.read() as session:
        tallies = TallyRepository(session)
        assert await tallies.models_with_rows(0) == ["brent", "wti"]
        assert await tallies.models_with_rows(MINUTE) == ["brent"]
        assert await tallies.models_with_rows(2 * MINUTE) == []


def arrived(side: Side, start_ms: int, *, partition: int = 0, **fates: int) -> ArrivalRow:
    return ArrivalRow(side, partition, start_ms, canonical({**fates, "read": sum(fates.values())}))


async def test_what_became_of_records_is_added_up_and_pruned_ones_count_once(store: Store) -> None:
    old = (arrived("predictions", 0, tallied=4, late=2), arrived("predictions", 0, partition=1, invalid=7))
    new = (arrived("predictions", MINUTE, tallied=1, late=1), arrived("outcomes", 0, orphan=3, matched=2))
    expected = {
        ("predictions", "tallied"): 5,
        ("predictions", "late"): 3,
        ("predictions", "invalid"): 7,
        ("predictions", "read"): 15,
        ("outcomes", "orphan"): 3,
        ("outcomes", "matched"): 2,
        ("outcomes", "read"): 5,
    }
    await insert(store, arrivals=(*old, *new))

    async def fates() -> dict[tuple[str, str], int]:
        async with store.read() as session:
            return await TallyRepository(session).fates()

    assert await fates() == expected
    async with store.write() as session:
        deleted = await PruningRepository(session).delete_arrivals("predictions", MINUTE, (0, 1), 100)
    assert deleted == 2
    assert await fates() == expected
    await insert(store, arrivals=old)  # by a worker that was behind
    assert await fates() == expected


async def test_versions_that_nobody_registered_are_found_in_the_tallies(store: Store) -> None:
    await insert(store, window_row(0), window_row(0, version="9"), window_row(3 * MINUTE, version="9"))
    async with store.write() as session:
        await add_model(session, version("1"))
    async with store.read() as session:
        assert await TallyRepository(session).unknown_versions() == [
            UnknownVersion("brent", "9", 0, 3 * MINUTE)
        ]


async def test_nothing_of_a_closing_is_kept_when_its_transaction_fails(store: Store) -> None:
    async def fail() -> None:
        async with store.write() as session:
            tallies = TallyRepository(session)
            await tallies.insert_closed([window_row(0)], [arrival_row()], progress(5, 5), now=NOW)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await stored(store) == []
    assert await stored_progress(store) is None
