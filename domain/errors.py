"""What the domain raises: a rule was broken by the caller's input, never by chance or by the network."""


class DomainError(Exception):
    """A rule of the domain was broken."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().partition("\n")[0])


class InvalidField(DomainError):
    """A field is outside its limit. `owner`, `field` and `limit` say which and why, `value` what it is."""

    def __init__(self, owner: str, field: str, limit: str, value: object) -> None:
        self.owner = owner
        self.field = field
        self.limit = limit
        self.value = value
        shown = repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"{owner}.{field} must be {limit}, not {shown}")
