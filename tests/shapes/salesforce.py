"""The demo company as an organisation that runs on Salesforce would have it.

`write_shapes` writes the same facts twice: as Salesforce objects, and
    as an extract that follows the contract. Both have
Salesforce's ids, so that every table made of one must equal, row for row, the table made of the other. What Salesforce
cannot hold is in neither: docs/salesforce.md lists it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

# Which letter the demo company's ids begin with, and what Salesforce's do.
KEY_PREFIXES = {"U": "005", "A": "001", "C": "003", "O": "006", "P": "01t", "L": "00k", "H": "017"}
OTHER_PREFIXES = {"task": "00T", "event": "00U", "role": "00E", "submission": "0sb", "item": "0si", "type": "0Db"}
ABSENT = (
    "user_roles",
    "discount_approvals",
    "qualifications",
    "coaching_sessions",
    "support_requests",
    "account_plans",
    "account_plan_objectives",
)
ENTITIES = (
    "users",
    "accounts",
    "contacts",
    "products",
    "opportunities",
    "opportunity_changes",
    "opportunity_team",
    "opportunity_contacts",
    "opportunity_lines",
    "activities",
    "quotas",
    "forecast_submissions",
)

# How an organisation writes the words the contract knows; seeds/aliases.csv says what they mean.
WORDS = {
    "role": {
        "account_executive": "Account Executive",
        "development_rep": "Sales Development Representative",
        "account_manager": "Account Manager",
        "customer_success": "Customer Success Manager",
        "specialist": "Sales Engineer",
        "manager": "Sales Manager",
        "executive": "CEO",
        "sales_ops": "Sales Operations",
        "product": "Product Management",
    },
    "type": {"new_business": "New Business", "expansion": "Existing Business", "renewal": "Renewal"},
    "category": {
        "pipeline": "Pipeline",
        "best_case": "BestCase",
        "commit": "Forecast",
        "closed": "Closed",
        "omitted": "Omitted",
    },
    "category_name": {
        "pipeline": "Pipeline",
        "best_case": "Best Case",
        "commit": "Commit",
        "closed": "Closed",
        "omitted": "Omitted",
    },
    "buying_role": {
        "economic_buyer": "Economic Buyer",
        "champion": "Champion",
        "decision_maker": "Decision Maker",
        "technical_evaluator": "Technical Buyer",
        "user": "Business User",
        "blocker": "Blocker",
    },
    "team_role": {
        "owner": "Opportunity Owner",
        "specialist": "Pre-Sales Consultant",
        "sourcing": "Lead Qualifier",
        "peer": "Sales Rep",
    },
    "field": {
        "stage": "StageName",
        "amount": "Amount",
        "close_date": "CloseDate",
        "forecast_category": "ForecastCategoryName",
        "owner_id": "Owner",
        "next_step": "NextStep",
    },
}


def salesforce_id(prefix: str, number: str) -> str:
    """SQL for the 18 characters of an id: 15, and three that say which of the letters are capital."""
    characters = prefix + "0" * 12
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    check = "".join(
        letters[sum(1 << place for place in range(5) if characters[chunk + place].isupper())] for chunk in (0, 5, 10)
    )
    return f"('{prefix}' || lpad(cast({number} as varchar), 12, '0') || '{check}')"


def salesforce_key(column: str) -> str:
    """SQL for the id that an id of the demo company becomes; its order within an entity stays."""
    number = f"cast(substr({column}, 2) as bigint)"
    cases = " ".join(f"when '{letter}' then {salesforce_id(prefix, number)}" for letter, prefix in KEY_PREFIXES.items())
    return f"case substr({column}, 1, 1) {cases} end"


def numbered(*parts: tuple[str, int]) -> str:
    """SQL for the number of a row that belongs to others: their numbers one after another, so many digits each.

    An id stays what it is whatever other rows come.
    """
    numbers = ((f"substr({column}, 4, 12)" if column.endswith("_id") else column, count) for column, count in parts)
    return " || ".join(f"lpad(cast(cast({number} as bigint) as varchar), {count}, '0')" for number, count in numbers)


def day_number(column: str) -> str:
    """SQL for the number of a day, of eight digits."""
    return f"replace({column}, '-', '')"


def said(kind: str, column: str) -> str:
    """SQL for the word an organisation says; one the contract does not know stays as it is."""
    cases = " ".join(f"when '{word}' then '{other}'" for word, other in WORDS[kind].items())
    return f"case {column} {cases} else {column} end"


def write_shapes(demo: Path, salesforce: Path, contract: Path) -> None:
    """Writes what Salesforce can hold of a demo company as its objects, and as an extract."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'; set preserve_insertion_order = true")
    for path in sorted([*demo.glob("crm/*.csv"), *demo.glob("finance/*.csv")]):
        connection.execute(
            f"create view demo_{path.stem} as select * from read_csv('{path}', all_varchar = true, header = true)"
        )
    header = duckdb.execute(f"select extracted_at from read_json('{demo / 'extract.json'}')").fetchone()
    assert header
    connection.execute(f"set variable extracted_at = '{header[0]:%Y-%m-%dT%H:%M:%SZ}'")
    _restrict(connection)
    for folder in (salesforce, contract):
        folder.mkdir(parents=True)
        shutil.copy(demo / "extract.json", folder / "extract.json")
    for entity in (*ENTITIES, "fx_rates"):
        home = contract / ("finance" if entity == "fx_rates" else "crm")
        home.mkdir(exist_ok=True)
        connection.execute(f"copy {entity} to '{home / entity}.csv' (header)")
    for name, sql in _objects().items():
        connection.execute(f"copy ({sql}) to '{salesforce / name}.csv' (header)")


def _restrict(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes one table an entity, in the contract's form, with Salesforce's ids and no more than Salesforce holds."""
    for entity in ENTITIES:
        columns = [row[0] for row in connection.execute(f"describe demo_{entity}").fetchall()]
        keys = [name for name in columns if name.endswith("_id") and name not in ("activity_id", "submission_id")]
        mapped = ", ".join(f"{salesforce_key(name)} as {name}" for name in keys)
        connection.execute(f"create table {entity} as select * replace ({mapped}) from demo_{entity}")

    is_task = "activity_type in ('email', 'call')"
    number = "cast(substr(activity_id, 2) as bigint)"
    category = "case category when 'commit' then '-commit' else '-best_case' end"
    days = "cast(period_end as date) - cast(period_start as date)"
    connection.execute(
        f"""
        -- Whole percents, of which none is meant as a share.
        update opportunities set probability =
            cast(floor(case when cast(probability as double) > 1 then cast(probability as double)
                else cast(probability as double) * 100 end + 0.5) / 100 as varchar);

        -- The values of these two are of other fields' ids.
        update opportunity_changes set
            old_value = case when field = 'owner_id' then {salesforce_key("old_value")} else old_value end,
            new_value = case when field = 'owner_id' then {salesforce_key("new_value")} else new_value end;
        -- Which field of its own an organisation tracks is policy: seeds/source_fields.csv names none here.
        delete from opportunity_changes where field = 'competitor';

        -- Who has left a team is no longer there.
        delete from opportunity_team where left_at is not null;
        alter table opportunity_team drop left_at;

        update activities set activity_id =
            case when {is_task} then {salesforce_id(OTHER_PREFIXES["task"], number)}
                else {salesforce_id(OTHER_PREFIXES["event"], number)} end;

        -- One amount a person and period, the last that was set.
        create or replace table quotas as
            select * replace (period_start as effective_from) from quotas
            qualify row_number() over (partition by user_id, period_start, period_end order by effective_from desc) = 1;

        -- Both numbers of a call are one submission.
        update forecast_submissions set submission_id =
            {salesforce_id(OTHER_PREFIXES["submission"], "numbered.number")} || {category}
        from (
            select submission_id as demo_id, min(cast(substr(submission_id, 2) as bigint)) over (
                partition by submitter_id, period_start, period_end, submitted_at) as number
            from forecast_submissions
        ) as numbered
        where submission_id = demo_id;

        -- No plan rates, and each rate as units of the currency for one of the corporate currency, to six decimals.
        create table fx_rates as
            select rate_date, to_currency as from_currency, from_currency as to_currency, rate_type,
                cast(cast(1 / cast(rate as double) as decimal(18, 6)) as varchar) as rate
            from demo_fx_rates where rate_type = 'spot';

        create table periods as
            select period_start, period_end,
                {numbered((day_number("period_start"), 8), (days, 3))} as number
            from (select period_start, period_end from quotas union select period_start, period_end
                from forecast_submissions);
        """
    )


def _objects() -> dict[str, str]:
    """The SQL of each Salesforce object, over the tables in the contract's form."""
    other = {kind: salesforce_id(prefix, "{}").format for kind, prefix in OTHER_PREFIXES.items()}
    now = "getvariable('extracted_at')"
    moment = "least({}, " + now + ")"
    # When a row last changed, as far as the demo company says; rows it does not date never have.
    modified, made = "{} as SystemModstamp".format, "'2019-01-01T00:00:00Z'"
    first_day, item_prefix = day_number("period_start"), OTHER_PREFIXES["item"]
    currency, category = "case currency when 'EUR' then 1 else 2 end", "case category when 'commit' then 1 else 2 end"
    submission = "substr(submission_id, 4, 12)"
    ids = {
        name: salesforce_id(prefix, numbered(*parts))
        for name, (prefix, *parts) in {
            "price": ("01u", ("product_id", 4), ("book", 1), (currency, 1)),
            "member": ("00q", ("opportunity_id", 7), ("user_id", 5)),
            "split": ("1SP", ("opportunity_id", 7), ("user_id", 4), ("kind", 1)),
            "contact_role": ("00K", ("opportunity_id", 6), ("contact_id", 6)),
            "quota": ("0J9", ("user_id", 3), (first_day, 8), ("1", 1)),
            "family_quota": ("0J9", ("user_id", 3), (first_day, 8), ("2", 1)),
            "rate": ("04w", (day_number("rate_date"), 8), ("ascii(to_currency)", 3)),
            "item": (item_prefix, (submission, 11), (category, 1)),
            "pipeline_item": (item_prefix, (submission, 11), ("3", 1)),
        }.items()
    }
    period = (
        f"(select {salesforce_id('026', 'number')} from periods where periods.period_start = {{0}}.period_start "
        "and periods.period_end = {0}.period_end)"
    )
    roles = ", ".join(f"({number}, '{name}')" for number, name in enumerate(WORDS["role"].values(), start=1))
    activity = f"""
        activity_id as Id, user_id as OwnerId, contact_id as WhoId, coalesce(opportunity_id, account_id) as WhatId,
            account_id as AccountId,
        'false' as IsRecurrence, {moment.format("occurred_at")} as CreatedDate, 'false' as IsDeleted,
        {modified(moment.format("occurred_at"))},
            purpose
        """
    closed = "stage in ('Closed Won', 'Closed Lost', 'No Decision')"
    return {
        "UserRole": f"""
            select {other["role"]("number")} as Id, name as Name from (values {roles}) as roles (number, name)""",
        "User": f"""
            select user_id as Id, name as Name, email as Email, 'Standard' as UserType,
                (select {other["role"]("number")} from (values {roles}) as roles (number, name)
                    where roles.name = {said("role", "users.role")}) as UserRoleId,
                manager_id as ManagerId, is_active as IsActive, {modified(made)},
                level, team, region, segment, hired_on, terminated_on
            from users""",
        "Account": f"""
            select account_id as Id, name as Name, parent_account_id as ParentId, owner_id as OwnerId, industry
                as Industry,
                country as BillingCountryCode, employee_count as NumberOfEmployees, annual_revenue as AnnualRevenue,
                created_at as CreatedDate, is_deleted as IsDeleted, {modified("created_at")},
                region, segment, addressable_spend, addressable_spend_source
            from accounts""",
        "Contact": f"""
            select contact_id as Id, account_id as AccountId, name as Name, email as Email, title as Title,
                business_function as Department, 'false' as IsDeleted, {modified(made)},
                seniority, buying_role, is_active
            from contacts
            union all
            -- A private contact, and one that is in the recycle bin.
            select {salesforce_id("003", 900000001)}, null, 'A friend', null, null, null, 'false', {made}, null, null,
                null
            union all
            select {salesforce_id("003", 900000002)}, min(account_id), 'Gone', null, null, null, 'true', {made}, null,
                null, null
            from accounts""",
        "Product2": f"""
            select product_id as Id, name as Name, family as Family, 'false' as IsDeleted, {modified(made)}
            from products""",
        "Pricebook2": f"""
            select {salesforce_id("01s", 1)} as Id, 'true' as IsStandard union all select {salesforce_id("01s", 2)},
                'false'""",
        # A dearer book for partners, and the list in another currency.
        "PricebookEntry": f"""
            select {ids["price"]} as Id,
                case book when 1 then {salesforce_id("01s", 1)} else {salesforce_id("01s", 2)} end as Pricebook2Id,
                product_id as Product2Id, cast(cast(list_price as decimal(18, 2)) * factor as decimal(18, 2))
                    as UnitPrice,
                currency as CurrencyIsoCode, 'true' as IsActive, 'false' as IsDeleted, {modified(made)}
            from (select product_id, list_price, currency, 1 as book, 1 as factor from products
                union all select product_id, list_price, 'EUR', 1, 2 from products
                union all select product_id, list_price, currency, 2, 3 from products)""",
        "Opportunity": f"""
            select opportunity_id as Id, account_id as AccountId, owner_id as OwnerId, name as Name,
                {said("type", "opportunity_type")} as Type, stage as StageName,
                    {said("category", "forecast_category")} as ForecastCategory,
                amount as Amount, currency as CurrencyIsoCode,
                cast(floor(cast(probability as double) * 100 + 0.5) as bigint) as Probability, close_date as CloseDate,
                cast({closed} as varchar) as IsClosed, coalesce(closed_at, created_at) as LastStageChangeDate,
                    lead_source as LeadSource,
                next_step as NextStep, created_at as CreatedDate, updated_at as LastModifiedDate, is_deleted
                    as IsDeleted, {modified("updated_at")},
                loss_reason, competitor, product_id, next_step_updated_at
            from opportunities""",
        # A change of owner is there twice, and the creation of a deal is no change.
        "OpportunityFieldHistory": f"""
            select change_id as Id, opportunity_id as OpportunityId, {said("field", "field")} as Field,
                case field when 'owner_id' then 'EntityId' else 'Text' end as DataType,
                {
            ", ".join(
                f"case field when 'forecast_category' then {said('category_name', value)} else {value} end as {name}"
                for value, name in (("old_value", "OldValue"), ("new_value", "NewValue"))
            )
        },
                changed_by_id as CreatedById, changed_at as CreatedDate
            from opportunity_changes
            union all
            select {
            salesforce_id("017", "500000000000 + cast(substr(changes.change_id, 4, 12) as bigint)")
        }, changes.opportunity_id, 'Owner', 'Text',
                former.name, users.name, changes.changed_by_id, changes.changed_at
            from opportunity_changes as changes
            inner join users on changes.new_value = users.user_id
            inner join users as former on changes.old_value = former.user_id
            where changes.field = 'owner_id'
            union all
            select {
            salesforce_id("017", "600000000000 + cast(substr(opportunity_id, 4, 12) as bigint)")
        }, opportunity_id, 'created', 'Text',
                null, null, owner_id, created_at
            from opportunities""",
        "OpportunityHistory": _stage_history(),
        "OpportunityTeamMember": f"""
            select {ids["member"]} as Id,
                opportunity_id as OpportunityId,
                user_id as UserId, {said("team_role", "team_role")} as TeamMemberRole, joined_at as CreatedDate
            from opportunity_team""",
        "OpportunitySplitType": f"""
            select {salesforce_id("149", 1)} as Id, 'Revenue' as DeveloperName, 'true' as IsTotalValidated, 'true'
                as IsActive
            union all select {salesforce_id("149", 2)}, 'Overlay', 'false', 'true'""",
        "OpportunitySplit": f"""
            select {ids["split"]} as Id,
                opportunity_id as OpportunityId, user_id as SplitOwnerId,
                case kind when 1 then {salesforce_id("149", 1)} else {salesforce_id("149", 2)} end as SplitTypeId,
                cast(cast(share as decimal(9, 4)) * 100 as decimal(5, 2)) as SplitPercentage, joined_at as CreatedDate
            from (select *, 1 as kind, credit_share as share from opportunity_team
                union all select *, 2, overlay_share from opportunity_team)
            where cast(share as double) > 0""",
        "OpportunityContactRole": f"""
            select {ids["contact_role"]} as Id,
                opportunity_id as OpportunityId,
                contact_id as ContactId, {said("buying_role", "buying_role")} as Role, 'false' as IsPrimary,
                added_at as CreatedDate, 'false' as IsDeleted, {modified("added_at")}
            from opportunity_contacts""",
        "OpportunityLineItem": f"""
            select line_id as Id, opportunity_id as OpportunityId, product_id as Product2Id, quantity as Quantity,
                list_unit_price as ListPrice, net_unit_price as UnitPrice, null as Discount, currency
                    as CurrencyIsoCode,
                'false' as IsDeleted, {modified(made)}, term_months, discount_reason
            from opportunity_lines""",
        "Task": f"""
            select {activity}, case activity_type when 'email' then 'Email' else 'Call' end as TaskSubtype, null
                as Type,
                case when activity_type = 'call' then upper(substr(direction, 1, 1)) || substr(direction, 2) end
                    as CallType,
                is_completed as IsClosed, substr(occurred_at, 1, 10) as ActivityDate, occurred_at as CompletedDateTime,
                cast(duration_minutes as bigint) * 60 as CallDurationInSeconds,
                case when activity_type = 'email' then direction end as direction
            from activities where activity_type in ('email', 'call')""",
        # A copy for a guest, and the master of a series, are no meetings.
        "Event": f"""
            with events as (
                select {activity}, upper(substr(activity_type, 1, 1)) || substr(activity_type, 2) as Type, occurred_at
                    as StartDateTime,
                    substr(occurred_at, 1, 10) as ActivityDate, duration_minutes as DurationInMinutes, 'false'
                        as IsChild, direction
                from activities where activity_type in ('meeting', 'demo')
            )
            select * from events
            union all
            select * replace ({salesforce_id("00U", 900000001)} as Id, 'true' as IsChild) from events
                where Id = (select min(Id) from events)
            union all
            select * replace ({salesforce_id("00U", 900000002)} as Id, 'true' as IsRecurrence)
            from events where Id = (select max(Id) from events)""",
        "Period": f"""
            select {salesforce_id("026", "number")} as Id, 'Quarter' as Type, period_start as StartDate, period_end
                as EndDate
            from periods""",
        "ForecastingType": f"""
            select {other["type"](1)} as Id, 'OpportunityRevenue' as DeveloperName, 'true' as IsActive
            union all select {other["type"](2)}, 'OpportunityQuantity', 'true'""",
        "ForecastingQuota": f"""
            select {ids["quota"]} as Id, user_id
                as QuotaOwnerId,
                {period.format("quotas")} as PeriodId, period_start as StartDate, amount as QuotaAmount, 'true'
                    as IsAmount,
                null as ProductFamily, {other["type"](1)} as ForecastingTypeId, currency as CurrencyIsoCode
            from quotas
            union all
            select {ids["family_quota"]}, user_id,
                {period.format("quotas")}, period_start, amount, 'true', 'Instruments', {other["type"](1)}, currency
            from quotas""",
        "ForecastingSubmission": f"""
            select distinct substr(submission_id, 1, 18) as Id, submitter_id as ForecastOwnerId,
                {period.format("forecast_submissions")} as PeriodId, {other["type"](1)} as ForecastingTypeId, null
                    as ProductFamily,
                submitted_at as SubmissionDateTime, 'false' as IsDeleted, {modified("submitted_at")}
            from forecast_submissions""",
        "ForecastingSubmissionItem": f"""
            select {ids["item"]} as Id, substr(submission_id, 1, 18)
                as ForecastingSubmissionId,
                case category when 'commit' then 'CommitForecast' else 'BestCaseForecast' end
                    as ForecastingItemCategory,
                amount as Amount, currency as CurrencyIsoCode, submitted_at as CreatedDate, 'false' as IsDeleted,
                    {modified("submitted_at")}
            from forecast_submissions
            union all
            select {ids["pipeline_item"]}, substr(submission_id, 1,
                18), 'OpenPipeline',
                '1', currency, submitted_at, 'false', submitted_at
            from forecast_submissions where category = 'commit'""",
        "CurrencyType": f"""
            select {salesforce_id("01L", "row_number() over (order by currency)")} as Id, currency as IsoCode,
                cast(currency = 'USD' as varchar) as IsCorporate, null as ConversionRate
            from (select 'USD' as currency union select to_currency from fx_rates)""",
        "DatedConversionRate": f"""
            select {ids["rate"]} as Id, to_currency
                as IsoCode,
                rate_date as StartDate, rate as ConversionRate
            from fx_rates""",
    }


def _stage_history() -> str:
    """What each deal was when it began and after each change of the fields this history keeps."""
    fields = {
        "stage": "stage",
        "amount": "amount",
        "close_date": "close_date",
        "forecast_category": "forecast_category",
    }
    first = ", ".join(
        f"min_by(old_value, (changed_at, change_id)) filter (field = '{name}') as {name}" for name in fields
    )
    then = ", ".join(f"max_by(new_value, change_id) filter (field = '{name}') as {name}" for name in fields)
    state = ", ".join(f"last_value({name} ignore nulls) over so_far as {name}" for name in fields)
    place = "row_number() over (partition by opportunity_id order by changed_at)"
    step_id = salesforce_id("008", numbered(("opportunity_id", 7), (place, 5)))
    return f"""
        with steps as (
            select opportunities.opportunity_id, opportunities.created_at as changed_at, opportunities.owner_id
                as changed_by_id,
                {", ".join(f"coalesce(first.{name}, opportunities.{name}) as {name}" for name in fields)},
                    opportunities.currency
            from opportunities
            left join (select opportunity_id, {first} from opportunity_changes group by opportunity_id) as first
                using (opportunity_id)
            union all
            select opportunity_id, changed_at, min(changed_by_id), {then}, null
            from opportunity_changes where field in ({", ".join(f"'{name}'" for name in fields)})
            group by opportunity_id, changed_at
        ),
        states as (
            select opportunity_id, changed_at, changed_by_id, {state} from steps
            window so_far as (partition by opportunity_id order by changed_at rows unbounded preceding)
        )
        select {step_id} as Id, opportunity_id
            as OpportunityId,
            stage as StageName, amount as Amount, close_date as CloseDate, null as Probability,
            {said("category", "forecast_category")} as ForecastCategory, changed_by_id as CreatedById, changed_at
                as CreatedDate
        from states"""
