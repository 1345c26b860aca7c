"""Charts that pages and the documentation's pictures share: each takes rows and says in its title what they show."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

# A page makes charts as wide as there is room; on it a height holds title and legend, too.
WIDTH, TALL = 560, 340
BLUE, GREY, RED, GREEN, YELLOW = "#2b6cb0", "#718096", "#c53030", "#2f855a", "#b7791f"
Chart = alt.Chart | alt.LayerChart | alt.FacetChart


def measured(frame: pd.DataFrame, label: str, value: str, n: str, *, norm: str | None = None) -> pd.DataFrame:
    """Rows for `intervals`: those of a mart, each named with how much it stands on.

    Args:
        frame: rows of a mart, with the ends of the interval in `<value>_low` and `<value>_high`.
        label: the column with the name.
        value: the column with what was measured.
        n: the column with how many it stands on.
        norm: the column with what it is held against.
    """
    rows = frame.assign(
        label=frame[label] + " (n " + frame[n].astype(str) + ")",
        value=frame[value],
        low=frame[f"{value}_low"],
        high=frame[f"{value}_high"],
    )
    return rows.assign(norm=frame[norm]) if norm else rows


def intervals(
    frame: pd.DataFrame,
    axis: str,
    title: str,
    *,
    percent: bool = True,
    zero: bool = True,
    norm_is: str = "",
    marks: str = "Point: value. Line: 90 % interval.",
) -> Chart:
    """A point with its interval a row, and a tick where it is held against something.

    Args:
        frame: columns label, value, low, high, and norm where there is one; drawn from top to bottom.
        axis: what is drawn, with its unit.
        title: what the picture says.
        percent: values are shares.
        zero: the axis begins at zero.
        norm_is: what the tick is.
        marks: what point and line are.
    """
    style = alt.Axis(format=".0%" if percent else "~s", title=axis, titleAnchor="start", tickCount=8)
    rows = alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=230, labelFlush=False))
    base = alt.Chart(frame).encode(y=rows)
    layers: list[alt.Chart] = [
        base.mark_rule(color=GREY, strokeWidth=2).encode(
            x=alt.X("low:Q", axis=style, scale=alt.Scale(zero=zero)), x2="high:Q"
        ),
        base.mark_point(color=BLUE, filled=True, size=70, opacity=1).encode(x="value:Q"),
    ]
    if "norm" in frame:
        layers.append(base.mark_tick(color=RED, thickness=2, size=16).encode(x="norm:Q"))
    subtitle = marks + (f" Red: {norm_is}." if norm_is else "")
    return alt.layer(*layers).properties(width=WIDTH - 220, title=alt.Title(title, subtitle=subtitle, anchor="start"))


def curve(frame: pd.DataFrame, x: str, axis: str, title: str) -> Chart:
    """A share over time with its interval as a band; columns x, value, low, high."""
    kind = "Q" if pd.api.types.is_numeric_dtype(frame.x) else "O"
    base = alt.Chart(frame).encode(x=alt.X(f"x:{kind}", title=x, axis=alt.Axis(labelAngle=0)))
    style = alt.Axis(format=".0%", title=axis)
    return alt.layer(
        base.mark_area(color=BLUE, opacity=0.2).encode(y=alt.Y("low:Q", axis=style), y2="high:Q"),
        base.mark_line(color=BLUE, point=True).encode(y="value:Q"),
    ).properties(
        width=WIDTH - 80,
        height=220,
        title=alt.Title(title, subtitle="Line: value. Band: 90 % interval.", anchor="start"),
    )


def table(frame: pd.DataFrame, widths: Sequence[int], title: str, *, colours: pd.Series | None = None) -> Chart:
    """Rows as they stand in the table, words and all.

    Args:
        frame: texts; its columns are the heads.
        widths: of the columns, in characters; longer texts are broken into lines.
        title: what the picture says.
        colours: of the first column, one a row.
    """
    step, height = 6.1, 15
    cells, top, head = [], 28.0, []
    left = [sum(widths[:place]) * step for place in range(len(widths))]
    for place, name in enumerate(frame.columns):
        head.append({"x": left[place], "y": 8.0, "text": name, "colour": GREY, "is_head": True})
    for number, row in enumerate(frame.itertuples(index=False)):
        broken = [_broken(str(text), width - 2) for text, width in zip(row, widths, strict=True)]
        for place, lines in enumerate(broken):
            colour = "#1a202c" if colours is None or place else colours.iloc[number]
            cells += [
                {"x": left[place], "y": top + height * line, "text": text, "colour": colour, "is_head": False}
                for line, text in enumerate(lines)
            ]
        top += height * max(map(len, broken)) + 7
    drawn = pd.DataFrame(head + cells)
    width = sum(widths) * step
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, width]), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, top], reverse=True), axis=None)
    return (
        alt.Chart(drawn)
        .mark_text(align="left", baseline="top", fontSize=11)
        .encode(x=x, y=y, text="text:N", color=alt.Color("colour:N", scale=None))
        .properties(width=width, height=top, title=alt.Title(title, anchor="start"))
    )


def _broken(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None or pd.isna(value) else f"{100 * value:.{digits}f} %"


def of_unit(value: float | None, unit: str) -> str:
    if value is None or pd.isna(value):
        return "–"
    if unit == "share":
        return percent(value, 1)
    return f"{value:,.2f}" if unit == "ratio" else f"{value:,.0f} {unit}"


def gap_split(frame: pd.DataFrame, title: str, subtitle: str) -> Chart:
    """A seller's gap by factor, each in what is the seller's own, what is of the accounts, and chance.

    Args:
        frame: columns factor, kind (own, accounts and deals, chance) and amount; factors from top to bottom.
        title: what the picture says.
        subtitle: what the colours are and what to work on.
    """
    kinds = alt.Scale(domain=["own", "accounts and deals", "chance"], range=[RED, GREY, "#cbd5e0"])
    bars = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            y=alt.Y("factor:N", sort=None, title=None, axis=alt.Axis(labelFlush=False)),
            x=alt.X("amount:Q", title="Part of the gap, reporting currency", axis=alt.Axis(format="~s", tickCount=6)),
            color=alt.Color("kind:N", title=None, scale=kinds),
        )
    )
    return bars.properties(width=WIDTH - 200, title=alt.Title(title, subtitle=subtitle, anchor="start"))


def steps(frame: pd.DataFrame, axis: str, title: str, subtitle: str = "") -> Chart:
    """A bridge: whole bars at both ends, and between them what was added and taken, each where the one before ended.

    Args:
        frame: columns label, amount and is_total, from left to right; a total's amount is the level it stands for.
        axis: what is drawn, with its unit.
    """
    drawn = frame[["label", "amount", "is_total"]].copy()
    amounts, totals = drawn["amount"].astype(float), drawn["is_total"].astype(bool)
    after = amounts.where(totals).ffill() + amounts.where(~totals, 0.0).groupby(totals.cumsum()).cumsum()
    drawn["upto"] = after
    drawn["since"] = (after - amounts).where(~totals, 0.0)
    drawn["kind"] = totals.map({True: "level", False: ""}).where(totals, amounts.map(_gain_or_loss))
    kinds = alt.Scale(domain=["level", "gain", "loss"], range=[GREY, GREEN, RED])
    # The levels are far above what moves them: the axis begins near the lowest point, so that the steps can be seen.
    ends = drawn.loc[~totals, ["since", "upto"]].to_numpy(dtype=float)
    room = float(ends.max() - ends.min()) if ends.size else 0.0
    floor = max(0.0, float(ends.min()) - max(room * 0.5, 1.0)) if ends.size else 0.0
    drawn.loc[totals, "since"] = floor
    base = alt.Chart(drawn).encode(
        x=alt.X("label:N", sort=None, title=None, axis=alt.Axis(labelAngle=-35, labelOverlap=False)),
        tooltip=[alt.Tooltip("label:N", title="Step"), alt.Tooltip("amount:Q", title=axis, format=",.2f")],
    )
    return (
        base.mark_bar()
        .encode(
            y=alt.Y(
                "since:Q",
                title=axis,
                axis=alt.Axis(format="~s", tickCount=6),
                scale=alt.Scale(domainMin=floor, zero=False, nice=False),
            ),
            y2="upto:Q",
            color=alt.Color("kind:N", title=None, scale=kinds, legend=None),
        )
        .properties(
            width=WIDTH - 80, height=TALL, title=alt.Title(title, subtitle=subtitle or alt.Undefined, anchor="start")
        )
    )


def _gain_or_loss(amount: float) -> str:
    return "loss" if amount < 0 else "gain"


def trends(
    frame: pd.DataFrame, axis: str, title: str, *, time: str = "Month", percent: bool = True, bands: bool = True
) -> Chart:
    """Several values over time, each with its 90 % interval as a band.

    Args:
        frame: columns x (a day), series and value; low and high for bands.
        axis: what is drawn, with its unit.
        time: what a point of time is.
        percent: values are shares.
        bands: values have intervals; without, each is a fact and a point.
    """
    style, number = alt.Axis(format=".0%" if percent else "~s", title=axis), ".1%" if percent else ",.2f"
    said = ["value", "low", "high"] if bands else ["value"]
    base = alt.Chart(frame).encode(
        x=alt.X("x:T", title=time, axis=alt.Axis(format="%Y-%m", tickCount=8)),
        color=alt.Color(
            "series:N",
            title=None,
            sort=None,
            scale=alt.Scale(range=[BLUE, GREEN, YELLOW, RED]),
            legend=alt.Legend(orient="bottom", columns=2, symbolOpacity=1, symbolType="stroke"),
        ),
        tooltip=[
            alt.Tooltip("series:N", title=" "),
            alt.Tooltip("x:T", title=time, format="%Y-%m-%d"),
            *(alt.Tooltip(f"{name}:Q", format=number) for name in said),
        ],
    )
    scale = alt.Scale(zero=False)
    line = base.mark_line(point=not bands).encode(y=alt.Y("value:Q", axis=style, scale=scale))
    band = [base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", axis=style, scale=scale), y2="high:Q")]
    subtitle = "Line: value. Band: 90 % interval." if bands else alt.Undefined
    return alt.layer(*(band if bands else []), line).properties(
        width=WIDTH - 80, height=TALL, title=alt.Title(title, subtitle=subtitle, anchor="start")
    )


def heat(frame: pd.DataFrame, x: str, y: str, title: str, subtitle: str = "") -> Chart:
    """Shares by two things: the darker, the more; a half and less looks alike.

    Args:
        frame: columns x, y, value (a share) and n; rows from top to bottom.
        x: what runs from left to right.
        y: what runs from top to bottom.
    """
    return (
        alt.Chart(frame)
        .mark_rect()
        .encode(
            x=alt.X("x:O", title=x, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("y:O", sort=None, title=y),
            color=alt.Color(
                "value:Q",
                title=None,
                scale=alt.Scale(scheme="blues", domain=[0.5, 1], clamp=True),
                legend=alt.Legend(format=".0%", orient="bottom", gradientLength=160),
            ),
            tooltip=[
                alt.Tooltip("y:O", title=y),
                alt.Tooltip("x:O", title=x),
                alt.Tooltip("value:Q", title="Share", format=".1%"),
                alt.Tooltip("n:Q", format=",.0f"),
            ],
        )
        .properties(
            width=WIDTH - 80,
            height=alt.Step(16),
            title=alt.Title(title, subtitle=subtitle or alt.Undefined, anchor="start"),
        )
    )


def stacks(
    frame: pd.DataFrame, axis: str, title: str, colours: dict[str, str], *, money: bool = True, upright: bool = True
) -> Chart:
    """Amounts or counts that add up within a bar, by kind.

    Args:
        frame: columns label, kind and amount, in order.
        axis: what is drawn, with its unit.
        colours: of the kinds, in the order in which they are stacked and named.
        upright: bars stand; else they lie, for longer labels.
    """
    order = list(colours)
    drawn = frame.assign(place=frame["kind"].map(order.index))
    place = alt.X if upright else alt.Y
    length = alt.Y if upright else alt.X
    label = place("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=200, labelAngle=0, labelFlush=False))
    amount = length("amount:Q", title=axis, axis=alt.Axis(format="~s" if money else ",.0f", tickCount=6, tickMinStep=1))
    chart = (
        alt.Chart(drawn)
        .mark_bar()
        .encode(
            label,
            amount,
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=order, range=list(colours.values())),
                legend=alt.Legend(orient="bottom", columns=2),
            ),
            order="place:Q",
            tooltip=[
                alt.Tooltip("label:N", title=" "),
                alt.Tooltip("kind:N", title="Kind"),
                alt.Tooltip("amount:Q", title=axis, format=",.0f"),
            ],
        )
        .properties(width=WIDTH - 80, title=alt.Title(title, anchor="start"))
    )
    return chart.properties(height=TALL) if upright else chart


def pairs(frame: pd.DataFrame, axis: str, title: str) -> Chart:
    """This year's amount beside last year's, a group of bars a row; columns label, when and amount, in order."""
    times = list(dict.fromkeys(frame["when"]))
    return (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("label:N", sort=None, title=None, axis=alt.Axis(labelAngle=0, labelLimit=120)),
            xOffset=alt.XOffset("when:N", sort=times),
            y=alt.Y("amount:Q", title=axis, axis=alt.Axis(format="~s", tickCount=6)),
            color=alt.Color(
                "when:N",
                title=None,
                scale=alt.Scale(domain=times, range=["#a0aec0", BLUE]),
                legend=alt.Legend(orient="bottom"),
            ),
            tooltip=[
                alt.Tooltip("label:N", title=" "),
                alt.Tooltip("when:N", title="When"),
                alt.Tooltip("amount:Q", title=axis, format=",.0f"),
            ],
        )
        .properties(width=WIDTH - 80, height=TALL, title=alt.Title(title, anchor="start"))
    )


def squares(frame: pd.DataFrame, colours: dict[str, str], title: str, subtitle: str) -> Chart:
    """A table of squares, each with a number and the colour of its state.

    Args:
        frame: columns x, y, state, count and last (a day or none), from left to right and top to bottom.
        colours: of the states, in the order in which they are named.
    """
    base = alt.Chart(frame).encode(
        x=alt.X("x:N", sort=None, title=None, axis=alt.Axis(labelAngle=-35, orient="top", labelLimit=110)),
        y=alt.Y("y:N", sort=None, title=None, axis=alt.Axis(labelFlush=False)),
        tooltip=[
            alt.Tooltip("y:N", title="Seniority"),
            alt.Tooltip("x:N", title="Function"),
            alt.Tooltip("state:N", title="State"),
            alt.Tooltip("count:Q", title="Contacts"),
            alt.Tooltip("last:T", title="Last spoke with us", format="%Y-%m-%d"),
        ],
    )
    squares = base.mark_rect(stroke="#ffffff", strokeWidth=2).encode(
        color=alt.Color(
            "state:N",
            title=None,
            scale=alt.Scale(domain=list(colours), range=list(colours.values())),
            legend=alt.Legend(orient="bottom", columns=2, labelLimit=240),
        )
    )
    numbers = base.mark_text(color="#1a202c").encode(text=alt.Text("count:Q", format="d"))
    return alt.layer(squares, numbers).properties(
        width=WIDTH - 120, height=alt.Step(34), title=alt.Title(title, subtitle=subtitle, anchor="start")
    )


def points(
    frame: pd.DataFrame, x: str, y: str, title: str, colours: dict[str, str], *, domain: tuple[float, float] = (0, 100)
) -> Chart:
    """What is where on two scales; columns x, y, label and kind."""
    return (
        alt.Chart(frame)
        .mark_circle(size=60, opacity=0.75)
        .encode(
            x=alt.X("x:Q", title=x, scale=alt.Scale(domain=domain)),
            y=alt.Y("y:Q", title=y, scale=alt.Scale(domain=domain)),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=list(colours), range=list(colours.values())),
                legend=alt.Legend(orient="bottom"),
            ),
            tooltip=[
                alt.Tooltip("label:N", title=" "),
                alt.Tooltip("kind:N", title="Standing"),
                alt.Tooltip("x:Q", title=x, format=".1f"),
                alt.Tooltip("y:Q", title=y, format=".1f"),
            ],
        )
        .properties(width=WIDTH - 80, height=440, title=alt.Title(title, anchor="start"))
    )


def against(frame: pd.DataFrame, axis: str, title: str, subtitle: str) -> Chart:
    """A bar a period with a tick where it should be; columns label, amount and norm, in order."""
    base = alt.Chart(frame).encode(
        x=alt.X("label:N", sort=None, title=None, axis=alt.Axis(labelAngle=-35)),
        tooltip=[
            alt.Tooltip("label:N", title=" "),
            alt.Tooltip("amount:Q", title=axis, format=",.0f"),
            alt.Tooltip("norm:Q", title="Held against", format=",.0f"),
        ],
    )
    return alt.layer(
        base.mark_bar(color=BLUE).encode(y=alt.Y("amount:Q", title=axis, axis=alt.Axis(format="~s", tickCount=6))),
        base.mark_tick(color=RED, thickness=3).encode(y="norm:Q"),
    ).properties(width=WIDTH - 80, height=TALL, title=alt.Title(title, subtitle=subtitle, anchor="start"))
