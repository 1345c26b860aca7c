"""Alerts: the right words to the right person, once, whatever becomes of the receiver or of the process that sends."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.publish.alerts import tell_current, tell_outcome
from orchestration.publish.outbox import waiting
from orchestration.publish.releases import roll_back
from orchestration.running import RunResult
from orchestration.settings import PROJECT_ROOT, Settings
from tests.conftest import Run, run_here, sightline
from tests.extracts import OPPORTUNITY_HEADER, write_extract
from tests.servers.receiver import MailServer, Webhook, mail_server, webhook

OWNER = "data@acme.example"
ADDRESSES = {"m1": "mara@acme.example", "m2": "milan@acme.example", "m3": None}
# Deal, owner's manager.
DEALS = {"o1": "m1", "o2": "m1", "o3": "m2", "o4": "m3", "o5": None}

TABLES = """
create schema core; create schema funnel;
create table core.reps (rep_id varchar, name varchar, email varchar, is_current boolean);
create table funnel.deal_signals (opportunity_id varchar, signal varchar, severity varchar, what_is_wrong varchar,
    what_to_do varchar, norm_level varchar, value double, norm double, norm_n bigint, first_fired_on date);
create table funnel.deal_health (opportunity_id varchar, name varchar, account_name varchar, owner_name varchar,
    manager_id varchar, manager_name varchar, verdict varchar, next_action varchar, amount decimal(18, 4),
    amount_to_gain double, close_date date);
"""


def released(
    home: Path, name: str, as_of: str, flags: dict[str, list[str]], deals: dict[str, str | None] = DEALS
) -> RunResult:
    """Puts a release with these signals by deal in place, as a run would, and gives what that run came to."""
    folder = home / "published" / name
    folder.mkdir(parents=True)
    with duckdb.connect(str(folder / "sightline.duckdb")) as connection:
        connection.execute(TABLES)
        for rep_id, email in ADDRESSES.items():
            connection.execute("insert into core.reps values (?, ?, ?, true)", [rep_id, f"Name {rep_id}", email])
        for deal, manager in deals.items():
            connection.execute(
                "insert into funnel.deal_health values (?, ?, 'Arden', 'Sam', ?, ?, 'attention', 'Call', 800, 5, ?)",
                [deal, f"Deal {deal}", manager, manager and f"Name {manager}", date(2026, 9, 30)],
            )
        for deal, signals in flags.items():
            for signal in signals:
                connection.execute(
                    "insert into funnel.deal_signals values (?, ?, 'high', ?, 'Call them', 'stage', 9, 4, 31, ?)",
                    [deal, signal, f"Wrong with {deal}: {signal}", as_of],
                )
    manifest = {
        "release": name,
        "as_of_date": as_of,
        "extracted_at": f"{as_of}T22:00:00+00:00",
        "reporting_currency": "USD",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    link = home / "published" / "current"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    return RunResult(exit_code=0, run_id="r", release=name)


def by_mail(home: Path, server: MailServer, **options: Any) -> Settings:
    settings = {"alert_smtp": f"smtp://127.0.0.1:{server.port}", "alert_data_owner": OWNER, **options}
    return Settings(home=home, **settings)


def by_webhook(home: Path, receiver: Webhook) -> Settings:
    return Settings(home=home, alert_webhook=receiver.url)  # type: ignore[arg-type]


def told(contents: list[dict[str, Any]]) -> list[str]:
    """The flags of messages, as deal and signal."""
    return sorted(f"{row['opportunity_id']} {row['signal']}" for content in contents for row in content["details"])


def test_the_first_release_says_how_many_flags_stand_and_each_later_one_what_is_new(home: Path) -> None:
    with webhook() as receiver:
        settings = by_webhook(home, receiver)
        assert tell_outcome(settings, released(home, "1", "2026-03-01", {"o1": ["quiet", "stalled"]})) == []
        assert tell_outcome(settings, released(home, "2", "2026-03-02", {"o1": ["quiet", "stalled"]})) == []
        third = released(home, "3", "2026-03-03", {"o1": ["quiet", "ghosted"], "o2": ["overdue"]})
        assert tell_outcome(settings, third) == []
        assert tell_outcome(settings, third) == []
    assert [content["subject"] for _, content in receiver.received] == [
        "Sightline: 2 red flags stand on 1 deal, as of 2026-03-01",
        "Sightline: 2 new red flags on 2 deals, as of 2026-03-03",
    ]
    text = receiver.received[1][1]["text"]
    assert "Deal o1: Arden, Sam, 800 USD, closes 2026-09-30" in text
    assert "Wrong with o1: ghosted (ghosted, high, since 2026-03-03)." in text
    assert "Seen: 9.00 against 4.00 in 31 won deals. What to do: Call them." in text
    assert "quiet" not in text


def test_of_a_deal_to_let_go_the_verdict_says_what_to_do_and_a_limit_rests_on_no_deals(home: Path) -> None:
    release = released(home, "1", "2026-03-01", {"o1": ["handover"], "o3": ["quiet"]})
    with duckdb.connect(str(home / "published" / "1" / "sightline.duckdb")) as connection:
        connection.execute("update funnel.deal_health set verdict = 'de_resource' where opportunity_id = 'o1'")
        connection.execute("update funnel.deal_signals set norm_n = null where opportunity_id = 'o1'")
    with webhook() as receiver:
        assert tell_outcome(by_webhook(home, receiver), release) == []
    said = " ".join(content["text"] for _, content in receiver.received)
    assert "Seen: 9.00; the limit of the policy is 4.00. What to do: Call." in said
    assert "Seen: 9.00 against 4.00 in 31 won deals. What to do: Call them." in said


def test_a_flag_that_went_away_and_came_back_is_new(home: Path) -> None:
    with webhook() as receiver:
        settings = by_webhook(home, receiver)
        for day, flags in enumerate(({"o1": ["quiet"]}, {}, {"o1": ["quiet"]}), start=1):
            tell_outcome(settings, released(home, str(day), f"2026-03-0{day}", flags))
    assert [told([content]) for _, content in receiver.received] == [["o1 quiet"], ["o1 quiet"]]


def test_neither_going_back_nor_a_past_day_told_again_nor_the_run_after_it_repeats_a_flag(home: Path) -> None:
    with webhook() as receiver:
        settings = by_webhook(home, receiver)
        tell_outcome(settings, released(home, "1", "2026-03-01", {"o1": ["quiet"]}))
        tell_outcome(settings, released(home, "2", "2026-03-02", {"o1": ["quiet", "stalled"]}))
        assert receiver.seen == 2
        roll_back(settings, "1")
        assert tell_current(settings) == 0
        assert tell_outcome(settings, released(home, "3", "2026-01-31", {"o1": ["overdue"], "o3": ["quiet"]})) == []
        assert tell_outcome(settings, released(home, "4", "2026-03-02", {"o1": ["quiet", "stalled"]})) == []
        assert receiver.seen == 2
        tell_outcome(settings, released(home, "5", "2026-03-03", {"o1": ["quiet"], "o3": ["quiet"]}))
    assert told([receiver.received[-1][1]]) == ["o3 quiet"] and receiver.seen == 3


def test_a_release_told_for_a_day_to_come_does_not_silence_those_before_it(home: Path) -> None:
    with webhook() as receiver:
        settings = by_webhook(home, receiver)
        ahead = released(home, "1", "2027-01-01", {})
        manifest = home / "published" / "1" / "manifest.json"
        manifest.write_text(manifest.read_text().replace("2027-01-01T", "2026-03-01T"))
        tell_outcome(settings, ahead)
        tell_outcome(settings, released(home, "2", "2026-03-02", {"o1": ["quiet"]}))
    assert told([content for _, content in receiver.received]) == ["o1 quiet"]


def test_each_manager_gets_the_own_teams_deals_and_who_has_no_address_is_told_of_to_the_data_owner(home: Path) -> None:
    with mail_server() as server:
        settings = by_mail(home, server)
        flags = {"o1": ["quiet"], "o2": ["stalled"], "o3": ["ghosted"], "o4": ["no_power"], "o5": ["overdue"]}
        assert tell_outcome(settings, released(home, "1", "2026-03-01", flags)) == []
    assert Counter(mail["To"] for mail in server.received) == {
        "mara@acme.example": 1,
        "milan@acme.example": 1,
        OWNER: 1,
    }
    of_mara, of_milan, of_owner = (
        server.to(address)[0].get_content() for address in ("mara@acme.example", "milan@acme.example", OWNER)
    )
    assert "Deal o1" in of_mara and "Deal o2" in of_mara and "o3" not in of_mara
    assert "Deal o3" in of_milan and not {"o1", "o2", "o4", "o5"} & set(of_milan.replace(":", " ").split())
    assert "Name m3 (m3): 1 red flag stands on 1 deal" in of_owner and "Wrong with o4: no_power" in of_owner
    assert "nobody: 1 red flag stands on 1 deal" in of_owner and "Wrong with o5: overdue" in of_owner


def test_a_deal_that_comes_to_another_manager_brings_its_flags_along(home: Path) -> None:
    with webhook() as receiver:
        settings = by_webhook(home, receiver)
        tell_outcome(settings, released(home, "1", "2026-03-01", {"o1": ["quiet"], "o2": ["quiet"]}))
        tell_outcome(
            settings, released(home, "2", "2026-03-02", {"o1": ["quiet"], "o2": ["quiet"]}, {**DEALS, "o2": "m2"})
        )
    assert told(receiver.to("m1")) == ["o1 quiet", "o2 quiet"]
    assert told(receiver.to("m2")) == ["o2 quiet"]


@pytest.mark.parametrize("channel", ["webhook", "mail"])
def test_what_a_receiver_that_is_down_did_not_get_waits_and_is_delivered_once(home: Path, channel: str) -> None:
    make: Any = webhook if channel == "webhook" else mail_server
    with make() as gone:
        port = gone.port if channel == "mail" else int(gone.url.split(":")[2].split("/")[0])
        settings = by_mail(home, gone) if channel == "mail" else by_webhook(home, gone)
    began = time.monotonic()
    flags = {"o1": ["quiet"], "o3": ["quiet"]}
    (sentence,) = tell_outcome(settings, released(home, "1", "2026-03-01", flags))
    assert time.monotonic() - began < 5
    assert "cannot be reached (Connection refused)" in sentence and sentence.startswith("Alerts: ")
    assert "127.0.0.1" not in sentence
    with make(port) as receiver:
        # The next run has a flag of its own, and brings what waited with it.
        later = released(home, "2", "2026-03-02", {**flags, "o2": ["overdue"]})
        assert tell_outcome(settings, later) == []
        assert tell_outcome(settings, later) == [] and tell_current(settings) == 0
    if channel == "webhook":
        assert [told([content]) for _, content in receiver.received] == [["o1 quiet"], ["o3 quiet"], ["o2 overdue"]]
        assert len({key for key, _ in receiver.received}) == 3
    else:
        assert sorted(mail["To"] for mail in receiver.received) == [
            "mara@acme.example", "mara@acme.example", "milan@acme.example"
        ]  # fmt: skip
        assert len({mail["Message-ID"] for mail in receiver.received}) == 3
    assert waiting(settings) == []


def test_a_receiver_that_answers_byte_by_byte_does_not_hold_a_run_up(home: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("orchestration.publish.outbox.MESSAGE_SECONDS", 2.0)
    with webhook() as receiver:
        receiver.drips = True
        began = time.monotonic()
        (sentence,) = tell_outcome(
            by_webhook(home, receiver), released(home, "1", "2026-03-01", {"o1": ["quiet"], "o3": ["quiet"]})
        )
        assert time.monotonic() - began < 6
    assert "no answer within 2 seconds" in sentence and receiver.seen == 1


@pytest.mark.parametrize("status", [302, 401, 404, 429, 500, 503])
def test_an_answer_that_is_no_yes_leaves_the_message_waiting(home: Path, status: int) -> None:
    with webhook() as receiver:
        settings = by_webhook(home, receiver)
        receiver.answers = [status]
        (sentence,) = tell_outcome(settings, released(home, "1", "2026-03-01", {"o1": ["quiet"], "o3": ["quiet"]}))
        assert f"the webhook answered {status}" in sentence and receiver.seen == 1
        assert tell_current(settings) == 2
    assert told([content for _, content in receiver.received]) == ["o1 quiet", "o3 quiet"]


def test_a_message_that_is_not_taken_does_not_hold_up_the_others_and_is_told_at_each_run(home: Path) -> None:
    with mail_server(refuses={"mara@acme.example": 550}) as server:
        settings = by_mail(home, server)
        (sentence,) = tell_outcome(settings, released(home, "1", "2026-03-01", {"o1": ["quiet"], "o3": ["quiet"]}))
        assert "does not take mail for this address (550)" in sentence
        assert [mail["To"] for mail in server.received] == ["milan@acme.example"]
        assert tell_outcome(settings, released(home, "2", "2026-03-02", {"o1": ["quiet"]})) == [sentence]
        server.refuses.clear()
        assert tell_outcome(settings, released(home, "3", "2026-03-03", {"o1": ["quiet"]})) == []
    assert [mail["To"] for mail in server.received] == ["milan@acme.example", "mara@acme.example"]


KILLED = """
import os, sys
from pathlib import Path
from orchestration.publish import alerts, outbox
from orchestration.running import RunResult
from orchestration.settings import Settings

home, url, name, moment = sys.argv[1:]
replace, seen = os.replace, []

def die(source, target):
    # The moment before a file is put in its place, or the one after.
    before = moment.removeprefix("after ") == moment
    is_it = moment.removeprefix("after ") in str(target)
    if is_it and before:
        os._exit(9)
    replace(source, target)
    if is_it:
        os._exit(9)

os.replace = die
alerts.tell_outcome(Settings(home=Path(home), alert_webhook=url), RunResult(exit_code=0, run_id="r", release=name))
os._exit(0)
"""


@pytest.mark.parametrize(
    ("moment", "most"),
    [("told.json", 1), ("after told.json", 1), ("waiting", 1), ("after waiting", 1), ("sent", 2), ("after sent", 1)],
)
def test_a_process_killed_at_any_moment_loses_nothing_and_only_between_sending_and_noting_it_sends_twice(
    home: Path, moment: str, most: int
) -> None:
    with webhook() as receiver:
        settings = by_webhook(home, receiver)
        released(home, "1", "2026-03-01", {"o1": ["quiet"], "o3": ["stalled"]})
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(home), receiver.url, "1", moment], cwd=PROJECT_ROOT, timeout=60
        )
        assert killed.returncode == 9
        # The next day's run has nothing new of its own.
        assert tell_outcome(settings, released(home, "2", "2026-03-02", {"o1": ["quiet"], "o3": ["stalled"]})) == []
    times = Counter(told([content])[0] for _, content in receiver.received)
    assert set(times) == {"o1 quiet", "o3 stalled"}
    assert max(times.values()) == most
    # The receiver can drop what comes twice: it comes under the same key.
    assert len({key for key, _ in receiver.received}) == 2


def test_a_receiver_that_hangs_up_after_taking_a_message_sees_the_same_key_again(home: Path) -> None:
    with webhook() as receiver, mail_server(drops_after=True) as server:
        settings = Settings(
            home=home,
            alert_webhook=receiver.url,  # type: ignore[arg-type]
            alert_smtp=f"smtp://127.0.0.1:{server.port}",  # type: ignore[arg-type]
            alert_data_owner=OWNER,
        )
        receiver.answers = [0]
        assert len(tell_outcome(settings, released(home, "1", "2026-03-01", {"o1": ["quiet"]}))) == 2
        server.drops_after = False
        assert tell_current(settings) == 2
    assert len(receiver.received) == 2 and len({key for key, _ in receiver.received}) == 1
    assert len(server.received) == 2 and len({mail["Message-ID"] for mail in server.received}) == 1
    assert server.received[0].as_bytes() == server.received[1].as_bytes()


def certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_the_password_goes_over_an_encrypted_connection_whose_certificate_is_trusted(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = certificate(tmp_path / "tls")
    with mail_server(tls=pair, login=("mailer", "p@ss-canary")) as server:
        settings = by_mail(home, server, alert_smtp=f"smtp://mailer:p%40ss-canary@localhost:{server.port}")
        outcome = released(home, "1", "2026-03-01", {"o1": ["quiet"]})
        (sentence,) = tell_outcome(settings, outcome)
        assert "its certificate is not trusted" in sentence and server.logins == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
        assert tell_current(settings) == 1
    assert server.logins == [("mailer", "p@ss-canary")] and server.private == [True]


def test_without_encryption_a_password_leaves_this_machine_for_nobody(home: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("orchestration.publish.outbox._is_loopback", lambda host: False)
    with mail_server(login=("mailer", "secret-canary")) as server:
        settings = by_mail(home, server, alert_smtp=f"smtp://mailer:secret-canary@127.0.0.1:{server.port}")
        (sentence,) = tell_outcome(settings, released(home, "1", "2026-03-01", {"o1": ["quiet"]}))
    assert "offers no encryption" in sentence and server.logins == []


def test_no_secret_is_in_a_message_a_file_or_a_sentence(home: Path) -> None:
    with webhook() as receiver, mail_server(login=("mailer", "right")) as server:
        settings = Settings(
            home=home,
            alert_webhook=receiver.url,  # type: ignore[arg-type]
            alert_smtp=f"smtp://mailer:wrong-canary@127.0.0.1:{server.port}",  # type: ignore[arg-type]
            alert_data_owner=OWNER,
            salesforce_client_secret="client-canary",  # type: ignore[arg-type]
        )
        outcome = RunResult(exit_code=3, run_id="r", sentences=['Login with "client-canary" failed at ' + receiver.url])
        sentences = tell_outcome(settings, outcome)
        assert "refused user and password (535)" in sentences[0]
        receiver.answers = [500]
        sentences += tell_outcome(settings, RunResult(exit_code=3, run_id="r2", sentences=["wrong-canary again"]))
    written = "".join(path.read_text() for path in settings.alerts.rglob("*") if path.is_file())
    everything = written + " ".join(sentences) + json.dumps(receiver.received)
    assert len(receiver.received) == 1 and 'Login with "…" failed' in receiver.received[0][1]["text"]
    assert "canary" not in everything


def test_a_failure_is_told_once_until_it_is_another_one_or_a_release_came_between(home: Path) -> None:
    with webhook() as receiver:
        settings = by_webhook(home, receiver)

        def fail(*sentences: str) -> None:
            assert tell_outcome(settings, RunResult(exit_code=3, run_id="r", sentences=list(sentences))) == []

        fail("The share is away.")
        fail("The share is away.")
        assert receiver.seen == 1
        fail("The disk is full.")
        assert receiver.seen == 2
        tell_outcome(settings, released(home, "1", "2026-03-01", {}))
        fail("The share is away.")
    assert [content["subject"] for _, content in receiver.received] == [
        "Sightline: Run failed; nothing stands",
        "Sightline: Run failed; nothing stands",
        "Sightline: Run failed; 1 stands",
    ]


def test_a_refused_release_reaches_the_data_owner_with_what_why_and_what_to_do_and_not_a_second_time(
    after_small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = after_small_run.home
    stands = os.readlink(home / "published" / "current")
    with mail_server() as server, webhook() as receiver:
        monkeypatch.setenv("SIGHTLINE_ALERT_SMTP", f"smtp://127.0.0.1:{server.port}")
        monkeypatch.setenv("SIGHTLINE_ALERT_WEBHOOK", receiver.url)
        monkeypatch.setenv("SIGHTLINE_ALERT_DATA_OWNER", OWNER)
        broken = write_extract(
            tmp_path / "broken", extracted_at="2026-03-03T06:00:00Z", crm_opportunities=f"{OPPORTUNITY_HEADER}\n"
        )
        first = run_here(home, broken)
        second = run_here(home, broken)
    assert first.exit_code == second.exit_code == 1
    assert [mail["To"] for mail in server.received] == [OWNER] and len(receiver.received) == 1
    mail = server.received[0]
    assert mail["Subject"] == f"Sightline: Release refused; {stands} stands"
    text = mail.get_content()
    assert first.output
    for sentence in first.output.splitlines():
        assert sentence in text
    assert "What to do:" in text and "export it again with its rows" in text
    assert f"Everybody goes on reading release {stands}, as of 2026-03-02." in text
    assert receiver.received[0][1]["kind"] == "refused"
    assert receiver.received[0][1]["to"] == {"role": "data_owner", "rep_id": None, "name": None, "email": OWNER}


@pytest.mark.long
def test_a_run_publishes_while_the_receiver_is_down_and_the_command_sends_what_waited(
    after_small_run: Run, tmp_path: Path
) -> None:
    home = after_small_run.home
    before = os.readlink(home / "published" / "current")
    with webhook() as gone:
        port = int(gone.url.split(":")[2].split("/")[0])
        environment = {"SIGHTLINE_ALERT_WEBHOOK": gone.url}
    waits = "Alerts: 1 message waits, because the webhook cannot be reached (Connection refused)"
    failed = sightline(home, "run", "--extract", tmp_path / "missing", **environment)
    assert failed.exit_code == 2 and failed.output.count(waits) == 1
    fine = sightline(home, "run", "--extract", write_extract(tmp_path / "x"), **environment)
    assert fine.exit_code == 0 and fine.output.count(waits) == 1
    assert os.readlink(home / "published" / "current") > before
    still = sightline(home, "alerts", **environment)
    assert still.exit_code == 3 and "for the data owner: Sightline: Run failed" in still.output
    assert "token-canary" not in failed.output + fine.output + still.output
    with webhook(port) as receiver:
        sent = sightline(home, "alerts", **environment)
        again = sightline(home, "alerts", **environment)
    assert (sent.exit_code, sent.output.strip()) == (0, "1 sent.")
    assert (again.exit_code, again.output.strip()) == (0, "0 sent.")
    assert len(receiver.received) == 1


def test_a_run_that_finds_another_one_at_work_tells_the_data_owner(
    after_small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as receiver, (after_small_run.home / "run.lock").open("a+") as lock:
        monkeypatch.setenv("SIGHTLINE_ALERT_WEBHOOK", receiver.url)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(2):
            run_here(after_small_run.home, write_extract(tmp_path / "x"))
    ((_, content),) = receiver.received
    assert content["kind"] == "failed" and "Another run is at work" in content["text"]


def test_each_flag_of_the_demo_company_reaches_exactly_its_deals_manager(demo_run: Run, home: Path) -> None:
    (home / "published").mkdir(parents=True)
    name = demo_run.database.resolve().parent.name
    (home / "published" / name).symlink_to(demo_run.database.resolve().parent)
    (home / "published" / "current").symlink_to(name)
    with webhook() as receiver:
        assert tell_current(by_webhook(home, receiver)) == len(receiver.received) > 1
    expected = {
        (str(manager), f"{deal} {signal}")
        for manager, deal, signal in demo_run.query(
            "select manager_id, s.opportunity_id, signal from funnel.deal_signals s "
            "join funnel.deal_health h on h.opportunity_id = s.opportunity_id"
        )
    }
    digests = [content for _, content in receiver.received if content["kind"] == "red_flags"]
    found = [(content["to"]["rep_id"], flag) for content in digests for flag in told([content])]
    assert set(found) == expected and len(found) == len(expected) > 3
    # One message a manager.
    assert max(Counter(content["to"]["rep_id"] for content in digests).values()) == 1


def test_without_a_setting_nobody_is_told_and_nothing_is_written(after_small_run: Run) -> None:
    assert not (after_small_run.home / "alerts").exists()
    command = sightline(after_small_run.home, "alerts")
    assert command.exit_code == 2 and "set SIGHTLINE_ALERT_WEBHOOK or SIGHTLINE_ALERT_SMTP" in command.output


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SIGHTLINE_ALERT_WEBHOOK": "file:///canary"}, "SIGHTLINE_ALERT_WEBHOOK: Value error, write it as https://"),
        ({"SIGHTLINE_ALERT_SMTP": "canary:25"}, "SIGHTLINE_ALERT_SMTP: Value error, write it as smtps://host"),
        ({"SIGHTLINE_ALERT_SMTP": "smtp://u:canary@h"}, "SIGHTLINE_ALERT_DATA_OWNER: Value error, mails need"),
    ],
)
def test_a_setting_that_cannot_be_is_told_without_its_value(home: Path, variables: dict[str, str], words: str) -> None:
    home.mkdir()
    told = sightline(home, "alerts", **variables)
    assert told.exit_code == 2 and words in told.output and "canary" not in told.output
