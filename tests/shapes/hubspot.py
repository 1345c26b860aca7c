"""The demo company as HubSpot would give it, and as much of it as HubSpot can hold in the extract's own form.

Both are made from the same extract directory, with the same ids: those of the demo with the code of their letter before
the digits, so that `U000123` is owner 85000123.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb

from orchestration.ingest.contract import load_source
from orchestration.settings import SEEDS

# What HubSpot's basic objects do not hold, in whole or in part (docs/hubspot.md).
ENTITIES = (
    "users accounts contacts products opportunities opportunity_changes opportunity_contacts opportunity_lines "
    "activities quotas"
).split()
LEFT_OUT = {"opportunities": ["product_id"], "opportunity_contacts": ["added_at"]}

PROPERTIES = {
    "stage": "dealstage",
    "amount": "amount",
    "close_date": "closedate",
    "forecast_category": "hs_manual_forecast_category",
    "owner_id": "hubspot_owner_id",
    "next_step": "hs_next_step",
    "competitor": "competitor",
}
# HubSpot's own words, as seeds/aliases.csv reads them back.
WORDS = {
    "dealtype": {"new_business": "newbusiness", "expansion": "existingbusiness"},
    "forecast": {
        "omitted": "OMIT",
        "pipeline": "PIPELINE",
        "best_case": "BEST_CASE",
        "commit": "COMMIT",
        "closed": "CLOSED",
    },
    "seniority": {"c_level": "executive", "individual": "employee"},
    "role": {
        "economic_buyer": "BUDGET_HOLDER",
        "champion": "CHAMPION",
        "decision_maker": "DECISION_MAKER",
        "technical_evaluator": "TECHNICAL_EVALUATOR",
        "user": "END_USER",
        "blocker": "BLOCKER",
    },
    "label": {
        "economic_buyer": "Budget holder",
        "champion": "Champion",
        "decision_maker": "Decision maker",
        "technical_evaluator": "Technical evaluator",
        "user": "End user",
        "blocker": "Blocker",
    },
}
# HubSpot's association types of an engagement: with a deal, a company, a contact.
ENGAGEMENTS = {
    "calls": ("call", 206, 182, 194),
    "emails": ("email", 210, 186, 198),
    "meetings": ("meeting", 212, 188, 200),
    "tasks": ("task", 216, 192, 204),
}


def write_hubspot(extract: Path, directory: Path, *, among: Sequence[Path] = ()) -> Path:
    """Writes an extract of the demo company as files of the source `hubspot`.

    Args:
        among: all extracts of that company, oldest first, where there are several.
    """
    directory.mkdir(parents=True)
    shutil.copy(extract / "extract.json", directory)
    connection = _read(extract, among or [extract])
    for name, query in _tables().items():
        _write(connection, query, directory / f"{name}.csv")
    return directory


def write_restricted(extract: Path, directory: Path) -> Path:
    """Writes what HubSpot can hold of an extract of the demo company, in the form of the source `extract`."""
    (directory / "crm").mkdir(parents=True)
    shutil.copy(extract / "extract.json", directory)
    connection = _read(extract, [extract])
    ids = {
        "opportunity_changes": "opportunity_id changed_by_id",
        "users": "user_id manager_id",
        "accounts": "account_id parent_account_id owner_id",
        "contacts": "contact_id account_id",
        "products": "product_id",
        "opportunities": "opportunity_id account_id owner_id",
        "opportunity_contacts": "opportunity_id contact_id",
        "opportunity_lines": "line_id opportunity_id product_id",
        "activities": "activity_id user_id account_id opportunity_id contact_id",
        "quotas": "user_id",
    }
    relations = {name: f"select * from {name}" for name in ENTITIES}
    # An owner is a value of a change too; a change has no id of its own.
    relations["opportunity_changes"] = f"""
        select * replace (
            concat_ws('-', hs(opportunity_id), {_words("property", "field", PROPERTIES)}, changed_at) as change_id,
            case when field = 'owner_id' then hs(old_value) else old_value end as old_value,
            case when field = 'owner_id' then hs(new_value) else new_value end as new_value
        ) from opportunity_changes
    """
    # A goal is changed in place: the last amount holds for the whole period.
    relations["quotas"] = f"select * replace (period_start as effective_from) from ({LAST_QUOTAS})"
    for name, query in relations.items():
        renamed = ", ".join(f"hs({column}) as {column}" for column in ids[name].split())
        without = f"exclude ({', '.join(LEFT_OUT[name])})" if name in LEFT_OUT else ""
        _write(connection, f"select * {without} replace ({renamed}) from ({query})", directory / "crm" / f"{name}.csv")
    return directory


def _words(name: str, column: str, words: dict[str, str] | None = None) -> str:
    """SQL that says a word of the contract in HubSpot's."""
    pairs = " ".join(f"when '{ours}' then '{theirs}'" for ours, theirs in (words or WORDS[name]).items())
    return f"case {column} {pairs} else {column} end"


LAST_QUOTAS = """
    select * from quotas
    qualify row_number() over (partition by user_id, period_start, period_end order by effective_from desc) = 1
"""


def _read(extract: Path, among: Sequence[Path]) -> duckdb.DuckDBPyConnection:
    """The extract's files as tables of text, doubled rows and all; `stages`; `hs` for ids.

    What a deal was created with is told by the extract it is first in, from all that is ever told of its changes:
    `born` are those deals, `every_change` those changes.
    """
    connection = duckdb.connect()
    connection.execute("create macro hs(id) as ascii(left(id, 1)) || substr(id, 2)")

    def rows(name: str, extracts: Sequence[Path]) -> str:
        files = [f"{one / 'crm' / name}.csv" for one in extracts if (one / "crm" / f"{name}.csv").exists()]
        if not files:
            columns = [column.name for column in load_source("extract").table(name).columns]
            return "select " + ", ".join(f"null::varchar as {column}" for column in columns) + " limit 0"
        return f"select * from read_csv({files}, all_varchar = true)"

    for name in ENTITIES:
        connection.execute(f"create table {name} as {rows(name, [extract])}")
    earlier = among[: list(among).index(extract)]
    connection.execute(
        f"""
        create table every_change as
        select distinct on (change_id) * from ({rows("opportunity_changes", among)}) order by change_id;
        create table born as
        select * from opportunities where opportunity_id not in (
            select opportunity_id from ({rows("opportunities", earlier)})
        );
        create table stages as
        select
            stage as label, (9000 + row_number() over ())::varchar as id, (is_open = 'false')::varchar as is_closed
        from read_csv('{SEEDS / "stages.csv"}', all_varchar = true);
        -- A pipeline may have a stage the policy does not know.
        insert into stages select 'Verbal OK', '9999', 'true';
        """
    )
    return connection


def _write(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    connection.execute(f"copy ({query}) to '{path}' (format csv, header true)")


def _tables() -> dict[str, str]:
    """The query behind each table of the source `hubspot`."""
    first, rest = "split_part(name, ' ', 1)", "nullif(substr(name, length(split_part(name, ' ', 1)) + 2), '')"
    tables = {
        "owners": f"""
            select
                hs(user_id) as id, email, {first} as "firstName", {rest} as "lastName",
                '1' || substr(user_id, 2) as "userId", team as "primaryTeamName",
                (is_active = 'false')::varchar as archived, role, level,
                hs(manager_id) as manager_id, region, segment, hired_on, terminated_on
            from users
        """,
        "companies": """
            select
                hs(account_id) as id, name, hs(parent_account_id) as hs_parent_company_id,
                hs(owner_id) as hubspot_owner_id, industry, country, employee_count as numberofemployees,
                annual_revenue as annualrevenue, created_at as createdate, is_deleted as archived, region, segment,
                addressable_spend, addressable_spend_source
            from accounts
        """,
        "contacts": f"""
            select
                hs(contact_id) as id, {first} as firstname, {rest} as lastname, email, title as jobtitle,
                business_function as job_function, {_words("seniority", "seniority")} as hs_seniority,
                {_words("role", "buying_role")} as hs_buying_role, hs(account_id) as associatedcompanyid,
                'false' as archived, is_active
            from contacts
        """,
        "products": """
            select
                hs(product_id) as id, name, list_price as price, currency as "companyCurrency", family,
                'false' as archived
            from products
        """,
        "deal_stages": """
            select
                id, label, row_number() over (order by id) as "displayOrder", is_closed as "isClosed",
                'false' as archived, 'default' as "pipelineId", 'Sales Pipeline' as "pipelineLabel"
            from stages
        """,
        # A deal that is open entered its stage some time; nothing stands on when.
        "deals": f"""
            select
                hs(opportunity_id) as id, name as dealname, 'default' as pipeline, stages.id as dealstage,
                {_words("dealtype", "opportunity_type")} as dealtype, amount, currency as deal_currency_code,
                close_date || 'T00:00:00Z' as closedate, created_at as createdate, hs(owner_id) as hubspot_owner_id,
                {_words("forecast", "forecast_category")} as hs_manual_forecast_category,
                opportunities.probability as hs_deal_stage_probability, stages.is_closed as hs_is_closed,
                coalesce(closed_at, updated_at) as hs_v2_date_entered_current_stage, loss_reason as closed_lost_reason,
                next_step as hs_next_step, next_step_updated_at as hs_next_step_updated_at,
                updated_at as hs_lastmodifieddate, is_deleted as archived, lead_source, competitor
            from opportunities left join stages on opportunities.stage = stages.label
        """,
        "deal_property_history": f"""
            with firsts as (
                select * from every_change
                qualify row_number() over (partition by opportunity_id, field order by changed_at, change_id) = 1
            ),
            fields as (
                unpivot (select opportunity_id, {", ".join(PROPERTIES)} from born) on {", ".join(PROPERTIES)}
                into name field value current_value
            ),
            created as (
                select opportunity_id, created_at, owner_id as created_by_id, field
                from born cross join (select unnest([{", ".join(f"'{name}'" for name in PROPERTIES)}]) as field)
            ),
            told as (
                select distinct on (change_id)
                    opportunity_id, field, changed_at, new_value as value, changed_by_id, 'CRM_UI' as source
                from opportunity_changes
                union all
                select
                    opportunity_id, field, created.created_at,
                    case when firsts.change_id is null then current_value else firsts.old_value end,
                    created.created_by_id, 'CRM_UI'
                from created
                left join firsts using (opportunity_id, field)
                left join fields using (opportunity_id, field)
            )
            select
                hs(opportunity_id) as deal_id, {_words("property", "field", PROPERTIES)} as property,
                changed_at as "timestamp",
                case
                    when field = 'stage' then stages.id
                    when field = 'owner_id' then hs(value)
                    when field = 'close_date' then value || 'T00:00:00Z'
                    when field = 'forecast_category' then {_words("forecast", "value")}
                    else value
                end as value,
                source as "sourceType", '1' || substr(changed_by_id, 2) as "updatedByUserId"
            from told left join stages on field = 'stage' and value = stages.label
            where value is not null
            order by 1, 2, 3 desc
        """,
        "line_items": """
            select
                hs(line_id) as id, hs(product_id) as hs_product_id, quantity, list_unit_price as price,
                list_unit_price::decimal(18, 4) - net_unit_price::decimal(18, 4) as discount,
                currency as hs_line_item_currency_code, term_months as hs_term_in_months, discount_reason,
                'false' as archived
            from opportunity_lines
        """,
        "calls": """
            select
                hs(activity_id) as id, occurred_at as hs_timestamp, upper(direction) as hs_call_direction,
                duration_minutes::bigint * 60000 as hs_call_duration, hs(user_id) as hubspot_owner_id,
                case when is_completed = 'true' then 'COMPLETED' else 'NO_ANSWER' end as hs_call_status, purpose,
                'false' as archived
            from activities where activity_type = 'call'
        """,
        "emails": """
            select
                hs(activity_id) as id, occurred_at as hs_timestamp,
                case direction when 'inbound' then 'INCOMING_EMAIL' else 'EMAIL' end as hs_email_direction,
                case when is_completed = 'true' then 'SENT' else 'FAILED' end as hs_email_status,
                hs(user_id) as hubspot_owner_id, purpose, 'false' as archived
            from activities where activity_type = 'email'
        """,
        "meetings": """
            select
                hs(activity_id) as id, occurred_at as hs_timestamp, occurred_at as hs_meeting_start_time,
                strftime(occurred_at::timestamp + to_minutes(duration_minutes::integer), '%Y-%m-%dT%H:%M:%SZ')
                    as hs_meeting_end_time,
                case when is_completed = 'true' then 'COMPLETED' else 'SCHEDULED' end as hs_meeting_outcome,
                case activity_type when 'demo' then 'Demo' else 'Sales meeting' end as hs_activity_type,
                hs(user_id) as hubspot_owner_id, direction, purpose, 'false' as archived
            from activities where activity_type in ('meeting', 'demo')
        """,
        "tasks": """
            select
                hs(activity_id) as id, occurred_at as hs_timestamp,
                case when is_completed = 'true' then 'COMPLETED' else 'NOT_STARTED' end as hs_task_status,
                hs(user_id) as hubspot_owner_id, direction, purpose, 'false' as archived
            from activities where activity_type = 'task'
        """,
        "associations": _associations(),
        "goal_targets": f"""
            select
                '81' || substr(user_id, 2) || replace(period_start, '-', '') as id,
                'Quota' as hs_goal_name, hs(user_id) as hubspot_owner_id,
                period_start || 'T00:00:00Z' as hs_start_datetime,
                period_end || 'T23:59:59.999Z' as hs_end_datetime, amount as hs_target_amount,
                currency as hs_goal_target_currency_code, 'currency' as hs_kpi_unit_type, 'false' as archived
            from ({LAST_QUOTAS})
        """,
    }
    return tables


def _associations() -> str:
    """Every association has HubSpot's own type; the primary company and a contact's role are further rows."""

    def rows(
        relation: str, from_type: str, from_id: str, to_type: str, to_id: str, type_id: object, **more: str
    ) -> str:
        return (
            f"select '{from_type}' as from_type, hs({from_id}) as from_id, '{to_type}' as to_type, "
            f"hs({to_id}) as to_id, '{more.get('category', 'HUBSPOT_DEFINED')}' as category, "
            f'({type_id})::varchar as "typeId", '
            f"{more.get('label', 'null')} as label from {relation} where {to_id} is not null"
        )

    labels = "list_position(['" + "', '".join(WORDS["label"]) + "'], buying_role)"
    parts = [
        rows("opportunities", "deals", "opportunity_id", "companies", "account_id", 341),
        rows("opportunities", "deals", "opportunity_id", "companies", "account_id", 5, label="'Primary'"),
        rows("opportunity_contacts", "deals", "opportunity_id", "contacts", "contact_id", 3),
        rows(
            "(select * from opportunity_contacts where buying_role is not null)",
            "deals",
            "opportunity_id",
            "contacts",
            "contact_id",
            labels,
            category="USER_DEFINED",
            label=_words("label", "buying_role"),
        ),
        rows("opportunity_lines", "line_items", "line_id", "deals", "opportunity_id", 20),
    ]
    for table, (kind, deal, company, contact) in ENGAGEMENTS.items():
        kinds = "('meeting', 'demo')" if kind == "meeting" else f"('{kind}')"
        relation = f"(select distinct on (activity_id) * from activities where activity_type in {kinds})"
        parts += [
            rows(relation, table, "activity_id", "deals", "opportunity_id", deal),
            rows(relation, table, "activity_id", "companies", "account_id", company),
            rows(relation, table, "activity_id", "contacts", "contact_id", contact),
        ]
    return " union all ".join(parts)
