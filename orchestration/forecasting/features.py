"""What the outcome model may look at, why each of it is known on the day, and the guard that refuses what leaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NUMBER, CATEGORY = "number", "category"
CATEGORIES_AT_MOST = 12


@dataclass(frozen=True)
class Feature:
    """A column of `int_outcome_features` on the list.

    Attributes:
        kind: `number` (flags are 0 and 1) or `category` (one column a value).
        why_known: why its value was known at the end of the day of the review.
        words: what a reader calls it; empty where a deal's place in the process is described, which is no factor.
        absent: what a reader is told where there is no value.
    """

    name: str
    kind: str
    why_known: str
    words: str = ""
    absent: str = "none"


HISTORY = "from the deal's history, which holds what each field said at the end of the day"
HELD = "counts only what had been held and was recorded by the end of the day"
CLOSED = "other deals of the account that had closed by then"
JOB = "from the owner's job on the day, the account's segment where it has one"

FEATURES = [
    Feature("stage_order", NUMBER, HISTORY),
    Feature("opportunity_type", CATEGORY, "what is sold, set when the deal is opened"),
    Feature("segment", CATEGORY, JOB, "segment"),
    Feature("region", CATEGORY, JOB, "region"),
    Feature("forecast_category", CATEGORY, HISTORY, "what the owner calls it"),
    Feature("amount", NUMBER, HISTORY, "amount"),
    Feature("age_days", NUMBER, "days since it was created", "age in days"),
    Feature("days_in_stage", NUMBER, HISTORY, "days in the stage"),
    Feature("stage_days_norm", NUMBER, "of deals won before the month began"),
    Feature("days_to_close", NUMBER, HISTORY, "days to the close date"),
    Feature("quiet_days", NUMBER, HELD, "days without activity"),
    Feature("unanswered_days", NUMBER, HELD, "days without an answer"),
    Feature("unanswered_count", NUMBER, HELD, "attempts without an answer"),
    Feature("buyer_count", NUMBER, HELD, "people at the buyer"),
    Feature("economic_buyer_count", NUMBER, HELD, "economic buyer reached"),
    Feature("push_count", NUMBER, HISTORY, "times pushed past a quarter"),
    Feature("push_days", NUMBER, HISTORY, "days pushed"),
    Feature("next_step_days", NUMBER, HELD, "days since a next step was agreed"),
    Feature("booked_count", NUMBER, "meetings in the calendar at the end of the day", "meetings booked"),
    Feature("regression_count", NUMBER, HISTORY, "steps back"),
    Feature("required_count", NUMBER, "from the stage and the policy"),
    Feature("verified_count", NUMBER, "assessments made and recorded by the end of the day", "facts verified"),
    Feature("claimed_count", NUMBER, "assessments made and recorded by the end of the day", "facts claimed"),
    Feature("amount_kept_share", NUMBER, HISTORY, "share of the amount kept"),
    Feature("hours_spent", NUMBER, HELD, "hours spent on it"),
    Feature("owner_days", NUMBER, HISTORY, "days since the owner changed", "never"),
    Feature("account_won_count", NUMBER, CLOSED, "deals won with the account"),
    Feature("account_not_won_count", NUMBER, CLOSED, "deals not won with it"),
    Feature("has_new_owner_met", NUMBER, HELD, "new owner has met the buyer"),
    Feature("has_specialist", NUMBER, HELD, "a specialist took part"),
    Feature(
        "has_unanswered_competitor",
        NUMBER,
        "named while the deal was open",
        "competitor unanswered",
    ),
    Feature("is_executive_unanswered", NUMBER, HELD, "an executive was not answered"),
]
# What the review is called by, and what pooled rates and dates stand on; never given to the model as it is.
OTHERS = {
    "opportunity_id", "owner_id", "snapshot_date", "close_date", "stage", "stage_time", "month_end", "quarter_start",
    "quarter_end", "is_week_end",
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """The columns of a design matrix: of each, the feature it comes from and, for a category, the value it marks."""

    features: list[str]
    values: list[str | None]


def unlisted(frame: pd.DataFrame) -> list[str]:
    """A sentence for each column of the features model that nobody has put on the list: it is not used."""
    known = {feature.name for feature in FEATURES} | OTHERS
    return [
        f"{name} is not used: it is not on the list of what is known on the day." for name in frame if name not in known
    ]


def choose_columns(frame: pd.DataFrame, features: list[Feature]) -> Columns:
    """The design of a model that is trained on `frame`: of each category the most frequent values, by name.

    A number that is never there is left out.
    """
    names: list[str] = []
    values: list[str | None] = []
    for feature in features:
        if feature.kind == NUMBER:
            if frame[feature.name].notna().any():
                names.append(feature.name)
                values.append(None)
            continue
        counts = frame[feature.name].dropna().value_counts()
        frequent = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))[:CATEGORIES_AT_MOST]
        for value in sorted(str(value) for value, _ in frequent):
            names.append(feature.name)
            values.append(value)
    return Columns(names, values)


def design(frame: pd.DataFrame, columns: Columns) -> Floats:
    """Rows × columns; what is not known is not a number."""
    matrix = np.empty((len(frame), len(columns.features)), order="F")
    for place, (name, value) in enumerate(zip(columns.features, columns.values, strict=True)):
        if value is None:
            matrix[:, place] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            matrix[:, place] = (frame[name] == value).to_numpy(dtype=np.float64, na_value=0.0)
    return matrix


def refuse_afterthoughts(
    frame: pd.DataFrame, features: list[Feature], is_decided: Bools, filled_share: float
) -> tuple[list[Feature], list[str]]:
    """Which features may be used, and a sentence for each that is only filled once a deal is decided.

    Args:
        is_decided: whether the deal of the review has ended by the as-of date.
        filled_share: below which a feature counts as not filled on deals still open.
    """
    kept, sentences = [], []
    for feature in features:
        filled = frame[feature.name].notna().to_numpy()
        if (
            (~is_decided).sum() >= 50
            and is_decided.any()
            and filled[~is_decided].mean() < filled_share
            and filled[is_decided].mean() > 0.5
        ):
            sentences.append(
                f"{feature.name} is refused: filled on {filled[is_decided].mean():.0%} of reviews of decided deals and "
                f"{filled[~is_decided].mean():.0%} of reviews of deals still open, so it is written when a deal ends."
            )
        else:
            kept.append(feature)
    return kept, sentences


def refuse_oracles(
    frame: pd.DataFrame, features: list[Feature], is_decided: Bools, is_won: Bools, discrimination: float
) -> tuple[list[Feature], list[str]]:
    """Which features may be used, and a sentence for each that by itself tells which deals are won.

    It is tried on the earlier half of the reviews and held against the later one, as no honest feature could stand.

    Args:
        frame: reviews before a cut-off, in the order of their days.
        is_decided: whether the deal had ended by the cut-off; and whether it was won.
        discrimination: area under the curve from which a single feature is too good.
    """
    kept, sentences = [], []
    is_later = np.arange(len(frame)) >= len(frame) // 2
    for feature in features:
        codes = _codes(frame[feature.name], feature.kind)
        area = _area(codes, is_won, ~is_later & is_decided, is_later & is_decided)
        if area is not None and area > discrimination:
            sentences.append(
                f"{feature.name} is refused: alone it tells won from other deals with {area:.3f} of the area under the "
                f"curve on later deals (at most {discrimination:g} is believed), so it knows the outcome."
            )
        else:
            kept.append(feature)
    return kept, sentences


def _codes(column: pd.Series, kind: str) -> npt.NDArray[np.int64]:
    """Twenty bins of a number, or the values of a category; 0 is not known."""
    if kind == CATEGORY:
        return pd.factorize(column, sort=True)[0].astype(np.int64) + 1
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return np.zeros(len(numbers), dtype=np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, 21)[1:-1]))
    codes = np.searchsorted(edges, numbers, side="right") + 1
    return np.where(np.isnan(numbers), 0, codes)


def _area(codes: npt.NDArray[np.int64], is_won: Bools, tried: Bools, held: Bools) -> float | None:
    """Area under the curve on `held` of the share won by code on `tried`; None with too few of either."""
    won, lost = int((held & is_won).sum()), int((held & ~is_won).sum())
    if min(won, lost) < 50 or tried.sum() < 100:
        return None
    size = int(codes.max()) + 1
    n = np.bincount(codes[tried], minlength=size)
    share = (np.bincount(codes[tried], weights=is_won[tried], minlength=size) + is_won[tried].mean()) / (n + 1)
    order, place = np.unique(share, return_inverse=True)
    winners = np.bincount(place[codes[held & is_won]], minlength=len(order))
    losers = np.bincount(place[codes[held & ~is_won]], minlength=len(order))
    below = np.cumsum(losers) - losers
    return float((winners * (below + losers / 2)).sum() / (won * lost))
