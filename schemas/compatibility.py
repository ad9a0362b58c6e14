"""Whether a change of an event's JSON Schema breaks its readers or the records that exist.

Within a version a field may be added with a default and a limit may be widened; nothing else.
"""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_UPPER = ("maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties")
_LOWER = ("minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties")
_ABSENT = object()


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Every breaking change from `old` to `new`, each `path: what`, in a fixed order; [] if there is none."""
    return list(_Comparison(old, new).of("$", old, new))


class _Comparison:
    """Walks two documents side by side; `seen` stops at definitions that refer to themselves."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str]] = set()

    def of(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if any(pair):
            if pair in self._seen:
                return
            self._seen.add(pair)
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if "anyOf" in old or "anyOf" in new:
            yield from self._union(path, old, new)
        else:
            yield from self._one(path, old, new)
        if old.get("default", _ABSENT) != new.get("default", _ABSENT) and "default" in old:
            yield f"{path}: the default changed, so existing records mean something else"

    def _one(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        if _kind(old) != _kind(new):
            yield f"{path}: retyped from {_kind(old)} to {_kind(new)}"
            return
        yield from _narrowed(path, old, new)
        yield from self._properties(path, old, new)
        yield from self._inner(path, old, new)

    def _union(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        before = self._arms(old, self._old)
        after = self._arms(new, self._new)
        if before.keys() != after.keys():
            yield f"{path}: retyped from {' | '.join(before)} to {' | '.join(after)}"
            return
        for kind, arm in before.items():
            yield from self.of(path, arm, after[kind])

    def _arms(self, schema: Schema, document: Schema) -> dict[str, Schema]:
        arms = schema.get("anyOf", [schema])
        return dict(sorted((_kind(_resolved(arm, document)), arm) for arm in arms))

    def _properties(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in sorted(before):
            if name not in after:
                yield f"{path}.{name}: the field was removed or renamed"
            else:
                yield from self.of(f"{path}.{name}", before[name], after[name])
        for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            what = "became required" if name in before else "is new and has no default"
            yield f"{path}.{name}: the field {what}"

    def _inner(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        for word, suffix in (("items", "[]"), ("additionalProperties", "{}"), ("propertyNames", "{key}")):
            before, after = old.get(word), new.get(word)
            if isinstance(after, dict):
                yield from self.of(path + suffix, before if isinstance(before, dict) else {}, after)
            elif isinstance(before, dict) and after is False:
                yield f"{path}{suffix}: no longer allowed"


def _resolved(schema: Schema, document: Schema) -> Schema:
    """The definition that a `$ref` into `$defs` stands for, with what is said beside it."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    definition = document["$defs"][reference.rpartition("/")[2]]
    return {**definition, **{word: value for word, value in schema.items() if word != "$ref"}}


def _kind(schema: Schema) -> str:
    """Type and format; a schema without a type takes anything."""
    kind = schema.get("type", "any")
    return f"{kind}({schema['format']})" if "format" in schema else str(kind)


def _narrowed(path: str, old: Schema, new: Schema) -> Iterator[str]:
    for word in _UPPER:
        if word in new and (word not in old or new[word] < old[word]):
            yield f"{path}: {word} narrowed from {old.get(word, 'none')} to {new[word]}"
    for word in _LOWER:
        if word in new and (word not in old or new[word] > old[word]):
            yield f"{path}: {word} narrowed from {old.get(word, 'none')} to {new[word]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{path}: the pattern changed from {old.get('pattern', 'none')} to {new['pattern']}"
    yield from _lost_values(path, old, new)


def _lost_values(path: str, old: Schema, new: Schema) -> Iterator[str]:
    before, after = _values(old), _values(new)
    if after is None:
        return
    if before is None:
        yield f"{path}: limited to {', '.join(sorted(map(str, after)))}"
        return
    for value in sorted(map(str, before - after)):
        yield f"{path}: the value {value} was removed"


def _values(schema: Schema) -> frozenset[Any] | None:
    if "enum" in schema:
        return frozenset(schema["enum"])
    return frozenset([schema["const"]]) if "const" in schema else None
