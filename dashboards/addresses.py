"""Where the pages show a mart: what a row of evidence leads to."""

from __future__ import annotations

from dashboards.parts import link

# The page that shows a mart: by its name where a schema's marts are on several pages, else by its schema.
PAGES = {
    "funnel.deal_health": ("this_week", "This week"),
    "funnel.deal_signals": ("this_week", "This week"),
    "funnel.review_agenda": ("this_week", "This week"),
    "funnel.deal_teams": ("deal", "Deal"),
    "funnel.signal_effectiveness": ("data", "Data"),
    "funnel": ("funnel", "Funnel"),
    "forecast_accuracy": ("forecast", "Forecast"),
    "reconciliation": ("reconciliation", "Reconciliation"),
    "pricing": ("pricing", "Pricing"),
    "retention": ("retention", "Retention"),
    "key_accounts.key_account_reviews": ("data", "Data"),
    "key_accounts": ("key_accounts", "Key accounts"),
    "people.manager_deals": ("data", "Data"),
    "people": ("people", "People"),
    "core.opportunities": ("funnel", "Funnel"),
    "core": ("data", "Data"),
}
# The tab of that page, where it is not the first one.
PARTS = {
    "forecast_accuracy.forecast_error": "Value added",
    "forecast_accuracy.forecast_value_added": "Value added",
    "funnel.sales_velocity": "Velocity",
    "people.career_path": "Talent",
    "people.manager_coaching": "Managers' coaching",
    "people.ramp_curves": "New sellers",
    "people.role_fit": "Talent",
    "people.sales_ops_service": "Sales operations",
    "people.specialist_engagement": "Specialists",
    "people.talent": "Talent",
    "pricing.discount_discipline": "Discipline",
    "retention.account_growth": "Accounts",
    "retention.revenue_retention": "Who stays",
    "retention.sales_growth": "Sales growth",
}


def page_of(table: str) -> tuple[str, str]:
    """The page that shows a mart, and its title; the page Data where no other does."""
    return PAGES.get(table) or PAGES.get(table.split(".")[0]) or ("data", "Data")


def address_of(table: str) -> str:
    """Where that page shows the mart."""
    page, _ = page_of(table)
    return link(page, table=table) if page == "data" else link(page, **{f"{page}_part": PARTS.get(table)})
