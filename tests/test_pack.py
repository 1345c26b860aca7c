"""The weekly pack: whole in itself, and about one team alone."""

from __future__ import annotations

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dashboards.access import everyone
from dashboards.pack import Leader, file_name, leaders, viewer_for, write_packs
from dashboards.parts import short
from dashboards.release import Release
from dashboards.words import deal_name
from orchestration.errors import UsageError
from tests.conftest import DEMO_AS_OF, Run, sightline


def folder_of(run: Run) -> Path:
    return run.database.resolve().parent


@pytest.fixture(scope="module")
def packs(full_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each manager's file, by the manager's id."""
    files = write_packs(folder_of(full_run), tmp_path_factory.mktemp("packs"))
    return {path.name.split("_")[0]: path.read_text(encoding="utf-8") for path in files}


class Elements(HTMLParser):
    """What a browser would make elements and attributes of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def words(page: str) -> str:
    """What somebody reads: without styles and tags."""
    plain = re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S))
    return re.sub(r"\s+", " ", html.unescape(plain))


def below(run: Run, person: str) -> set[str]:
    reports: dict[str, list[str]] = {}
    for rep, manager in run.query("select rep_id, manager_id from core.reps where is_current"):
        reports.setdefault(str(manager), []).append(str(rep))
    found, next_ones = {person}, [person]
    while next_ones:
        next_ones = [rep for one in next_ones for rep in reports.get(one, []) if rep not in found]
        found |= set(next_ones)
    return found


def test_there_is_one_file_for_everybody_who_leads_somebody(packs: dict[str, str], full_run: Run) -> None:
    leading = full_run.query(
        "select distinct manager_id from core.reps where is_current and terminated_on is null and manager_id in "
        "(select rep_id from core.reps where is_current and terminated_on is null)"
    )
    assert set(packs) == {str(row[0]) for row in leading} and len(packs) >= 9


def test_a_file_needs_nothing_but_itself(packs: dict[str, str]) -> None:
    for page in packs.values():
        assert not re.search(r"<script|<link|<iframe|<object|<img|@import|javascript:|\son\w+=", page, re.I)
        assert not re.search(r"https?:|//[a-z]|src=|srcset=", page, re.I)
        assert set(re.findall(r"url\(([^)]*)\)", page)) <= {f"#{name}" for name in re.findall(r'\bid="([^"]+)"', page)}
        ids = re.findall(r'\bid="([^"]+)"', page)
        assert len(ids) == len(set(ids)), "two pictures share the name of a part"
        pictures = re.findall(r'<svg role="img" aria-label="([^"]+)"[^>]*><title>([^<]+)</title>', page)
        assert len(pictures) == page.count("<svg") >= 2
        assert all(len(label) > 40 and html.unescape(label) == html.unescape(title) for label, title in pictures)


def test_nobody_and_nothing_of_another_team_is_in_it(packs: dict[str, str], full_run: Run) -> None:
    names = dict(full_run.query("select rep_id, any_value(name) from core.reps group by rep_id"))
    deals = full_run.query("select opportunity_id, name, account_name, owner_id, manager_id from core.opportunities")
    for manager, page in packs.items():
        said, team = words(page) + html.unescape(page), below(full_run, manager)
        own = {deal_name(name, account, str(key)) for key, name, account, *who in deals if team & set(who)}
        other = {deal_name(name, account, str(key)) for key, name, account, *who in deals if not team & set(who)} - own
        assert [label for label in other if label in said] == []
        ids = {str(key) for key, _, _, *who in deals if team & set(who)}
        assert set(re.findall(r"\bO\d{7}\b", said)) <= ids
        ours = {str(names[rep]) for rep in team}
        strangers = {str(name) for rep, name in names.items() if rep not in team} - ours
        assert [name for name in strangers if re.search(rf"\b{re.escape(name)}\b", said)] == []
        assert set(re.findall(r"\bU\d{6}\b", said)) <= team
    # Whoever leads everybody is told about everybody: the sets above are not empty by accident.
    assert sum(len(re.findall(r"\bO\d{7}\b", words(page))) for page in packs.values()) > 50


def test_a_file_says_what_the_release_says(packs: dict[str, str], full_run: Run) -> None:
    release = folder_of(full_run).name
    for manager, page in packs.items():
        said = words(page)
        assert f"as of {DEMO_AS_OF.day} June 2026 · release {release} · amounts in USD" in said
        team = ", ".join(f"'{rep}'" for rep in below(full_run, manager))
        agenda = full_run.query(
            "select opportunity_id, coaching_question, what_to_do, suggested_drill from funnel.review_agenda "
            f"where review_on = '{DEMO_AS_OF}' and manager_id in ({team}) order by verdict = 'on_track', "
            "coalesce(amount_to_gain, 0) desc, coalesce(amount, 0) desc, opportunity_id limit 10"
        )
        assert re.findall(r"\bO\d{7}\b", said) == [row[0] for row in agenda]
        assert all(str(part) in said for row in agenda for part in row[1:])
        open_count, in_need = full_run.query(
            "select count(*), count(*) filter (where verdict != 'on_track') from funnel.deal_health "
            f"where manager_id in ({team})"
        )[0]
        assert f"{open_count} open deals in the team, {in_need} not on track." in said
        (median, low, high) = full_run.query(
            "select median, p10, p90 from forecast_accuracy.outlook where scope_type = 'manager' and "
            f"scope_id = '{manager}' and period_type = 'quarter' and not is_current"
        )[0]
        told = [f"{short(float(str(amount)))} USD" for amount in (median, low, high)]
        assert f"{told[0]} is to be expected" in said and f"between {told[1]} and {told[2]}" in said
        for name, focus, source in full_run.query(
            f"select seller_name, focus, source from people.coaching_plan where manager_id in ({team})"
        ):
            assert str(name) in said and (source == "none" or str(focus) in said)


def test_a_name_from_the_data_stays_a_name(full_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    shutil.copy(folder_of(full_run) / "manifest.json", folder)
    shutil.copy(folder_of(full_run) / "sightline.duckdb", folder)
    evil = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
    with duckdb.connect(str(folder / "sightline.duckdb")) as connection:
        for table, columns in {
            "funnel.deal_health": ("name", "account_name", "owner_name", "reason"),
            "core.opportunities": ("name", "account_name", "owner_name", "loss_reason"),
            "funnel.review_agenda": ("why", "coaching_question", "evidence", "what_to_do"),
            "people.coaching_plan": ("seller_name", "focus", "practice", "what_to_watch", "opportunity_1_name"),
            "core.reps": ("name", "team"),
            "core.calendar": ("quarter_name",),
        }.items():
            for column in columns:
                connection.execute(f"update {table} set {column} = ? where {column} is not null", [evil])
    (path,) = write_packs(folder, tmp_path / "out", "U000001")
    page = path.read_text(encoding="utf-8")
    parser = Elements()
    parser.feed(page)
    assert "svg" in parser.tags and not parser.tags & {"script", "img"}
    assert "style" in parser.attributes and not [name for name in parser.attributes if name.startswith("on")]
    assert html.unescape(page).count("<script>alert(1)</script>") > 50


def test_it_reads_in_a_mail_and_on_paper(chromium: Any, packs: dict[str, str], tmp_path: Path) -> None:
    page = next(iter(packs.values()))
    (tmp_path / "pack.html").write_text(page, encoding="utf-8")
    # What a mail client leaves of it: no style sheet, no picture.
    bare = re.sub(r"<svg.*?</svg>|<style>.*?</style>", "", page, flags=re.S)
    (tmp_path / "bare.html").write_text(bare, encoding="utf-8")
    context = chromium.new_context(viewport={"width": 600, "height": 900})
    asked: list[str] = []
    try:
        shown = context.new_page()
        shown.on("request", lambda request: asked.append(request.url))
        for name in ("pack.html", "bare.html"):
            for width in (600, 360):
                shown.set_viewport_size({"width": width, "height": 900})
                shown.goto((tmp_path / name).as_uri())
                assert shown.evaluate("document.documentElement.scrollWidth") <= width
                assert shown.evaluate("getComputedStyle(document.querySelector('h1')).fontSize") == "26px"
        shown.goto((tmp_path / "pack.html").as_uri())
        cut = shown.evaluate(
            "[...document.querySelectorAll('svg text')].filter(one => one.getBoundingClientRect().left < "
            "one.closest('svg').getBoundingClientRect().left - 1).map(one => one.textContent)"
        )
        assert cut == [], "a label is cut off"
        printed = shown.pdf(format="A4", prefer_css_page_size=True)
        assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 9
    finally:
        context.close()
    assert all(url.startswith("file://") for url in asked)


def test_what_a_crm_export_does_not_say_is_said(maven_run: Run, tmp_path: Path) -> None:
    files = write_packs(folder_of(maven_run), tmp_path)
    assert len(files) == 6
    for path in files:
        said = words(path.read_text(encoding="utf-8"))
        assert "which of them are off track is not known" in said
        assert "no source delivers activities" in said
        assert "coaching sessions are not delivered" in said
        assert "no target is known" in said


def test_the_command_writes_one_managers_file(full_run: Run, packs: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(full_run.home / "published", tmp_path / "home" / "published", symlinks=True)
    done = sightline(tmp_path / "home", "pack", tmp_path / "packs", "--manager", "U000001")
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "packs").iterdir()
    assert path.name == "U000001_2026-W27.html" and str(path) in done.output
    assert path.read_text(encoding="utf-8") == packs["U000001"], "the same release gives the same file"
    refused = sightline(tmp_path / "home", "pack", tmp_path / "packs", "--manager", "U000003")
    assert refused.exit_code == 2 and "U000003 leads nobody" in refused.output


def test_a_release_that_says_nothing_about_its_readers_has_no_pack(full_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    manifest = json.loads((folder_of(full_run) / "manifest.json").read_text(encoding="utf-8"))
    del manifest["readers"]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "sightline.duckdb").symlink_to(folder_of(full_run) / "sightline.duckdb")
    with pytest.raises(UsageError, match="does not say who may see"):
        write_packs(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_executive_gets_what_is_below_and_no_more(full_run: Run) -> None:
    release = Release(folder_of(full_run), everyone())
    try:
        for leader in leaders(release):
            viewer = viewer_for(release, leader)
            assert viewer.sees == below(full_run, leader.person_id)
    finally:
        release.close()


@pytest.mark.parametrize(
    ("person", "name"),
    [
        ("U000001", "U000001_2026-W27.html"),
        ("Cara Losch", "Cara Losch_2026-W27.html"),
        ("../../etc/passwd", None),
        ("a/b", None),
        ("..", None),
        ("", None),
    ],
)
def test_a_file_name_is_no_path(person: str, name: str | None) -> None:
    found = file_name(Leader(person, person, None), DEMO_AS_OF)
    assert Path(found).name == found and not found.startswith((".", "_")) and found.endswith("_2026-W27.html")
    assert name in (None, found)
    assert file_name(Leader(person + "/", person, None), DEMO_AS_OF) != found
