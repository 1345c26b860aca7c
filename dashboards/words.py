"""What the marts say about a deal, in sentences: the pages and the weekly pack use the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from dashboards.parts import MISSING, day, written

VERDICTS = {
    "extra_effort": "extra effort",
    "attention": "attention",
    "de_resource": "let go",
    "on_track": "on track",
}
VERDICT_MEANINGS = {
    "extra_effort": "large, in the balance, and there is something somebody can do",
    "attention": "something is wrong",
    "de_resource": "the effort that remains costs more than it can bring",
    "on_track": "nothing that calls for a review",
}
SIGNALS = {
    "competitor": "competitor",
    "handover": "handover",
    "no_power": "nobody who can sign",
    "single_threaded": "one contact only",
    "value_erosion": "value falls",
    "ghosted": "no answer",
    "no_technical_proof": "no technical proof",
    "stalled": "stalled",
    "repeated_push": "pushed again",
    "no_next_step": "no next step",
    "quiet": "quiet",
    "unqualified": "not qualified",
    "regression": "went back",
    "category_mismatch": "called too high",
    "impossible_date": "date too soon",
    "overdue": "overdue",
}
FUNCTIONS = {
    "executive": "an executive",
    "manager": "the manager",
    "deal_desk": "the deal desk",
    "technical": "a technical specialist",
    "product": "product",
    "legal": "legal",
    "sales_ops": "sales operations",
}


def known(value: Any) -> bool:
    """Whether a cell says anything."""
    return value is not None and not pd.isna(value)


def each(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows of a frame, a column an attribute."""
    return iter(frame.itertuples(index=False))


def plural(number: float, one: str, many: str = "") -> str:
    """`1 day`, `2 days`."""
    return f"{number:,.0f} {one if round(number) == 1 else many or one + 's'}"


def verdict_name(verdict: Any) -> str:
    return VERDICTS.get(str(verdict), str(verdict).replace("_", " ")) if known(verdict) else MISSING


def signal_name(signal: Any) -> str:
    """The short name of a signal; one that policy has added is told by its own."""
    return SIGNALS.get(str(signal), str(signal).replace("_", " "))


def function_name(function: Any) -> str:
    return FUNCTIONS.get(str(function), str(function).replace("_", " "))


def pooled_chance(row: Any) -> str:
    """The chance a verdict rests on beside the one that is told: the model's is told, pooled rates judge."""
    if row.verdict not in ("extra_effort", "de_resource") or row.p_method == "pooled" or not known(row.p_win_pooled):
        return ""
    n = f", n = {row.p_n:,} reviews" if known(row.p_n) else ""
    rests_on = "it and on that" if row.verdict == "de_resource" else "that"
    return f"the verdict rests on {rests_on} of like deals, {written(row.p_win_pooled, 'percent')}{n}"


def deal_name(name: Any, account: Any, opportunity_id: str) -> str:
    """What people call a deal: its name and its buyer, or its id where it has no name."""
    parts = [str(part) for part in (name, account) if known(part) and str(part).strip()]
    return " · ".join(parts if known(name) and str(name).strip() else [*parts, opportunity_id])


def percent(share: float) -> str:
    """0.953 as `95 %`."""
    return f"{share * 100:.0f} %"


def times(number: float) -> str:
    return {1: "once", 2: "twice"}.get(round(number), f"{number:,.0f} times")


def share_of(share: float) -> str:
    """0.9 as `9 in 10`."""
    tenths, quarters = share * 10, share * 4
    if abs(tenths - round(tenths)) < 1e-9:
        return f"{tenths:.0f} in 10"
    return f"{quarters:.0f} in 4" if abs(quarters - round(quarters)) < 1e-9 else percent(share)


def evidence(row: Any) -> str:
    """What a signal saw, beside what it is held against and how many deals that rests on.

    Args:
        row: signal, value, norm, norm_percentile, norm_n and norm_level of `funnel.deal_signals`.
    """
    signal, value, norm = row.signal, row.value, row.norm
    deals = f"{row.norm_n:,.0f} deals won in the same {row.norm_level}" if known(row.norm_n) else "deals won"
    if row.norm_level == "all commits that won":
        deals = f"{row.norm_n:,.0f} commits that won"
    at_most = f"{share_of(row.norm_percentile)} of {deals}" if known(row.norm_percentile) else f"most of {deals}"
    at_least = f"{share_of(1 - row.norm_percentile)} of {deals}" if known(row.norm_percentile) else f"most of {deals}"
    if not known(value) or not known(norm):
        return MISSING
    if signal == "stalled" and value <= 1:
        return (
            f"Deals as long in this stage were won in {percent(value)} of cases; the limit is {percent(norm)}, "
            "from what it is when a deal comes to the stage."
        )
    if signal == "stalled":
        return f"{plural(value, 'day')} in this stage; {at_most} had spent at most {norm:,.0f}."
    if signal == "repeated_push":
        pushed = f"Put off past the end of a quarter {times(value)}"
        if value <= norm:
            return f"{pushed}, by more days than half of the usual cycle of {deals}."
        return f"{pushed}; {at_most} had been {f'at most {times(norm)}' if norm else 'never'}."
    if signal == "impossible_date":
        return f"{plural(value, 'day')} to the close date; from this stage {at_least} took {norm:,.0f} or more."
    if signal == "overdue":
        return f"{plural(value, 'day')} past its close date; the limit is {norm:,.0f}."
    if signal == "quiet":
        return f"{plural(value, 'day')} without any activity; {at_most} had at most {norm:,.0f}."
    if signal == "ghosted":
        return f"{plural(value, 'day')} since the buyer last answered; {at_most} had at most {norm:,.0f}."
    if signal == "no_next_step":
        agreed = f"{plural(value, 'day')} since a next step was agreed, and no meeting booked"
        return f"{agreed}; {at_most} had at most {norm:,.0f}."
    if signal == "single_threaded":
        return f"{plural(value, 'person', 'people')} at the buyer; {at_least} had {norm:,.0f} or more."
    if signal == "no_power":
        return f"In {percent(value)} of {deals} somebody had by now; it is expected from {percent(norm)} on."
    if signal == "no_technical_proof":
        return f"In {percent(value)} of {deals} one had by now; it is expected from {percent(norm)} on."
    if signal == "unqualified":
        return f"{plural(value, 'fact')} that must be known at this stage are not; the limit is {norm:,.0f}."
    if signal == "regression":
        return f"Went back, or skipped stages, {times(value)}."
    if signal == "value_erosion":
        return f"{percent(value)} of the amount is left; the limit is {percent(norm)}."
    if signal == "competitor":
        return "A competitor is named on the deal, and no answer is recorded since."
    if signal == "handover":
        return f"{plural(value, 'day')} since the owner changed; until they meet, it counts as open for {norm:,.0f}."
    if signal == "category_mismatch":
        return f"Called commit with a chance of {percent(value)}; {at_least} had {percent(norm)} or more."
    return f"{value:,.2f} against {norm:,.2f} ({deals})."


def forecast_sentences(outlook: pd.DataFrame, as_of: Any, currency: str) -> list[str]:
    """What each period will bring, one sentence or two each.

    Args:
        outlook: rows of the outlook of one scope, with the name of the period in `period`.
    """
    return [_forecast(row, pd.Timestamp(as_of), currency) for row in each(outlook)]


def _forecast(row: Any, as_of: pd.Timestamp, currency: str) -> str:
    def money(value: Any) -> str:
        return written(value, "money", currency)

    start, end = pd.Timestamp(row.period_start), pd.Timestamp(row.period_end)
    against = "; no target is known"
    if known(row.target) and known(row.gap):
        side = "short of" if row.gap > 0 else "above"
        against = f", {money(abs(row.gap))} {side} the target of {money(row.target)}"
    if end <= as_of:
        text = (
            f"{row.period} ends {'today' if end == as_of else f'on {day(end)}'} with {money(row.booked)} won{against}."
        )
        return f"{text} The last commit was {money(row.commit_amount)}." if known(row.commit_amount) else text
    if not known(row.median):
        return f"{row.period}: not enough data for a forecast; {money(row.booked)} is won{against}."
    text = (
        f"{row.period}: {money(row.median)} is to be expected{against}. Four results out of five lie between "
        f"{money(row.p10)} and {money(row.p90)}."
    )
    if start <= as_of:
        text += f" {money(row.booked)} is won."
    return f"{text} The commit is {money(row.commit_amount)}." if known(row.commit_amount) else text
