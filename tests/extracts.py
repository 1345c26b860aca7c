"""Small extracts for tests: a few files by hand, in the shape of the contract."""

from __future__ import annotations

import json
from pathlib import Path

USERS = """\
user_id,name,role,manager_id,region,segment,hired_on
m1,Mara Lind,manager,,North,,2020-01-06
s1,Sam Oduya,account_executive,m1,North,Mid-Market,2021-03-01
s2,Sofia Reyes,account_executive,m1,North,Enterprise,2022-09-12
"""
ACCOUNTS = """\
account_id,name,parent_account_id,segment
a1,Arden Foods,,Mid-Market
a2,Arden Dairy,a1,Mid-Market
"""
OPPORTUNITY_HEADER = (
    "opportunity_id,account_id,owner_id,name,opportunity_type,stage,amount,created_at,close_date,closed_at"
)
OPPORTUNITIES = f"""\
{OPPORTUNITY_HEADER}
o1,a1,s1,Cold store,new_business,Closed Won,1200.50,2026-01-05T09:00:00Z,2026-02-10,2026-02-10T15:00:00Z
o2,a1,s1,Second line,expansion,Proposal,800,2026-02-01T09:00:00Z,2026-04-30,
o3,a2,s2,Dairy pilot,new_business,Closed Lost,300,2026-01-20T09:00:00Z,2026-03-01,2026-03-01T10:00:00Z
o4,a2,s2,Dairy roll-out,new_business,Discovery,2500,2026-02-15T09:00:00Z,2026-06-30,
"""


def write_extract(
    directory: Path,
    *,
    extracted_at: str | None = "2026-03-02T06:00:00Z",
    mode: str = "full",
    **files: str | bytes | None,
) -> Path:
    """Writes an extract directory: the three required files, and `crm_x=` or `finance_x=` for any other.

    A file given as None is left out.
    """
    contents: dict[str, str | bytes | None] = {
        "crm_users": USERS,
        "crm_accounts": ACCOUNTS,
        "crm_opportunities": OPPORTUNITIES,
        **files,
    }
    for name, content in contents.items():
        folder, _, entity = name.partition("_")
        path = directory / folder / f"{entity}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    header = directory / "extract.json"
    if extracted_at:
        header.write_text(json.dumps({"extracted_at": extracted_at, "mode": mode}))
    else:
        header.unlink(missing_ok=True)
    return directory


def with_row(row: str) -> str:
    """The usual opportunities and one more row, which stands on line 6."""
    return f"{OPPORTUNITIES}{row}\n"
