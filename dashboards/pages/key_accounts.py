"""Key accounts: which and why, how each of them is, whom we know there, and what they could still buy."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import streamlit as st

from dashboards.charts import (
    GREEN,
    GREY,
    RED,
    YELLOW,
    intervals,
    measured,
    points,
    squares,
    stacks,
    trends,
)
from dashboards.filters import Chosen, choose_one
from dashboards.parts import chart_beside_table, day, empty, escaped, figure, in_row, in_tabs, show_table, written
from dashboards.release import Release
from dashboards.rows import each, first, worded

FILTERS = ("team", "segment")

LIST, REVIEWS = "key_accounts.key_account_list", "key_accounts.key_account_reviews"
HEALTH, FINDINGS = "key_accounts.key_account_health", "key_accounts.key_account_findings"
RELATIONS, WHITESPACE = "key_accounts.relationship_map", "key_accounts.whitespace"
PLANS, GROWTH = "key_accounts.plan_execution", "retention.account_growth"
STANDINGS = {
    "on_list": "is on the list",
    "waiting": "waits for the list",
    "left": "left the list within a year",
    "planned": "has a plan and is not on the list",
}
STANDING_COLOURS = {"on the list": GREEN, "waits": YELLOW, "not on the list": GREY}
ENGAGED, RELATED, NAMED, NOBODY = (
    "speaks with us now",
    "spoke with us within a year",
    "a name in the CRM",
    "nobody known",
)
STATE_COLOURS = {ENGAGED: "#68a87f", RELATED: "#bcdcc7", NAMED: "#f3dfae", NOBODY: "#e8ecf1"}
MOST_ACCOUNTS, MOST_POINTS, MOST_OPTIONS = 50, 500, 1000

# Accounts of a team are those whose owner is one of its managers or reports to one of them.
IN_TEAM = """(? is null or {owner} in (
    select rep_id from core.reps where is_current
        and (manager_id in (select unnest(?::varchar[])) or rep_id in (select unnest(?::varchar[])))
))"""


def _within(chosen: Chosen) -> tuple[object, ...]:
    managers = list(chosen.managers)
    return (chosen.team, managers, managers, chosen.segment, chosen.segment)


WITHIN = f"{IN_TEAM.format(owner='manager_id')} and (? is null or segment = ?)"


def overview(release: Release, chosen: Chosen) -> pd.DataFrame:
    """One row: how many are on the list, what they pay, and of how many what was found."""
    return release.rows(
        f"""
        with accounts as (select * from {HEALTH} where standing = 'on_list' and {WITHIN})
        select count(*) as account_count, coalesce(sum(arr), 0) as arr, count(arr) as arr_n,
            count(*) filter (concern_count > 0) as concerned_count,
            count(*) filter (contains(concerns, 'no_plan')) as no_plan_count,
            count(*) filter (contains(concerns, 'nobody_engaged')) as nobody_count,
            count(*) filter (contains(concerns, 'shrinking')) as shrinking_count,
            coalesce(sum(proactive_meeting_count), 0)::bigint as proactive_meeting_count,
            coalesce(sum(meeting_count), 0)::bigint as meeting_count
        from accounts
        """,
        _within(chosen),
    )


def standings(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Accounts of the last review by standing and reason; each account is in one row."""
    return release.rows(
        f"""
        select standing, coalesce(reason, 'passed') as reason, count(*) as account_count, sum(arr) as arr
        from {LIST} where standing != 'left' and {WITHIN}
        group by standing, reason order by standing != 'on_list', standing != 'waiting', account_count desc, reason
        """,
        _within(chosen),
    )


def listed(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Key accounts with what is wrong and what to do, those with most concerns first."""
    return release.rows(
        f"""
        select health.account_id, health.account_name, health.manager_name, health.concern_count,
            found.what_is_wrong, found.what_to_do, health.arr, health.growth, list.score, list.entered_on,
            list.rules_passed, list.rules_failed
        from (select * from {HEALTH} where standing = 'on_list' and {WITHIN}) as health
        left join {LIST} as list on health.account_id = list.account_id and list.standing = 'on_list'
        left join {FINDINGS} as found
            on health.account_id = found.account_id and health.top_concern = found.concern and found.kind = 'concern'
        order by health.concern_count desc, health.arr desc nulls last, health.account_id limit {MOST_ACCOUNTS}
        """,
        _within(chosen),
    )


def waiting(release: Release, chosen: Chosen) -> pd.DataFrame:
    """Who is not on the list though near it, and why: those that wait, then the highest scores."""
    return release.rows(
        f"""
        select account_id, account_name, manager_name, standing, reason, score, place, rules_passed, rules_failed,
            rules_unknown, arr
        from {LIST} where standing in ('waiting', 'not_on_list') and {WITHIN}
        order by standing = 'not_on_list', score desc nulls last, account_id limit {MOST_ACCOUNTS}
        """,
        _within(chosen),
    )


def scores(release: Release, chosen: Chosen) -> pd.DataFrame:
    """The two sides of the score at the last review, largest accounts first."""
    return release.rows(
        f"""
        select account_name, standing, attractiveness, relationship, score, arr
        from {LIST} where standing != 'left' and score is not null and {WITHIN}
        order by standing != 'on_list', arr desc, account_id limit {MOST_POINTS}
        """,
        _within(chosen),
    )


def findings(release: Release, chosen: Chosen) -> pd.DataFrame:
    """What was found on accounts on the list, by kind and concern. An account can have several: never add them up."""
    return release.rows(
        f"""
        select kind, concern, any_value(found.what_is_wrong) as what_is_wrong,
            any_value(found.what_to_do) as what_to_do, count(*) as account_count, min(rank) as rank
        from {FINDINGS} as found
        join (select account_id from {HEALTH} where standing = 'on_list' and {WITHIN}) as health using (account_id)
        group by kind, concern order by kind, account_count desc, rank
        """,
        _within(chosen),
    )


def against_others(release: Release) -> pd.DataFrame:
    """Growth of key accounts against the others, by the list of a year before, on the newest month."""
    return release.rows(
        f"""
        select member, n, growth, arr_year_ago, arr, month_end from {GROWTH}
        where dimension = 'key' and month_start = (select max(month_start) from {GROWTH}) order by member
        """
    )


def options(release: Release, chosen: Chosen) -> dict[str, str]:
    """Accounts that can be looked at by name: on the list, just off it, or with a plan."""
    found = release.rows(
        f"select account_id, account_name from {HEALTH} where {WITHIN} "
        f"order by standing != 'on_list', account_name, account_id limit {MOST_OPTIONS}",
        _within(chosen),
    )
    return dict(zip(found["account_id"], found["account_name"], strict=True))


def health(release: Release, account: str) -> SimpleNamespace | None:
    """How an account is today; None when it is not looked at."""
    return first(release.rows(f"select * from {HEALTH} where account_id = ?", (account,)))


def account_findings(release: Release, account: str) -> pd.DataFrame:
    """Concerns first, then strengths, in the order of the mart."""
    return release.rows(
        f"select kind, concern, what_is_wrong, what_to_do, value, norm from {FINDINGS} where account_id = ? "
        "order by kind, rank",
        (account,),
    )


def stays(release: Release, account: str) -> pd.DataFrame:
    """Stays on the list and what the last review said, newest first."""
    return release.rows(
        f"select standing, reason, score, attractiveness, relationship, rules_passed, rules_failed, rules_unknown, "
        f"place, entered_on, left_on, reviewed_on from {LIST} where account_id = ? order by valid_from desc",
        (account,),
    )


def reviews(release: Release, account: str) -> pd.DataFrame:
    """Each quarterly review of an account, oldest first."""
    return release.rows(
        f"select reviewed_on, score, attractiveness, relationship, contacts, standing, reason, arr from {REVIEWS} "
        "where account_id = ? order by reviewed_on",
        (account,),
    )


def relations(release: Release, account: str) -> pd.DataFrame:
    """Whom we know by seniority and function; a cell of nobody has a row."""
    return release.rows(
        f"select seniority, business_function, last_engaged_on, contact_count, relationship_count, engaged_count "
        f"from {RELATIONS} where account_id = ? order by seniority_rank, business_function",
        (account,),
    )


def plans(release: Release, account: str) -> pd.DataFrame:
    """Plans by fiscal year, newest first."""
    return release.rows(
        f"""
        select fiscal_year, plan_status, owner_name, executive_sponsor_name, is_current, approved_on, last_reviewed_on,
            sponsor_quarter_count, quarter_count, due_count, done_count, on_time_count, done_share, done_share_low,
            done_share_high, customer_due_count, customer_done_share, target_revenue, arr
        from {PLANS} where account_id = ? order by fiscal_year desc
        """,
        (account,),
    )


def whitespace(release: Release, account: str) -> pd.DataFrame:
    """What the account does not buy, what is worth most first."""
    return release.rows(
        f"""
        select product_name, expected_amount, expected_amount_low, expected_amount_high, adoption_rate,
            adoption_rate_low, adoption_rate_high, n, like_by, typical_amount, open_opportunity_count, reason
        from {WHITESPACE} where account_id = ? order by rank
        """,
        (account,),
    )


def sentences(release: Release, chosen: Chosen) -> list[str]:
    """What the list says, and what is wrong first."""
    row = first(overview(release, chosen))
    whose = f" of {escaped(chosen.words)}" if chosen.team or chosen.segment else ""
    if row is None or not row.account_count:
        return [f"No account{whose} is on the list."]
    said = [
        f"**{row.account_count:,} key accounts**{whose} bring **{written(row.arr, 'money', release.currency)}** of "
        f"recurring revenue; something is wrong with **{row.concerned_count:,}** of them: {row.no_plan_count:,} are "
        f"without a plan for the running year, in {row.nobody_count:,} nobody has been in touch for long, "
        f"{row.shrinking_count:,} shrink."
    ]
    found = findings(release, chosen)
    worst = first(found[found["kind"] == "concern"])
    if worst:
        said.append(
            f"Most often ({worst.account_count:,}): {escaped(worst.what_is_wrong).lower()}. "
            f"**To do:** {escaped(worst.what_to_do)}."
        )
    grown = {row.member: row for row in each(against_others(release))}
    if {"key", "other"} <= set(grown) and all(row.growth is not None for row in grown.values()):
        key, other = grown["key"], grown["other"]
        said.append(
            f"In all, accounts that were key a year ago bring {100 * key.growth:+.1f} % (n {key.n:,}), "
            f"others {100 * other.growth:+.1f} % (n {other.n:,})."
        )
    return said


def account_sentences(release: Release, account: str) -> list[str]:
    """What is known of one account: standing and why, what is wrong, and what to do first."""
    now = health(release, account)
    if now is None:
        return []
    said = []
    last = first(stays(release, account))
    text = f"**{escaped(now.account_name)}** {STANDINGS.get(now.standing, now.standing)}"
    if last and now.standing == "on_list" and last.entered_on:
        text += f" since {day(last.entered_on)}"
    if last and last.score is not None:
        text += (
            f", with a score of {last.score:.0f} of 100 from how attractive it is ({last.attractiveness:.0f}) and how "
            f"close we are ({last.relationship:.0f})"
        )
    if last and last.reason:
        text += f"; why it is not on it: {escaped(last.reason)}"
    said.append(f"{text}.")
    if last:
        said.append(
            f"It passes {_names(last.rules_passed) or 'no rule'}"
            + (f" and fails {_names(last.rules_failed)}" if last.rules_failed else "")
            + (f"; not known: {_names(last.rules_unknown)}" if last.rules_unknown else "")
            + f" (review of {day(last.reviewed_on)})."
        )
    found = account_findings(release, account)
    worst = first(found[found["kind"] == "concern"])
    if worst:
        said.append(f"**{escaped(worst.what_is_wrong)}.** To do: {escaped(worst.what_to_do)}.")
    else:
        said.append("Nothing is wrong with it that the data shows.")
    return said


def _names(listed_names: str | None) -> str:
    return escaped((listed_names or "").replace("_", " "))


def show(release: Release, chosen: Chosen) -> None:
    st.title("Key accounts")
    if not release.has(LIST) and not release.has(HEALTH):
        empty(release, LIST)
        return
    known = options(release, chosen)
    account = choose_one("Account", known, "account", whole="The whole list")
    if account:
        _account(release, account)
    else:
        st.markdown(" ".join(sentences(release, chosen)))
        _list(release, chosen)


def _list(release: Release, chosen: Chosen) -> None:
    row = first(overview(release, chosen))
    assert row is not None
    met = row.meeting_count
    places = in_row(3)
    with places[0]:
        figure(release, "They pay", row.arr, HEALTH, "arr", "money", n=row.arr_n, note="accounts on the list")
    with places[1]:
        figure(release, "With a concern", row.concerned_count, HEALTH, "concern_count", "count", n=row.account_count)
    with places[2]:
        figure(
            release,
            "Value meetings we began",
            row.proactive_meeting_count if met else None,
            HEALTH,
            "proactive_meeting_count",
            "count",
            note=f"of {met:,} meetings in a year" if met else "no meeting is known",
        )
    parts = {"The list": (_accounts,), "What is wrong": (_findings,), "Why these and not others": (_standings,)}
    in_tabs("list_part", parts, release, chosen)


def _findings(release: Release, chosen: Chosen) -> None:
    st.subheader("What is wrong, and how often")
    found = findings(release, chosen)
    if found.empty:
        empty(release, FINDINGS, "Nothing was found on the accounts on the list.")
    else:
        kinds = {"concern": RED, "strength": GREEN}
        chart_beside_table(
            release,
            stacks(
                found.assign(label=found["concern"].str.replace("_", " "), amount=found["account_count"]),
                "Key accounts",
                "Found on accounts on the list",
                kinds,
                money=False,
                upright=False,
            ),
            worded(found, "concern")[["concern", "account_count", "kind", "what_is_wrong", "what_to_do"]],
            FINDINGS,
            name="findings",
            alt_text="How many key accounts have each concern and each strength",
            caption="An account can have several.",
        )


def _accounts(release: Release, chosen: Chosen) -> None:
    st.subheader("The list")
    rows = listed(release, chosen)
    if rows.empty:
        empty(release, HEALTH, "No account of what is chosen is on the list.")
    else:
        st.caption("Those with most concerns first. Choose one above for its findings, people, plan and white space.")
        show_table(
            release,
            _with_address(worded(rows, "rules_passed", "rules_failed")),
            HEALTH,
            name="key_accounts",
            links={"open": "open"},
            labels={"open": " ", "rules_passed": "Rules passed", "rules_failed": "Rules failed", "arr": "Pays"},
        )


def _standings(release: Release, chosen: Chosen) -> None:
    st.subheader("Why these and not others")
    drawn = scores(release, chosen)
    if drawn.empty:
        empty(release, LIST, "No account has a score: too little is known of both sides.")
    else:
        drawn = drawn.assign(
            kind=drawn["standing"].map(
                {"on_list": "on the list", "waiting": "waits", "not_on_list": "not on the list"}
            ),
            x=drawn["attractiveness"],
            y=drawn["relationship"],
            label=drawn["account_name"],
        )
        chart_beside_table(
            release,
            points(drawn, "How attractive", "How close we are", "Both sides of the score", STANDING_COLOURS),
            worded(standings(release, chosen), "standing"),
            LIST,
            name="standings",
            alt_text="Accounts by attractiveness and relationship, coloured by standing",
            caption="The score is the product of both, so that neither side stands in for the other.",
        )
    near = waiting(release, chosen)
    if len(near):
        st.markdown("**Near the list, and why not on it**")
        near = worded(near, "standing", "rules_passed", "rules_failed", "rules_unknown").drop(columns=["account_id"])
        show_table(release, near, LIST, name="near_the_list")


def _with_address(rows: pd.DataFrame) -> pd.DataFrame:
    out = rows.drop(columns=["account_id"])
    out.insert(0, "open", "/key_accounts?account=" + rows["account_id"])
    return out


def _account(release: Release, account: str) -> None:
    now = health(release, account)
    if now is None:
        empty(release, HEALTH, "This account is not on the list, has not left it lately and has no plan.")
        return
    st.subheader(str(now.account_name))
    st.markdown(" ".join(account_sentences(release, account)))
    _account_figures(release, now)
    parts = {
        "Findings": (_account_findings,),
        "People": (_relations,),
        "Plan": (_plans,),
        "White space": (_whitespace,),
        "Reviews": (_reviews,),
    }
    in_tabs("account_part", parts, release, account)


def _account_findings(release: Release, account: str) -> None:
    st.markdown("#### What was found")
    found = account_findings(release, account)
    if found.empty:
        st.markdown("Neither a concern nor a strength.")
    else:
        found = worded(found, "concern")[["concern", "what_is_wrong", "what_to_do", "value", "norm", "kind"]]
        show_table(release, found, FINDINGS, name="account_findings", labels={"norm": "Held against"})


def _account_figures(release: Release, now: SimpleNamespace) -> None:
    places = in_row(3)
    wallet = "no estimate of what they spend" if now.wallet_share is None else f"estimate: {now.wallet_source}"
    if now.wallet_estimated_on:
        wallet += f", {day(now.wallet_estimated_on)}"
    with places[0]:
        figure(release, "Pays", now.arr, HEALTH, "arr", "money", note=f"account manager {now.manager_name or 'none'}")
    with places[1]:
        figure(release, "Growth in a year", now.growth, HEALTH, "growth", "percent", note=now.growth_reason or "")
    with places[2]:
        figure(release, "Share of what they spend", now.wallet_share, HEALTH, "wallet_share", "percent", note=wallet)
    places = in_row(3)
    with places[0]:
        figure(
            release,
            "Contacts who speak with us",
            now.engaged_contact_count,
            HEALTH,
            "engaged_contact_count",
            "count",
            note=f"last on {day(now.last_engaged_on)}" if now.last_engaged_on else "none on record",
        )
    with places[1]:
        figure(
            release,
            "Value meetings we began",
            now.proactive_share,
            HEALTH,
            "proactive_share",
            "percent",
            low=now.proactive_share_low,
            high=now.proactive_share_high,
            n=now.meeting_count,
            note="of all meetings",
        )
    with places[2]:
        figure(
            release,
            "Customer's objectives met",
            now.objectives_met_share,
            HEALTH,
            "objectives_met_share",
            "percent",
            low=now.objectives_met_share_low,
            high=now.objectives_met_share_high,
            n=now.objective_count,
            note="" if now.objective_count else "none was due within a year",
        )


def _relations(release: Release, account: str) -> None:
    st.markdown("#### Whom we know")
    found = relations(release, account)
    if found.empty:
        empty(release, RELATIONS, "No active contact of this account is known.")
        return
    state = pd.Series(NOBODY, index=found.index)
    state[found["contact_count"] > 0] = NAMED
    state[found["relationship_count"] > 0] = RELATED
    state[found["engaged_count"] > 0] = ENGAGED
    empty_count = int((found["contact_count"] == 0).sum())
    senior = found[found["seniority"].isin(["c_level", "vp"])]
    st.markdown(
        f"In touch with us now: **{int(found['engaged_count'].sum()):,} of {int(found['contact_count'].sum()):,}** "
        f"contacts, at C level and among vice presidents {int(senior['engaged_count'].sum()):,} of "
        f"{int(senior['contact_count'].sum()):,}. Nobody is known in {empty_count} of {len(found)} squares."
        + _since(reviews(release, account))
    )
    chart_beside_table(
        release,
        squares(
            found.assign(
                x=found["business_function"],
                y=found["seniority"].str.replace("_", " "),
                state=state,
                count=found["contact_count"],
                last=found["last_engaged_on"],
            ),
            STATE_COLOURS,
            "Contacts by seniority and function",
            "The number of contacts; the colour says whether they speak with us.",
        ),
        worded(found[found["contact_count"] > 0], "seniority"),
        RELATIONS,
        name="relationship_map",
        alt_text="Contacts by seniority and function, and whether they speak with us",
        caption="The table leaves the empty squares out. Last engaged on: since when they have not been heard of.",
    )


def _since(held: pd.DataFrame) -> str:
    """Since which review somebody has been in touch at each of them."""
    told = held[held["contacts"].notna()]
    silent = told.loc[told["contacts"] == 0, "reviewed_on"]
    kept = first(told[told["reviewed_on"] > silent.max()] if len(silent) else told)
    return f" At each review since {day(kept.reviewed_on)} somebody was." if kept else ""


def _plans(release: Release, account: str) -> None:
    st.markdown("#### The plan, and whether it is carried out")
    found = plans(release, account)
    if found.empty:
        empty(release, PLANS, "No plan of this account is known.")
        return
    now = first(found)
    assert now is not None
    if now.plan_status == "no plan":
        st.markdown(f"There is **no plan for {now.fiscal_year}**. Write it with the customer and have it approved.")
    else:
        done = (
            f"{written(now.done_share, 'percent')} of {now.due_count:,} objectives due are done "
            f"({written(now.done_share_low, 'percent')} to {written(now.done_share_high, 'percent')})"
            if now.due_count
            else "no objective was due yet"
        )
        sponsor = (
            "it names no executive sponsor"
            if now.sponsor_quarter_count is None
            else f"the sponsor met the customer in {now.sponsor_quarter_count:,} of {now.quarter_count:,} quarters"
        )
        st.markdown(
            f"The plan of {now.fiscal_year} is **{'current' if now.is_current else 'not current'}**; {done}; {sponsor}."
        )
    show_table(release, found, PLANS, name="plan_execution")


def _whitespace(release: Release, account: str) -> None:
    st.markdown("#### What they could still buy")
    found = whitespace(release, account)
    if found.empty:
        empty(release, WHITESPACE, "They buy every product, or nothing of it is known.")
        return
    told = found[found["expected_amount"].notna()]
    if told.empty:
        empty(release, WHITESPACE, found.iloc[0]["reason"])
        return
    chart_beside_table(
        release,
        intervals(
            measured(told, "product_name", "expected_amount", "n"),
            f"Expected from accounts like it, {release.currency}",
            "White space",
            percent=False,
        ),
        found,
        WHITESPACE,
        name="whitespace",
        alt_text="Expected amount of each product the account does not buy, with its interval",
        caption="An expectation over many accounts like it, not a forecast for this one.",
    )


def _reviews(release: Release, account: str) -> None:
    st.markdown("#### How the reviews saw it")
    found = reviews(release, account)
    told = found[found["score"].notna()]
    if told.empty:
        empty(release, REVIEWS, "No review had enough for a score.")
        return
    sides = {"score": "Score", "attractiveness": "How attractive", "relationship": "How close we are"}
    lines = pd.concat(
        [pd.DataFrame({"x": told["reviewed_on"], "series": name, "value": told[side]}) for side, name in sides.items()]
    )
    chart_beside_table(
        release,
        trends(lines, "Of 100", "Score at each quarterly review", time="Review", percent=False, bands=False),
        found.iloc[::-1],
        REVIEWS,
        name="reviews",
        alt_text="Score and its two sides at each quarterly review",
        caption="A review stays as it was told then.",
        labels={"contacts": "Contacts engaged"},
    )
