"""Charts of the pages on numbers: bridges that add up, forecasts with their range, rates with their interval."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from dashboards.charts import BLUE, GREEN, GREY, RED, Chart

LIGHT = "#a0aec0"
COLOURS = (BLUE, "#b7791f", GREEN, "#805ad5", RED, "#319795", "#d53f8c", GREY, "#744210")


def _legend(columns: int) -> alt.Legend:
    return alt.Legend(orient="bottom", columns=columns, labelLimit=0, symbolOpacity=1)


def _precise(frame: pd.DataFrame, form: str) -> str:
    """A form with a digit more where all values lie within a few points."""
    ends = frame[["value", "low", "high"]]
    return ".1%" if form == ".0%" and ends.max().max() - ends.min().min() < 0.08 else form


def bridge(frame: pd.DataFrame, axis: str) -> Chart:
    """Bars that lead from one amount to another, from top to bottom.

    Args:
        frame: columns label, amount and is_total; a total stands on zero, another bar where the one before ended.
        axis: what is drawn, with its unit.
    """
    steps = frame["amount"].where(~frame["is_total"].astype(bool), 0.0)
    opening = frame["amount"].where(frame["is_total"].astype(bool)).ffill().fillna(0.0)
    groups = frame["is_total"].astype(bool).cumsum()
    ends = opening + steps.groupby(groups).cumsum()
    # Steps that are small beside the totals would not be seen on an axis from zero.
    path = pd.concat([ends, ends - steps])
    lowest, highest = float(path.min()), float(path.max())
    near = 0 < highest * 0.6 < lowest < highest
    begins = lowest - (highest - lowest) * 0.15 if near else 0.0
    scale = alt.Scale(domain=[begins, highest + (highest - begins) * 0.02], nice=False) if near else alt.Scale()
    title = f"{axis}; the axis does not begin at zero" if near else axis
    drawn = frame.assign(
        end=ends,
        start=(ends - steps).where(~frame["is_total"].astype(bool), begins),
        kind=[
            "total" if total else "more" if amount >= 0 else "less"
            for total, amount in zip(frame["is_total"], frame["amount"], strict=True)
        ],
    )
    base = alt.Chart(drawn).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=190)),
        tooltip=[alt.Tooltip("label:N", title=" "), alt.Tooltip("amount:Q", title=axis, format=",.2f")],
    )
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=["total", "more", "less"], range=[BLUE, GREEN, RED]),
        legend=_legend(3),
    )
    bars = base.mark_bar().encode(
        x=alt.X("start:Q", title=title, scale=scale, axis=alt.Axis(format="~s", tickCount=6)), x2="end:Q", color=colour
    )
    marks = base.mark_tick(thickness=2, size=14).encode(x="end:Q", color=colour)
    return alt.layer(bars, marks).properties(height=alt.Step(24))


def rates(
    frame: pd.DataFrame,
    axis: str,
    *,
    form: str = ".0%",
    colours: dict[str, str] | None = None,
    rule: float | None = None,
    rule_is: str = "",
) -> Chart:
    """A point with its 90 % interval for each row, from top to bottom.

    Args:
        frame: columns label, value, low and high, and n where it is known; kind where there are several.
        axis: what is drawn, with its unit.
        form: how numbers are written.
        colours: of the kinds, which stand side by side in one row.
        rule: a value all are held against, such as that of the company.
        rule_is: what it is.
    """
    form = _precise(frame, form)
    tooltip = [
        alt.Tooltip("label:N", title=" "),
        *([alt.Tooltip("kind:N", title=" ")] if colours else []),
        alt.Tooltip("value:Q", title=axis, format=form.replace(".0%", ".1%")),
        alt.Tooltip("low:Q", title="90 % from", format=form.replace(".0%", ".1%")),
        alt.Tooltip("high:Q", title="to", format=form.replace(".0%", ".1%")),
        *([alt.Tooltip("n:Q", format=",.0f")] if "n" in frame else []),
    ]
    base = alt.Chart(frame).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=190)), tooltip=tooltip
    )
    colour: Any = alt.value(BLUE)
    if colours:
        base = base.encode(yOffset=alt.YOffset("kind:N", sort=list(colours)))
        colour = alt.Color(
            "kind:N",
            title=None,
            scale=alt.Scale(domain=list(colours), range=list(colours.values())),
            legend=_legend(3),
        )
    style = alt.Axis(format=form, tickCount=6)
    layers = [
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(
            x=alt.X("low:Q", title=axis, axis=style, scale=alt.Scale(zero=False)), x2="high:Q", color=colour
        ),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x=alt.X("value:Q", title=axis, axis=style, scale=alt.Scale(zero=False)), color=colour
        ),
    ]
    if rule is not None and not pd.isna(rule):
        held = pd.DataFrame({"rule": [rule], "is": [rule_is]})
        layers.append(
            alt.Chart(held)
            .mark_rule(color=GREY, strokeDash=[4, 3])
            .encode(x="rule:Q", tooltip=[alt.Tooltip("is:N", title=" "), alt.Tooltip("rule:Q", format=form)])
        )
    return alt.layer(*layers).properties(height=alt.Step(26 if not colours else 18))


def lines(frame: pd.DataFrame, x: str, axis: str, *, form: str = "~s", named: bool = True) -> Chart:
    """Values over time, a line for each kind.

    Args:
        frame: columns x, value and kind, in order.
        x: what runs from left to right.
        axis: what is drawn, with its unit.
    """
    kinds = list(dict.fromkeys(frame["kind"]))
    time = "T" if pd.api.types.is_datetime64_any_dtype(frame["x"]) else "O"
    numbers = pd.api.types.is_numeric_dtype(frame["x"])
    place = alt.X(
        f"x:{'Q' if numbers else time}",
        title=x,
        sort=None,
        scale=alt.Scale(reverse=True, nice=False) if numbers else alt.Undefined,
        axis=alt.Axis(labelAngle=0, tickMinStep=1, labelOverlap=True),
    )
    return (
        alt.Chart(frame)
        .mark_line(point=True)
        .encode(
            x=place,
            y=alt.Y("value:Q", title=axis, axis=alt.Axis(format=form, tickCount=6)),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=kinds, range=list(COLOURS[: len(kinds)])),
                legend=_legend(3) if named else None,
            ),
            tooltip=[
                alt.Tooltip("kind:N", title=" "),
                alt.Tooltip(f"x:{'Q' if numbers else time}", title=x),
                alt.Tooltip("value:Q", title=axis, format=form.replace(".0%", ".1%")),
            ],
        )
        .properties(height=300 if len(kinds) < 4 else 380)
    )


def fan(frame: pd.DataFrame, axis: str, *, target: float | None = None, actual: float | None = None) -> Chart:
    """What was said of a period week by week, with its range, above what had been won by then.

    Args:
        frame: columns forecast_on, forecast_amount, low, high and booked_amount.
        axis: what is drawn, with its unit.
        target: what is planned.
        actual: what came.
    """
    style = alt.Axis(format="~s", tickCount=6)
    base = alt.Chart(frame).encode(
        x=alt.X("forecast_on:T", title=None, axis=alt.Axis(format="%d %b", labelOverlap=True)),
        tooltip=[
            alt.Tooltip("forecast_on:T", title="Told on", format="%Y-%m-%d"),
            alt.Tooltip("forecast_amount:Q", title="Forecast", format=",.0f"),
            alt.Tooltip("low:Q", title="From", format=",.0f"),
            alt.Tooltip("high:Q", title="To", format=",.0f"),
            alt.Tooltip("booked_amount:Q", title="Won by then", format=",.0f"),
        ],
    )
    kinds = alt.Scale(domain=["forecast", "won by then", "target", "what came"], range=[BLUE, GREY, RED, GREEN])
    layers: list[alt.Chart] = [
        base.mark_area(color=BLUE, opacity=0.18).encode(y=alt.Y("low:Q", title=axis, axis=style), y2="high:Q"),
        base.transform_calculate(kind="'forecast'")
        .mark_line(point=True)
        .encode(
            y=alt.Y("forecast_amount:Q", title=axis, axis=style),
            color=alt.Color("kind:N", title=None, scale=kinds, legend=_legend(2)),
        ),
        base.transform_calculate(kind="'won by then'")
        .mark_line()
        .encode(y=alt.Y("booked_amount:Q", title=axis, axis=style), color=alt.Color("kind:N", scale=kinds)),
    ]
    for kind, value in (("target", target), ("what came", actual)):
        if value is not None and not pd.isna(value):
            layers.append(
                alt.Chart(pd.DataFrame({"value": [value], "kind": [kind]}))
                .mark_rule(strokeDash=[5, 3], strokeWidth=2)
                .encode(
                    y=alt.Y("value:Q", title=axis, axis=style),
                    color=alt.Color("kind:N", scale=kinds),
                    tooltip=[alt.Tooltip("kind:N", title=" "), alt.Tooltip("value:Q", title=axis, format=",.0f")],
                )
            )
    return alt.layer(*layers).properties(height=320)


def results(frame: pd.DataFrame, axis: str) -> Chart:
    """What quarters brought, and what the next are to bring with their range.

    Args:
        frame: columns quarter, won, median, p10, p90 and target; median to p90 only where the result is not known.
        axis: what is drawn, with its unit.
    """
    base = alt.Chart(frame).encode(
        x=alt.X("quarter:O", sort=None, title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        tooltip=[
            alt.Tooltip("quarter:O", title=" "),
            alt.Tooltip("won:Q", title="Won", format=",.0f"),
            alt.Tooltip("median:Q", title="To be expected", format=",.0f"),
            alt.Tooltip("p10:Q", title="From", format=",.0f"),
            alt.Tooltip("p90:Q", title="To", format=",.0f"),
            alt.Tooltip("target:Q", title="Target", format=",.0f"),
        ],
    )
    kinds = alt.Scale(domain=["won", "to be expected, 4 of 5 within", "target"], range=[LIGHT, BLUE, RED])
    legend = _legend(2)
    style = alt.Axis(format="~s", tickCount=6)

    kind = alt.Color("kind:N", title=None, scale=kinds, legend=legend)
    return alt.layer(
        base.transform_calculate(kind="'won'").mark_bar().encode(y=alt.Y("won:Q", title=axis, axis=style), color=kind),
        base.transform_calculate(kind="'to be expected, 4 of 5 within'")
        .mark_rule(strokeWidth=9, opacity=0.35)
        .encode(y=alt.Y("p10:Q", title=axis, axis=style), y2="p90:Q", color=kind),
        base.transform_calculate(kind="'to be expected, 4 of 5 within'")
        .mark_point(filled=True, size=90, opacity=1)
        .encode(y=alt.Y("median:Q", title=axis, axis=style), color=kind),
        base.transform_calculate(kind="'target'")
        .mark_tick(thickness=2, size=26)
        .encode(y=alt.Y("target:Q", title=axis, axis=style), color=kind),
    ).properties(height=300)


def told_and_come(frame: pd.DataFrame) -> Chart:
    """Chances told beside how often it came so; what is calibrated lies on the line.

    Args:
        frame: columns mean_predicted, observed_rate, observed_low, observed_high and deal_count.
    """
    style = alt.Axis(format=".0%", tickCount=6)
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("mean_predicted:Q", title="Chance told", axis=style, scale=scale)
    ideal = pd.DataFrame({"mean_predicted": [0.0, 1.0], "ideal": [0.0, 1.0]})
    base = alt.Chart(frame).encode(
        x=x,
        tooltip=[
            alt.Tooltip("bin:N", title="Told"),
            alt.Tooltip("mean_predicted:Q", title="On average", format=".1%"),
            alt.Tooltip("observed_rate:Q", title="Came", format=".1%"),
            alt.Tooltip("observed_low:Q", title="90 % from", format=".1%"),
            alt.Tooltip("observed_high:Q", title="to", format=".1%"),
            alt.Tooltip("deal_count:Q", title="Deals", format=",.0f"),
        ],
    )
    return alt.layer(
        alt.Chart(ideal).mark_line(color=GREY, strokeDash=[4, 3]).encode(x=x, y="ideal:Q"),
        base.mark_rule(color=BLUE, strokeWidth=2, opacity=0.6).encode(
            y=alt.Y("observed_low:Q", title="Came so", axis=style, scale=scale), y2="observed_high:Q"
        ),
        base.mark_point(color=BLUE, filled=True, size=70, opacity=1).encode(
            y=alt.Y("observed_rate:Q", title="Came so", axis=style, scale=scale)
        ),
    ).properties(height=320)


def bars(frame: pd.DataFrame, axis: str, *, colours: dict[str, str], form: str = "~s", lying: bool = True) -> Chart:
    """Amounts or counts by label, stacked or side by side by kind.

    Args:
        frame: columns label, kind and value, in order.
        colours: of the kinds, in the order in which they are stacked.
        lying: bars lie and are stacked; else they stand side by side.
    """
    order = list(colours)
    drawn = frame.assign(place=frame["kind"].map({name: place for place, name in enumerate(order)}))
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=order, range=list(colours.values())),
        legend=_legend(2) if len(order) > 1 else None,
    )
    tooltip = [
        alt.Tooltip("label:N", title=" "),
        alt.Tooltip("kind:N", title=" "),
        alt.Tooltip("value:Q", title=axis, format=",.0f"),
    ]
    style = alt.Axis(format=form, tickCount=6)
    base = alt.Chart(drawn).mark_bar()
    if lying:
        return base.encode(
            y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=190)),
            x=alt.X("value:Q", title=axis, axis=style),
            color=colour,
            order="place:Q",
            tooltip=tooltip,
        ).properties(height=alt.Step(26))
    return base.encode(
        x=alt.X("label:N", sort=None, title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        xOffset=alt.XOffset("kind:N", sort=order),
        y=alt.Y("value:Q", title=axis, axis=style),
        color=colour,
        tooltip=tooltip,
    ).properties(height=300)


def coloured_rates(
    frame: pd.DataFrame, axis: str, *, colours: dict[str, str], form: str = ".0%", rule: float = 0.0
) -> Chart:
    """Points with their 90 % interval, one a row, in the colour of their kind.

    Args:
        frame: columns label, value, low, high, n and kind.
        axis: what is drawn, with its unit.
        colours: of the kinds.
        rule: what all are held against.
    """
    sign = "+" if rule == 0 else ""
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        legend=_legend(3),
    )
    style = alt.Axis(format=form, tickCount=6)
    base = alt.Chart(frame).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=190)),
        color=colour,
        tooltip=[
            alt.Tooltip("label:N", title=" "),
            alt.Tooltip("kind:N", title=" "),
            alt.Tooltip("value:Q", title=axis, format=f"{sign}.1%"),
            alt.Tooltip("low:Q", title="90 % from", format=f"{sign}.1%"),
            alt.Tooltip("high:Q", title="to", format=f"{sign}.1%"),
            alt.Tooltip("n:Q", format=",.0f"),
        ],
    )
    held = alt.Chart(pd.DataFrame({"rule": [rule]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x="rule:Q")
    return alt.layer(
        held,
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=alt.X("low:Q", title=axis, axis=style), x2="high:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=alt.X("value:Q", title=axis, axis=style)),
    ).properties(height=alt.Step(20))


def band(frame: pd.DataFrame, axis: str, *, form: str = ".0%") -> Chart:
    """A share over time, with its 90 % interval around it.

    Args:
        frame: columns x, value, low, high and n, in order.
        axis: what is drawn.
    """
    style = alt.Axis(format=_precise(frame, form), tickCount=6)
    base = alt.Chart(frame).encode(
        x=alt.X("x:O", sort=None, title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        tooltip=[
            alt.Tooltip("x:O", title=" "),
            alt.Tooltip("value:Q", title=axis, format=".1%"),
            alt.Tooltip("low:Q", title="90 % from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
            alt.Tooltip("n:Q", format=",.0f"),
        ],
    )
    scale = alt.Scale(zero=False)
    return alt.layer(
        base.mark_area(color=BLUE, opacity=0.18).encode(
            y=alt.Y("low:Q", title=axis, axis=style, scale=scale), y2="high:Q"
        ),
        base.mark_line(color=BLUE, point=True).encode(y=alt.Y("value:Q", title=axis, axis=style, scale=scale)),
    ).properties(height=260)
