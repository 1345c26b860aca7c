"""What a batch must be before it enters the raw zone."""

from __future__ import annotations

from orchestration.quality.expectation import Expectation, no_rows


def landing_expectations(limits: dict[str, float]) -> list[Expectation]:
    """The landing gate's suite.

    Args:
        limits: seeds/gate_limits.csv.
    """
    return [
        no_rows(
            "files_can_be_used",
            "findings",
            "select sentence from {batch} where effect = 'refuse'",
            sentence="{sentence}",
            why="A file that is cut off, empty or without a required column would look like deleted deals.",
            what_to_do="mend the export as the sentence says and run again",
        ),
        no_rows(
            "few_rows_in_quarantine",
            "files",
            "select file, quarantined, landed, example from {batch} "
            f"where quarantined > {limits['quarantined_share']} * landed",
            sentence="{file}: {quarantined:,} of {landed:,} rows cannot be used, for example {example}",
            why="When much of a file is wrong the export is broken, and totals without those rows would mislead.",
            what_to_do="correct the export, or teach seeds/ its words, and run again",
        ),
        no_rows(
            "required_files_have_rows",
            "files",
            # Where most rows are in quarantine, that has been said.
            "select file from {batch} where is_required and accepted + previous - deleted <= 0 "
            f"and quarantined <= {limits['quarantined_share']} * landed",
            sentence="{file}, line 2: there is no row that can be used; export it again with its rows",
            why="Every mart stands on people, accounts and opportunities.",
            what_to_do="export it again with its rows",
        ),
        no_rows(
            "few_deletions",
            "files",
            "select file, deleted, previous from {batch} "
            f"where deleted >= {limits['deleted_minimum']} and deleted > {limits['deleted_share']} * previous",
            sentence="{file}: {deleted:,} of the {previous:,} rows known so far are gone from this full extract",
            why="A file cut off between two rows looks complete; taking it for full would delete the rest.",
            what_to_do="export it again; if the rows are really gone raise deleted_share in seeds/gate_limits.csv",
        ),
        no_rows(
            "every_row_is_accounted_for",
            "files",
            "select file, landed, accepted, quarantined, superseded from {batch} "
            "where landed != accepted + quarantined + superseded",
            sentence="{file}: {landed:,} landed but {accepted:,} + {quarantined:,} + {superseded:,} are accounted for",
            why="Nothing is dropped silently.",
            what_to_do="this is a fault of Sightline: report it with the file",
        ),
        no_rows(
            "extract_is_not_from_the_future",
            "batch",
            "select extracted_at, landed_at from {batch} where extracted_at > landed_at + interval 1 day",
            sentence="extract.json says {extracted_at} but it is {landed_at} now",
            why="What is known in the future would be told as if it were known today.",
            what_to_do="correct extracted_at in extract.json, or the clock",
        ),
    ]
