"""Who sees which row, by docs/pages-access.md in plain Python: knows nothing of what marts say about their readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

Mask = pd.Series


@dataclass(frozen=True)
class Scope:
    """What one reader may see: persons, deals, accounts and rows of booked against billed."""

    persons: set[str]
    deals: set[str]
    accounts: set[str]
    billed: set[tuple[str, str]]


def below(person: str, jobs: pd.DataFrame) -> set[str]:
    """A person and everybody below, by the manager of the last job each person held, one after the other."""
    last = jobs.sort_values("valid_from").groupby("rep_id").last()
    manager = last["manager_id"].to_dict()
    found = {person}
    for someone in manager:
        seen, above = set(), someone
        while isinstance(above, str) and above not in seen:
            if above == person:
                found.add(someone)
                break
            seen.add(above)
            above = manager.get(above)
    return found


def scope_of(person: str, tables: dict[str, pd.DataFrame]) -> Scope:
    persons = below(person, tables["core.reps"])
    deals, accounts = tables["core.opportunities"], tables["core.accounts"]
    own_deals = set(deals.loc[deals["owner_id"].isin(persons) | deals["manager_id"].isin(persons), "opportunity_id"])
    own_accounts = set(accounts.loc[accounts["owner_id"].isin(persons), "account_id"])
    billing = tables["reconciliation.booking_to_billing"]
    rows = billing[
        billing["owner_id"].isin(persons)
        | billing["opportunity_id"].isin(own_deals)
        | billing["account_id"].isin(own_accounts)
    ]
    return Scope(persons, own_deals, own_accounts, set(zip(rows["row_type"], rows["row_id"], strict=True)))


Rule = Callable[[pd.DataFrame, Scope], Mask]


def all_rows(frame: pd.DataFrame, scope: Scope) -> Mask:
    return pd.Series(True, index=frame.index)


def persons(*columns: str) -> Rule:
    return lambda frame, scope: frame[list(columns)].isin(scope.persons).any(axis=1)


def deal(frame: pd.DataFrame, scope: Scope) -> Mask:
    return frame["opportunity_id"].isin(scope.deals)


def account(column: str = "account_id") -> Rule:
    return lambda frame, scope: frame[column].isin(scope.accounts)


def either(*rules: Rule) -> Rule:
    def rule(frame: pd.DataFrame, scope: Scope) -> Mask:
        found = rules[0](frame, scope)
        for other in rules[1:]:
            found = found | other(frame, scope)
        return found

    return rule


def by_dimension(
    kind: str, member: str, *, persons: str = "", accounts: str = "", hidden: str = "", fewest: str = ""
) -> Rule:
    """Every row, but those of persons and accounts that are not seen, and of kinds that are hidden from all."""

    def rule(frame: pd.DataFrame, scope: Scope) -> Mask:
        is_person, is_account = frame[kind].isin(persons.split()), frame[kind].isin(accounts.split())
        open_to_all = ~is_person & ~is_account & ~frame[kind].isin(hidden.split())
        if fewest:
            open_to_all &= frame[fewest].fillna(0) >= 5
        return (
            open_to_all
            | (is_person & frame[member].isin(scope.persons))
            | (is_account & frame[member].isin(scope.accounts))
        )

    return rule


SCOPES = by_dimension("scope_type", "scope_id", persons="manager seller")
ALL_SCOPES_HIDDEN = by_dimension("scope_type", "scope_id", persons="manager seller", hidden="company region segment")
OF_ACCOUNT_MANAGERS = by_dimension("dimension", "member", persons="account_manager")
HELD = either(persons("manager_id"), account())
OWNED = either(persons("owner_id", "manager_id"), deal)

SEEN: dict[str, Rule] = {
    "core.accounts": persons("owner_id"),
    "core.calendar": all_rows,
    "core.data_coverage": all_rows,
    "core.opportunities": deal,
    "core.products": all_rows,
    "core.reps": persons("rep_id"),
    "core.stages": all_rows,
    "core.united_accounts": account("same_as_account_id"),
    "forecast_accuracy.calibration": all_rows,
    "forecast_accuracy.forecast_error": SCOPES,
    "forecast_accuracy.forecast_error_summary": all_rows,
    "forecast_accuracy.forecast_value_added": all_rows,
    "forecast_accuracy.outcome_models": all_rows,
    "forecast_accuracy.outlook": SCOPES,
    "forecast_accuracy.outlook_drivers": either(ALL_SCOPES_HIDDEN, persons("owner_id"), deal),
    "forecast_accuracy.period_forecasts": SCOPES,
    "forecast_accuracy.prediction_factors": either(persons("owner_id"), deal),
    "forecast_accuracy.submitter_credibility": persons("submitter_id"),
    "funnel.deal_health": persons("owner_id", "manager_id"),
    "funnel.deal_signals": deal,
    "funnel.deal_teams": either(persons("user_id"), deal),
    "funnel.opportunity_history": OWNED,
    "funnel.opportunity_movements": either(ALL_SCOPES_HIDDEN, deal),
    "funnel.pipeline_coverage": SCOPES,
    "funnel.pipeline_movements": SCOPES,
    "funnel.pipeline_snapshots": OWNED,
    "funnel.review_agenda": OWNED,
    "funnel.sales_velocity": SCOPES,
    "funnel.signal_effectiveness": all_rows,
    "funnel.specialist_suggestions": either(persons("owner_id"), deal),
    "funnel.stage_conversion": all_rows,
    "funnel.stage_transitions": all_rows,
    "funnel.stage_visits": either(persons("owner_id"), deal),
    "funnel.teaming_effect": all_rows,
    "funnel.win_rates": by_dimension("dimension", "member", persons="manager owner"),
    "key_accounts.concentration": by_dimension(
        "dimension", "top_member", persons="seller", accounts="account ultimate_parent"
    ),
    "key_accounts.concentration_members": by_dimension(
        "dimension", "member", persons="seller", accounts="account ultimate_parent"
    ),
    "key_accounts.key_account_findings": HELD,
    "key_accounts.key_account_health": either(persons("manager_id", "executive_sponsor_id"), account()),
    "key_accounts.key_account_list": HELD,
    "key_accounts.key_account_reviews": HELD,
    "key_accounts.plan_execution": either(persons("owner_id", "executive_sponsor_id"), account()),
    "key_accounts.relationship_map": HELD,
    "key_accounts.whitespace": HELD,
    "people.best_practices": all_rows,
    "people.career_criteria": persons("person_id"),
    "people.career_path": persons("person_id"),
    "people.coaching_plan": persons("seller_id"),
    "people.manager_coaching": persons("manager_id"),
    "people.manager_deals": persons("manager_id"),
    "people.quota_attainment": by_dimension(
        "scope_type", "scope_id", persons="manager seller", hidden="region segment"
    ),
    "people.ramp_curves": by_dimension("cohort_type", "cohort_id", fewest="n"),
    "people.rep_diagnosis": persons("seller_id"),
    "people.rep_ramp": persons("rep_id"),
    "people.role_fit": persons("seller_id"),
    "people.sales_ops_service": all_rows,
    "people.specialist_engagement": lambda frame, scope: frame["user_id"].isin({"all"} | scope.persons),
    "people.talent": persons("seller_id"),
    "people.talent_criteria": persons("seller_id"),
    "pricing.discount_discipline": SCOPES,
    "pricing.discount_exceptions": OWNED,
    "pricing.price_realization": by_dimension("dimension", "member", persons="seller"),
    "reconciliation.billing_documents": either(deal, account()),
    "reconciliation.booking_bridge": all_rows,
    "reconciliation.booking_to_billing": lambda frame, scope: pd.Series(
        [key in scope.billed for key in zip(frame["row_type"], frame["row_id"], strict=True)], frame.index, dtype=bool
    ),
    "reconciliation.bridge_items": lambda frame, scope: pd.Series(
        [key in scope.billed for key in zip(frame["row_type"], frame["row_id"], strict=True)], frame.index, dtype=bool
    ),
    "reconciliation.forecast_to_billing": all_rows,
    "retention.account_growth": by_dimension("dimension", "member", persons="account_manager", accounts="customer"),
    "retention.arr_bridges": OF_ACCOUNT_MANAGERS,
    "retention.arr_movements": either(persons("account_manager_id"), account("customer_id")),
    "retention.cohort_retention": all_rows,
    "retention.renewals": either(persons("account_manager_id"), account()),
    "retention.revenue_retention": OF_ACCOUNT_MANAGERS,
    "retention.sales_growth": all_rows,
    "scorecard.behaviours": all_rows,
    "scorecard.world_class_metrics": all_rows,
}


def tables_of(database: Path) -> dict[str, pd.DataFrame]:
    """Every mart of a release as a frame, with a hash of the whole row in `_row`."""
    with duckdb.connect(str(database), read_only=True) as connection:
        names = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables order by 1"
        ).fetchall()
        return {
            str(name): connection.execute(f"select *, hash(t) as _row from {name} as t").fetchdf() for (name,) in names
        }


def texts(frame: pd.DataFrame) -> list[str]:
    """The columns with words in them."""
    return [name for name in frame if pd.api.types.infer_dtype(frame[name], skipna=True) == "string"]
