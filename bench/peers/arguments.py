"""What each peer is told."""

from argparse import ArgumentParser
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Where the records are, and how many of them to take."""

    kafka: str
    predictions: str
    outcomes: str
    group: str
    warm_up: int
    records: int
    fetch_bytes: int


def parse(description: str) -> Arguments:
    parser = ArgumentParser(description=description)
    parser.add_argument("--kafka", required=True, metavar="HOST:PORT")
    parser.add_argument("--predictions", required=True, metavar="TOPIC")
    parser.add_argument("--outcomes", required=True, metavar="TOPIC")
    parser.add_argument("--group", required=True, help="a consumer group that has read nothing yet")
    parser.add_argument("--warm-up", type=int, default=10_000, help="records before the clock starts")
    parser.add_argument("--records", type=int, default=50_000, help="records to measure")
    parser.add_argument("--fetch-bytes", type=int, default=2 << 20, help="of one partition at once")
    return Arguments(**vars(parser.parse_args()))
