"""From an identity to one of 10,000 buckets: the same on every machine, in every process, for ever."""

import hashlib

BUCKETS = 10_000


def bucket_of(salt: str, identity: str) -> int:
    """The bucket of `identity` (a unit or a request) under an experiment's `salt`, 0..9,999.

    BLAKE2b of the salt's length, the salt and the identity, as a 64-bit integer modulo 10,000 (the modulo's
    bias is below 1e-15). The length keeps ("ab", "c") and ("a", "bc") apart; another salt is another shuffle,
    so experiments do not inherit each other's arms.
    """
    raw = salt.encode()
    digest = hashlib.blake2b(len(raw).to_bytes(4, "big") + raw + identity.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS
