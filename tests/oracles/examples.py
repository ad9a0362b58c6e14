"""How oracles are asked: random examples from one seed, so that a run says the same today and tomorrow."""

from hypothesis import settings

EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True, database=None)
