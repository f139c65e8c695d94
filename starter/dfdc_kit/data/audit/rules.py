"""The rules of the audit, one function each: a rule looks at the evidence and yields what it finds."""

from collections.abc import Callable, Iterator

import numpy as np

from dfdc_kit.csvtext import as_text
from dfdc_kit.data.audit.file_rules import broken_files, container_leak, copies
from dfdc_kit.data.audit.finding import Evidence, Finding, finding
from dfdc_kit.data.audit.split_rules import (
    class_balance,
    original_on_both_sides,
    part_on_both_sides,
    public_test_as_validation,
    split_out_of_step,
)
from dfdc_kit.data.split import fakes_as_originals


def originals(evidence: Evidence) -> Iterator[Finding]:
    """Originals that are not there, not named, or fakes themselves."""
    catalogue = evidence.catalogue
    known = set(catalogue.names)
    fakes = [catalogue.names[i] for i in np.flatnonzero(catalogue.fake).tolist()]
    original_of = dict(zip(catalogue.names, catalogue.originals, strict=True))
    if orphans := sorted(name for name in fakes if not original_of[name]):
        yield finding(
            "no-original-named",
            "warning",
            "FAKE videos name no original: nobody can tell what must stay on one side with them",
            orphans,
            "Use the challenge's own metadata.json, which names them.",
        )
    if missing := sorted({original_of[name] for name in fakes if original_of[name]} - known):
        yield finding(
            "missing-original",
            "note",
            "originals of FAKE videos are not in this data; splits still keep their fakes together",
            missing,
            "Nothing, for a split. For pairs of REAL and FAKE, use full parts: each holds its own originals.",
        )
    if chained := sorted(fakes_as_originals(catalogue)):
        yield finding(
            "original-is-no-original",
            "error",
            "videos are made from one that is FAKE, or itself made from another: groups cannot be told apart",
            [f"{name} from {original}" for name, original in chained],
            "Get the metadata again: an original is a REAL video.",
        )


def one_class(evidence: Evidence) -> Iterator[Finding]:
    """Labels of one kind only: a sample submission taken for labels, for instance."""
    for listing in evidence.catalogue.listings:
        if listing.fake.any() and listing.fake.all():
            mend = "Use labels that tell both classes apart."
            yield finding(
                "one-class", "warning", f"videos of {listing.file}, all of them, are FAKE", listing.names, mend
            )
        elif not listing.fake.any():
            what = (
                f"videos of {listing.file}, all of them, are REAL: is it a sample submission, with its 0 in every row?"
            )
            yield finding("one-class", "error", what, listing.names, "Use labels, such as a metadata.json.")


def in_two_places(evidence: Evidence) -> Iterator[Finding]:
    """Videos that two metadata files name."""
    if evidence.catalogue.again:
        yield finding(
            "in-two-folders",
            "note",
            "videos are named by more than one metadata file, with the same label",
            [f"{name}: {', '.join(places)}" for name, places in sorted(evidence.catalogue.again.items())],
            "Train on one of the folders only, or count each video once.",
        )


def untouched_rows(evidence: Evidence) -> Iterator[Finding]:
    """Rows of a submission that still hold the sample's 0."""
    if evidence.submission is None:
        return
    columns = evidence.challenge.submission
    ids, labels = evidence.submission.column(columns.row_id), evidence.submission.column(columns.label)
    if ids is None or labels is None:
        return
    untouched = as_text(ids[labels == b"0"])
    sure = f": each costs 34.5 where the video is {columns.positive}"
    cost = sure if evidence.challenge.metric.is_log_loss else ""
    if untouched:
        yield finding(
            "untouched-rows",
            "error",
            f"rows still hold the sample's 0, of {len(ids):,} in {evidence.submission.path}{cost}",
            untouched,
            "Predict every row; where that fails, write 0.5. More: dfdc validate FILE --against sample_submission.csv",
        )


Rule = Callable[[Evidence], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    original_on_both_sides,
    public_test_as_validation,
    copies,
    originals,
    untouched_rows,
    container_leak,
    broken_files,
    one_class,
    class_balance,
    split_out_of_step,
    part_on_both_sides,
    in_two_places,
)
