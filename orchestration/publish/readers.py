"""Who may read which rows of a mart: what its yml says under `readers`, and the manifest of a release after it.

A row is seen by everybody whom one of the rules opens it to; whom none opens it to does not see it.
docs/pages-access.md says what each rule means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestration.errors import UsageError

EVERYONE = "everyone"


@dataclass(frozen=True)
class Member:
    """Rows of a table by dimension: what `of` says decides what the id in the column `id` is.

    Attributes:
        person: words of `of` that make the id a person.
        account: words that make it an account.
        everyone: words whose rows are about no person and no account. Words that stand nowhere are for
            those who see everything.
        at_least: a column that counts people, and how many there must be before everyone may read the row.
    """

    of: str
    id: str
    person: tuple[str, ...] = ()
    account: tuple[str, ...] = ()
    everyone: tuple[str, ...] = ()
    at_least: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Readers:
    """The rules of one mart; a row is seen by whom any of them opens it to, and by those who see everything.

    Attributes:
        everyone: everybody reads every row.
        reason: why, although persons stand in it.
        person: columns of persons: read by them and by whoever is above them.
        deal: column of deals: read by who sees the deal in core.opportunities.
        account: column of accounts: read by who sees the account in core.accounts.
        member: rows by dimension.
        row_of: a mart of which a row stands behind this one, by columns of the same names: read by who sees that row.
        mentioned: columns of persons that open nothing, each with the reason why it is there.
    """

    everyone: bool = False
    reason: str = ""
    person: tuple[str, ...] = ()
    deal: str | None = None
    account: str | None = None
    member: Member | None = None
    row_of: tuple[str, tuple[str, ...]] | None = None
    mentioned: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> set[str]:
        """Every column the rules name."""
        member = {self.member.of, self.member.id, *self.member.at_least} if self.member else set()
        single = {column for column in (self.deal, self.account) if column}
        return {*self.person, *single, *member, *(self.row_of[1] if self.row_of else ()), *self.mentioned}


def readers_of(table: str, said: object) -> Readers:
    """The rules of a mart as they stand in its yml or in a manifest.

    Raises:
        UsageError: nothing is said, or something that is no rule.
    """
    if said == EVERYONE:
        return Readers(everyone=True)
    try:
        if not isinstance(said, dict) or not said:
            raise TypeError("say everyone, or who")
        rules: dict[str, Any] = dict(said)
        if EVERYONE in rules:
            rules = {"everyone": True, "reason": str(rules.pop(EVERYONE)), **rules}
        if "person" in rules:
            rules["person"] = tuple(rules["person"])
        if "member" in rules:
            words: dict[str, Any] = {
                name: tuple(value) if name in ("person", "account", "everyone") else value
                for name, value in rules["member"].items()
            }
            rules["member"] = Member(**words)
        if "row_of" in rules:
            rules["row_of"] = (rules["row_of"]["table"], tuple(rules["row_of"]["columns"]))
        return Readers(**rules)
    except (TypeError, KeyError) as error:
        raise UsageError(
            f"readers of {table} are not what they must be: {error}; docs/pages-access.md has the rules."
        ) from None
