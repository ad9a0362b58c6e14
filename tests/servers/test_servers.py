"""The servers that tests run against start, die, come back, and are never missing in CI."""

import asyncpg


async def test_a_database_of_the_session_s_server_is_empty_and_one_s_own(pg_url: str) -> None:
    connection = await asyncpg.connect(pg_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        await connection.execute("CREATE TABLE mine (id int)")
    finally:
        await connection.close()
