"""The page of one reference profile, and the page of a comparison."""

from collections.abc import Iterator, Sequence
from typing import Final

from consumers.report.histogram import Bar, Bins, bars, calibration, density, drawable, seasons
from consumers.report.page import Cell, Markup, element, figure, joined, page, table
from consumers.report.words import moment, plural
from consumers.services.comparing import Compared, Comparison
from domain.drift.metrics import labels
from domain.windows.profile import FeatureReference, ReferenceProfile
from domain.windows.rebin import bin_range, quantile
from domain.windows.season import DAY_MS, WEEK_MS, Season

MOST_BARS: Final = 14
MOST_PICTURES: Final = 12
"""Of a comparison: the features furthest apart."""
_DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")
"""The epoch began on a Thursday."""


def render(profile: ReferenceProfile, digest: str = "") -> str:
    """A profile as a document; the same bytes for the same profile."""
    who = f"version {profile.version} of {profile.model}" if profile.version else "not attached to a version"
    title = f"Reference profile, {who}"
    features = dict(sorted(profile.features.items()))
    body = joined(
        [
            element("h1", "Reference profile"),
            element("p", f"{who}; task {profile.task}", kind="soft"),
            _tiles(profile),
            *_promise(profile),
            *_prediction(profile),
            element("h2", plural(len(features), "feature")),
            element("div", *(_feature(profile, *each) for each in features.items()), kind="pictures"),
            table(
                ("feature", "kind", "bins", "rows", "missing, %", "sd", "phi"),
                [_row(name, reference) for name, reference in features.items()],
            ),
            *([element("p", f"SHA-256 {digest}", kind="soft")] if digest else []),
        ]
    )
    return page(title, body)


def render_comparison(comparison: Comparison) -> str:
    """A comparison as a document."""
    profile = comparison.profile
    who = f"version {profile.version} of {profile.model}" if profile.version else "a reference profile"
    worst = comparison.compared[0]
    shown = comparison.compared[:MOST_PICTURES]
    rest = len(comparison.compared) - len(shown)
    further = [element("p", f"{plural(rest, 'feature')} closer than these are in the table.")] if rest else []
    body = joined(
        [
            element(
                "h1", "Reference and what came after" if comparison.windows else "Two reference profiles"
            ),
            element("p", f"{who} beside {comparison.other}{_span(comparison)}", kind="soft"),
            element(
                "div",
                _tile(worst.name, "furthest apart"),
                _tile(f"{worst.metrics.effect_sizes['psi']:.3g}", "its PSI"),
                _tile(str(sum(_differs(each) for each in comparison.compared)), _differ_words(comparison)),
                _tile(f"{max(sum(each.counts) for each in comparison.compared):,}", "records compared"),
                kind="tiles",
            ),
            element(
                "p",
                "Filled: the reference. Line or lower bar: what it is compared with. Furthest apart first, "
                "by PSI less what chance alone would give.",
            ),
            element("div", *(_compared(each) for each in shown), kind="pictures"),
            *further,
            *_apart(comparison),
            element("h2", "All figures"),
            _figures(comparison),
            element(
                "p",
                f"p is that of a PSI of at most {comparison.tolerance:g}, one feature at a time: among many "
                "features some are small by chance. Drift alarms account for that, this table does not.",
                kind="soft",
            ),
        ]
    )
    return page(f"Comparison, {who}", body)


# ---------------------------------------------------------------- a profile


def _tiles(profile: ReferenceProfile) -> Markup:
    rows = max((sum(each.counts) for each in _all(profile)), default=0)
    phi = max((each.phi for each in _all(profile)), default=1.0)
    tiles = [
        _tile(f"{rows:,}", "reference rows"),
        _tile(f"{phi:.3g}", "largest phi; 1 is independent records"),
        _tile(season_words(profile.season), "season"),
    ]
    if profile.version:
        since = "ever" if not profile.effective_from_ms else moment(profile.effective_from_ms)
        tiles.append(_tile(since, "counts for windows since"))
    return element("div", *tiles, kind="tiles")


def season_words(season: Season | None) -> str:
    """`24 slots a day`, or `none`."""
    if season is None:
        return "none"
    known = {DAY_MS: "a day", WEEK_MS: "a week"}
    return f"{season.slots} slots {known.get(season.period_ms, f'in {season.period_ms:,} ms')}"


def _promise(profile: ReferenceProfile) -> Iterator[Markup]:
    if not profile.errors:
        return
    yield element("h2", "What the version promised")
    rows = [
        (name, each.n, each.mean, (each.M2 / each.n) ** 0.5, each.phi)
        for name, each in sorted(profile.errors.items())
    ]
    yield table(("metric", "outcomes", "mean", "sd", "phi"), rows)
    if profile.error_clip is not None:
        yield element("p", f"abs_error_clipped counts no error as more than {profile.error_clip:.5g}.")


def _prediction(profile: ReferenceProfile) -> Iterator[Markup]:
    reference, fitted = profile.prediction, profile.calibration
    if reference is None and fitted is None:
        return
    yield element("h2", "Prediction")
    parts = []
    if reference is not None:
        parts.append(_feature(profile, "prediction", reference))
    if fitted is not None:
        title = "Calibration: share of positives by predicted probability"
        words = f"Calibration: {plural(len(fitted.x), 'threshold')}; dashed is a calibrated model."
        parts.append(figure(calibration(title, fitted.x, fitted.y), words))
    yield element("div", *parts, kind="pictures")


def _feature(profile: ReferenceProfile, name: str, reference: FeatureReference) -> Markup:
    total = sum(reference.counts) or 1
    shares = [count / total for count in reference.counts]
    pictures = [Markup(_picture(name, reference, shares))]
    if profile.season is not None and drawable(_ranges(reference)):
        slots, names = _slots(reference), _slot_names(profile.season)
        if slots:
            pictures.append(Markup(seasons(f"{name} by season slot", slots, names)))
    missing = f"; {shares[-2]:.1%} missing" if reference.counts[-2] else ""
    other = f"; {shares[-1]:.1%} other" if reference.counts[-1] else ""
    caption = element(
        "figcaption", element("b", name), f" · {plural(sum(reference.counts), 'row')}{missing}{other}"
    )
    return element("figure", *pictures, caption)


def _ranges(reference: FeatureReference) -> list[tuple[float, float]]:
    """Of the bins of a number; none of a category."""
    numeric = reference.kind == "numeric"
    return [bin_range(reference, index) for index in range(reference.bins)] if numeric else []


def _slots(reference: FeatureReference) -> list[tuple[float, float, float]]:
    found = []
    for counts in reference.seasonal:
        if not sum(counts[:-2]):
            return []
        low, middle, high = (quantile(reference, counts, share) for share in (0.1, 0.5, 0.9))
        found.append((low, middle, high))
    return found


def _slot_names(season: Season) -> list[str]:
    starts = [season.slot_start_ms(slot) for slot in range(season.slots)]
    if season.period_ms == WEEK_MS:
        return [_DAYS[start // DAY_MS] for start in starts]
    if season.period_ms == DAY_MS:
        return [f"{start // 3_600_000:02}:{start // 60_000 % 60:02}" for start in starts]
    return [str(slot) for slot in range(season.slots)]


def _row(name: str, reference: FeatureReference) -> Sequence[Cell]:
    rows = sum(reference.counts)
    missing = round(100 * reference.counts[-2] / rows, 2) if rows else None
    return name, reference.kind, reference.bins, rows, missing, reference.sd, reference.phi


# ---------------------------------------------------------------- a comparison


def _span(comparison: Comparison) -> str:
    if comparison.span is None:
        return ""
    return f", {moment(comparison.span.from_ms)} to {moment(comparison.span.to_ms)}"


def _differs(each: Compared) -> bool:
    return each.metrics.p_value is not None and each.metrics.p_value < 0.001


def _differ_words(comparison: Comparison) -> str:
    return f"of {plural(len(comparison.compared), 'feature')} with p < 0.001"


def _compared(each: Compared) -> Markup:
    total, now = sum(each.expected), sum(each.counts)
    picture = _picture(
        each.name,
        each.reference,
        [count / total for count in each.expected],
        [count / now for count in each.counts],
    )
    sizes = each.metrics.effect_sizes
    words = f" · PSI {sizes['psi']:.3g}"
    if sizes.get("wasserstein_per_sd", 0) >= 0.005:
        words += f", moved by {sizes['wasserstein_per_sd']:.2g} sd"
    moved = "; ".join(
        f"{bin.bin}: {bin.reference_share:.1%} → {bin.share:.1%}" for bin in each.metrics.bins[:2]
    )
    said = [words, *([moved] if moved else []), *(["bins differ: estimated"] if each.estimated else [])]
    caption = element("figcaption", element("b", each.name), "; ".join(said))
    return element("figure", Markup(picture), caption)


def _picture(
    name: str, reference: FeatureReference, shares: Sequence[float], now: Sequence[float] | None = None
) -> str:
    title = f"Histogram of {name}"
    ranges = _ranges(reference)
    if drawable(ranges):
        other = Bins(ranges=ranges, shares=now[:-2]) if now is not None else None
        return density(title, Bins(ranges=ranges, shares=shares[:-2]), other)
    names = labels(reference)
    found = [
        Bar(label=label, share=share, now=None if now is None else now[index])
        for index, (label, share) in enumerate(zip(names, shares, strict=True))
        if share or (now is not None and now[index])
    ]
    return bars(title, _largest(found, ordered=reference.kind == "numeric"))


def _largest(found: Sequence[Bar], *, ordered: bool) -> list[Bar]:
    """The largest bars, and the rest in one."""
    ranked = sorted(found, key=lambda bar: -max(bar.share, bar.now or 0.0))
    if len(found) <= MOST_BARS:
        return list(found) if ordered else ranked
    kept, rest = ranked[: MOST_BARS - 1], ranked[MOST_BARS - 1 :]
    if ordered:
        kept = [bar for bar in found if bar in kept]
    now = sum(bar.now or 0.0 for bar in rest) if found[0].now is not None else None
    return [*kept, Bar(label=f"{len(rest)} more", share=sum(bar.share for bar in rest), now=now)]


def _apart(comparison: Comparison) -> Iterator[Markup]:
    if comparison.apart:
        yield element("p", f"Only on one side: {', '.join(comparison.apart)}.")


def _figures(comparison: Comparison) -> Markup:
    columns = (
        "feature",
        "records",
        "PSI",
        "adjusted",
        "JS",
        "KS",
        "Wasserstein / sd",
        "chi-square",
        "df",
        "p",
    )
    rows = []
    for each in comparison.compared:
        sizes, metrics = each.metrics.effect_sizes, each.metrics
        rows.append(
            (
                each.name,
                metrics.sample_size,
                *(sizes.get(size) for size in ("psi", "psi_adj", "js", "ks", "wasserstein_per_sd")),
                metrics.statistic,
                metrics.df,
                metrics.p_value,
            )
        )
    return table(columns, rows)


def _all(profile: ReferenceProfile) -> list[FeatureReference]:
    own = [profile.prediction] if profile.prediction is not None else []
    return [*profile.features.values(), *own]


def _tile(large: str, small: str) -> Markup:
    return element("div", element("b", large), element("span", small), kind="tile")
