"""A process that appends batches to a log file: python -m tests.log.writer PATH NAME BATCHES.

Each batch holds BATCH records with one sequence number; a batch that is in the log already is not sent again.
"""

import sys

from schemas.logfile import LogFile
from schemas.logrecords import NewRecord

BATCH = 7
NOW = 1_700_000_000_000


def main(path: str, name: str, batches: int) -> None:
    log = LogFile(path, now_ms=lambda: NOW)
    last = log.last_sequence(name)
    for sequence in range(0 if last is None else last + 1, batches):
        log.append(
            [
                NewRecord(
                    topic="shared",
                    key=f"{name}-{sequence}-{item}".encode(),
                    value=name.encode(),
                    timestamp_ms=NOW,
                    partition=item % 2,
                )
                for item in range(BATCH)
            ],
            producer=name,
            sequence=sequence,
        )
    log.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
