"""What the page of the bench says around its tables."""

from textwrap import dedent

from consumers.driftbench.series import LATE, MARGIN


def _paragraph(text: str) -> str:
    return " ".join(dedent(text).split())


METHOD = _paragraph("""
    A window has 100 items, a reference the 100 windows before the stream is watched; each change, and
    each piece of at most 6,400 windows without one, learn another reference (of a cycle, ten days).
    Ours and river's detectors on window means are parts of a policy: profiles are built by
    `domain/windows/build`, windows become rows, `domain/judgement` judges them, and the episodes it
    opens are what is counted. Alarms of fixed thresholds and of river's detectors on items are made
    into episodes by the same rules. That hides how often they alarm, for an episode that never ends
    counts once: the share of windows in which they alarm stands beside it.
""")

FALSE_ALARMS = _paragraph("""
    Episodes per 10,000 windows in which nothing changed, with the upper bound at 95 % (Clopper and
    Pearson). The budget is what the policy's parts declare together (`lifecycle drift budget`): `held`
    says that the bound is within it, `broken` that the lower bound is above it, `open` that more
    windows would have to be watched to tell.
""")


def delays(runs: int, controls: int) -> str:
    return _paragraph(f"""
        Median number of windows until the first episode after a change, over {runs} changes ({controls}
        for river's detectors and fixed thresholds); 1 is the first changed window. Changes fall
        anywhere in a long block, 192 windows or more after the start. In parentheses stands the share
        that was missed within 400 windows; `early` is the share of runs in which an episode had opened
        before there was anything to find, and those are left out of the rest. A dash says that more
        than half were missed.
    """)


COST = _paragraph("""
    Microseconds of CPU of one window's verdict, on the machine that wrote this page. Of the parts of a
    policy that is the judge's whole work on the window's rows; of detectors on items and of fixed
    thresholds it is the detector alone, which has to read every item. The product counted the items
    already when the window closed (`lifecycle bench tally`).
""")

SERIES = _paragraph(f"""
    The series of the Turing Change Point Dataset that river ships, cut to what the annotators saw, and
    their marks. Agreement is that of van den Burg and Williams (arXiv:2003.06222): a mark is met by an
    alarm at most {MARGIN} observations away, precision is against the marks of all annotators together,
    recall is the mean over annotators, observation 0 is a mark in every set, and covering compares the
    segments. An online detector cannot be early and is often late, so F1 is also given with alarms from
    the mark to {LATE} observations after it.
""")

SERIES_USE = _paragraph("""
    These are not windows of a model that is well until it drifts: they wander before, between and after
    the marks, and are a few hundred observations long. Every series is scaled by its first tenth (10 to
    30 observations). bucket-ADWIN takes each observation as a window, with the phi of the first tenth;
    roll-up and e-SR take windows of 5 over 5 bins of the first tenth, and after an alarm learn the next
    ones, as a retrained version would; river's detectors take observations, or means of 5, with their
    defaults. `never` does not alarm at all: what agrees less than it is no help on these series.
""")
