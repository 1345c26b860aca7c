"""Alerts: what a run's end means to whom.

A refused release or a failed run goes to the data owner. Red flags (rows of `funnel.deal_signals`) that were not there
in the release told last go to the manager of the deal, one message a manager and release. docs/alerts.md has the rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.errors import SourceError
from orchestration.publish.candidate import utc_now
from orchestration.publish.outbox import (
    Message,
    Waiting,
    alone,
    channels,
    deliver,
    has_address,
    put,
    waiting,
    write_whole,
)
from orchestration.publish.releases import current_release, release_manifest
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.running import RunResult

# A message is read on a telephone: so many deals in words, all of them in the details.
DEALS_TOLD = 20
DEALS_TOLD_FIRST = 5

FLAGS = """
select
    signals.opportunity_id,
    signals.signal,
    signals.severity,
    cast(signals.first_fired_on as varchar) as first_fired_on,
    signals.what_is_wrong,
    signals.what_to_do,
    signals.value,
    signals.norm,
    signals.norm_n,
    signals.norm_level,
    deals.name,
    deals.account_name,
    deals.owner_name,
    deals.manager_id,
    deals.manager_name,
    deals.verdict,
    deals.next_action,
    cast(deals.amount as double) as amount,
    cast(deals.close_date as varchar) as close_date
from funnel.deal_signals as signals
left join funnel.deal_health as deals on signals.opportunity_id = deals.opportunity_id
order by deals.amount_to_gain desc nulls last, deals.amount desc nulls last, signals.opportunity_id, signals.signal
"""


def is_told(settings: Settings) -> bool:
    """Whether anybody is to be told anything."""
    return bool(channels(settings))


def tell_outcome(settings: Settings, outcome: RunResult) -> list[str]:
    """Tells what became of a run, and what waits from runs before; gives what the run's log says about it.

    Whatever goes wrong here, the run has ended as it has: nothing is raised.
    """
    try:
        settings.alerts.mkdir(parents=True, exist_ok=True)
        if outcome.exit_code:
            put(settings, _failure(settings, outcome))
        with alone(settings) as is_alone:
            if not is_alone:
                return ["Alerts: another process is sending; what is new goes out with the next run."]
            if outcome.release:
                _tell_release(settings, outcome.release)
            deliver(settings)
        return waiting_sentences(settings)
    except Exception as error:  # A run is worth more than a message about it.
        return [
            f"Alerts: nothing could be told ({type(error).__name__}); see that {settings.alerts} can be written, "
            "and run `sightline alerts`."
        ]


def tell_current(settings: Settings) -> int:
    """Tells the current release if no run has, and sends what waits; returns how many messages went out.

    Raises:
        SourceError: another process holds the outbox.
    """
    with alone(settings) as is_alone:
        if not is_alone:
            raise SourceError(f"Another process is sending what is in {settings.alerts}; wait for it to end.")
        name = current_release(settings)
        # Going back to an earlier release is no news.
        if name and name > _told(settings)["release"]:
            _tell_release(settings, name)
        return deliver(settings)


def waiting_sentences(settings: Settings) -> list[str]:
    """What waits for which reason, a sentence each."""

    def reason(item: Waiting) -> str:
        if item.channel not in channels(settings):
            return f"the channel {item.channel} is no longer set"
        return item.reason or "others took all the time there was"

    counts: dict[str, int] = {}
    for item in waiting(settings):
        counts[reason(item)] = counts.get(reason(item), 0) + 1
    return [
        f"Alerts: {_count(count, 'message waits', 'messages wait')}, because {text}; "
        "the next run sends again, and so does `sightline alerts`."
        for text, count in counts.items()
    ]


def _tell_release(settings: Settings, name: str) -> None:
    """Writes the messages of a release into the outbox, and that it has been told.

    One file holds both what has been told and the messages that tell it, so that a crash at any moment neither forgets
    a flag nor tells it again: messages are made from the file, as often as needed, under ids that stay.
    """
    told = _told(settings)
    _put_all(settings, told)
    manifest = release_manifest(settings, name)
    as_of = manifest["as_of_date"]
    # A past day that is told again has no news; nor has a release that was told.
    if name == told["release"] or as_of < told["as_of_date"]:
        return
    rows, addresses = _read(settings, name)
    flags = {f"{row['opportunity_id']}|{row['signal']}": row["manager_id"] or "" for row in rows}
    known = told["flags"]
    # A deal that came to another manager brings its flags along: they are news there.
    news = [row for row in rows if known.get(f"{row['opportunity_id']}|{row['signal']}") != (row["manager_id"] or "")]
    messages = _digests(settings, manifest, news, addresses, is_first=not told["release"])
    content = {
        "release": name,
        # A day that has not come yet must not silence those before it.
        "as_of_date": min(as_of, manifest["extracted_at"][:10] or as_of),
        "flags": flags,
        "messages": [vars(message) for message in messages],
    }
    write_whole(settings.alerts / "told.json", content)
    _put_all(settings, content)


def _put_all(settings: Settings, told: dict[str, Any]) -> None:
    for message in told["messages"]:
        put(settings, Message(**message))
    if told["messages"]:
        write_whole(settings.alerts / "told.json", {**told, "messages": []})


def _told(settings: Settings) -> dict[str, Any]:
    path = settings.alerts / "told.json"
    if not path.exists():
        return {"release": "", "as_of_date": "", "flags": {}, "messages": []}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _read(settings: Settings, name: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The flags that stand in a release, and the address of each person that has one."""
    with duckdb.connect(str(settings.published / name / "sightline.duckdb"), read_only=True) as connection:
        people = _dicts(connection, "from core.reps where is_current")
        # A release of an earlier version has no addresses.
        addresses = {person["rep_id"]: person["email"] for person in people if person.get("email")}
        return _dicts(connection, FLAGS), addresses


def _dicts(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    found = connection.execute(query)
    columns = [column[0] for column in found.description or []]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def _digests(
    settings: Settings,
    manifest: dict[str, Any],
    news: list[dict[str, Any]],
    addresses: dict[str, str],
    *,
    is_first: bool,
) -> list[Message]:
    """One message to each manager with something new, and one to the data owner about managers nobody can write to."""
    by_manager: dict[str, list[dict[str, Any]]] = {}
    for row in news:
        by_manager.setdefault(row["manager_id"] or "", []).append(row)
    messages, without = [], []
    for manager_id, rows in sorted(by_manager.items()):
        email = addresses.get(manager_id)
        if manager_id:
            head = _headline(rows, is_first)
            messages.append(
                _message(
                    settings,
                    "red_flags",
                    [manifest["release"], manager_id, *_keys(rows)],
                    to={
                        "role": "manager",
                        "rep_id": manager_id,
                        "name": rows[0]["manager_name"],
                        "email": email if has_address(email) else None,
                    },
                    subject=f"{head}, as of {manifest['as_of_date']}",
                    text=_digest_text(head, rows, manifest, is_first),
                    manifest=manifest,
                    details=rows,
                )
            )
        if not has_address(email):
            without.append((rows[0]["manager_name"] or manager_id or "nobody", manager_id, rows))
    if without:
        lines = [
            "These red flags reached no manager by mail. Give each manager an e-mail address in `users`, and each "
            "owner a manager; until then tell them yourself:",
            "",
        ]
        for manager, manager_id, rows in without:
            lines += [f"{manager}{f' ({manager_id})' if manager_id else ''}: {_headline(rows, is_first)}"]
            lines += _deals(rows, manifest, DEALS_TOLD_FIRST if is_first else DEALS_TOLD)
        messages.append(
            _message(
                settings,
                "without_address",
                [manifest["release"], *(key for _, _, rows in without for key in _keys(rows))],
                to=_data_owner(settings),
                subject=f"Red flags that reached nobody by mail, as of {manifest['as_of_date']}",
                text="\n".join([*lines, "", _source(manifest)]),
                manifest=manifest,
                details=[row for _, _, rows in without for row in rows],
            )
        )
    return messages


def _failure(settings: Settings, outcome: RunResult) -> Message:
    stands = current_release(settings)
    kind = "refused" if outcome.exit_code == 1 else "failed"
    if outcome.release:
        subject = f"Release {outcome.release} is published, and a step after it failed"
    elif kind == "refused":
        subject = f"Release refused; {stands or 'nothing'} stands"
    else:
        subject = f"Run failed; {stands or 'nothing'} stands"
    lines = ["Why:", *(f"- {sentence}" for sentence in outcome.sentences)]
    if outcome.advice:
        lines += ["", "What to do:", *(f"- {text}" for text in outcome.advice)]
    if stands:
        as_of = release_manifest(settings, stands)["as_of_date"]
        lines += ["", f"Everybody goes on reading release {stands}, as of {as_of}."]
    else:
        lines += ["", "There is no release to read yet."]
    lines += [f"More: `sightline status`, the pages in {settings.data_docs.name}/, Dagster run {outcome.run_id}."]
    return _message(
        settings,
        kind,
        [stands or "", *sorted(outcome.sentences)],
        to=_data_owner(settings),
        subject=subject,
        text="\n".join(lines),
        details=[{"why": outcome.sentences, "what_to_do": outcome.advice, "run_id": outcome.run_id}],
    )


def _message(
    settings: Settings,
    kind: str,
    key: Iterable[str],
    *,
    to: dict[str, str | None],
    subject: str,
    text: str,
    details: list[dict[str, Any]],
    manifest: dict[str, Any] | None = None,
) -> Message:
    """A message whose id follows from what it tells, with every secret that is set taken out."""
    subject, text, details = _without(settings.secrets(), [f"Sightline: {subject}", text, details])
    return Message(
        id=sha256(json.dumps([kind, *key]).encode()).hexdigest()[:32],
        kind=kind,
        to=to,
        subject=subject,
        text=text,
        details=details,
        created_at=utc_now().isoformat(timespec="microseconds"),
        release=manifest["release"] if manifest else None,
        as_of_date=manifest["as_of_date"] if manifest else None,
    )


def _without(secrets: list[str], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(secrets, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(secrets, item) for item in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "…")
    return value


def _data_owner(settings: Settings) -> dict[str, str | None]:
    return {"role": "data_owner", "rep_id": None, "name": None, "email": settings.alert_data_owner}


def _keys(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(f"{row['opportunity_id']}|{row['signal']}" for row in rows)


def _headline(rows: list[dict[str, Any]], is_first: bool) -> str:
    deals = _count(len({row["opportunity_id"] for row in rows}), "deal", "deals")
    if is_first:
        return f"{_count(len(rows), 'red flag stands', 'red flags stand')} on {deals}"
    return f"{_count(len(rows), 'new red flag', 'new red flags')} on {deals}"


def _digest_text(head: str, rows: list[dict[str, Any]], manifest: dict[str, Any], is_first: bool) -> str:
    lines = [f"{head} of your team, as of {manifest['as_of_date']}."]
    if is_first:
        lines += ["This is the first message: from now on you are told what is new. Most can be gained on:"]
    lines += _deals(rows, manifest, DEALS_TOLD_FIRST if is_first else DEALS_TOLD)
    return "\n".join([*lines, "", _source(manifest)])


def _deals(rows: list[dict[str, Any]], manifest: dict[str, Any], most: int) -> list[str]:
    """The deals with most to gain first, each with its flags: what was seen, against what, and what to do."""
    deals = [list(group) for _, group in groupby(rows, key=lambda row: row["opportunity_id"])]
    lines = []
    for flags in deals[:most]:
        deal = flags[0]
        facts = [deal["account_name"], deal["owner_name"]]
        if deal["amount"] is not None:
            facts.append(f"{deal['amount']:,.0f} {manifest['reporting_currency']}")
        if deal["close_date"]:
            facts.append(f"closes {deal['close_date']}")
        lines += ["", f"{deal['name'] or deal['opportunity_id']}: {', '.join(fact for fact in facts if fact)}"]
        for flag in flags:
            is_let_go = deal["verdict"] == "de_resource" and deal["next_action"]
            lines += [
                f"- {flag['what_is_wrong']} ({flag['signal']}, {flag['severity']}, since {flag['first_fired_on']}).",
                f"  Seen: {_evidence(flag)}. What to do: {deal['next_action'] if is_let_go else flag['what_to_do']}.",
            ]
    if len(deals) > most:
        lines += ["", f"… and {_count(len(deals) - most, 'deal', 'deals')} more in funnel.deal_signals."]
    return lines


def _evidence(flag: dict[str, Any]) -> str:
    if flag["value"] is None or flag["norm"] is None:
        return "as the signal says"
    if not flag["norm_n"]:
        return f"{flag['value']:,.2f}; the limit of the policy is {flag['norm']:,.2f}"
    return f"{flag['value']:,.2f} against {flag['norm']:,.2f} in {flag['norm_n']:,} won deals"


def _source(manifest: dict[str, Any]) -> str:
    return (
        f"Release {manifest['release']}. A flag is told once; one that goes away and comes back is told again. "
        "funnel.deal_signals has every flag that stands."
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
