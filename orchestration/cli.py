"""The command `sightline`."""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.errors import SightlineError, UsageError
from orchestration.settings import Settings, load_settings

if TYPE_CHECKING:
    from orchestration.ingest.reading import Finding

# A library's advice to its own developers is no news to whoever runs this.
warnings.filterwarnings("ignore", category=FutureWarning)
# What Dagster has to say is in its own pages; here only what a person acts on.
logging.getLogger("dagster").setLevel(logging.CRITICAL)

app = typer.Typer(
    name="sightline",
    help="Line of sight for sales: from a number, to what is wrong, to what to do.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# Bound to this stdout: while a job runs, what dbt prints goes to a log file.
out = Console(file=sys.stdout, highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def _day(text: str | None, option: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"{option} {text} is not a date; write it as YYYY-MM-DD.") from None


def _directories(extract: str | None) -> dict[str, object]:
    """The settings `--extract` stands for: a directory, or a directory a source."""
    if extract is None:
        return {}
    if not extract.strip():
        raise UsageError(
            "--extract is empty: give it the folder of your extract, or leave it out for the demo company."
        )
    if re.match(r"\w+=", extract) and not Path(extract).exists():
        return {"extract_dirs": extract}
    return {"extract_dir": extract, "extract_dirs": {}}


@app.command()
def run(
    extract: Annotated[
        str | None,
        typer.Option(help="Extract directory, or one a source: extract=DIR,maven=DIR; without it the demo company."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Source, or several separated by commas.")] = None,
    as_of: Annotated[str | None, typer.Option(help="Tell everything as known on this day, YYYY-MM-DD.")] = None,
    full_refresh: Annotated[bool, typer.Option(help="Build incremental models again from the raw zone.")] = False,
    target: Annotated[str | None, typer.Option(help="duckdb or spark.")] = None,
) -> None:
    """Runs the whole pipeline once, from the extract to the release."""
    settings = load_settings(**_directories(extract), sources=source, as_of=_day(as_of, "--as-of"), target=target)
    today = datetime.now(UTC).date()
    # Somewhere it is tomorrow already.
    if settings.as_of and settings.as_of > today + timedelta(days=1):
        raise UsageError(f"--as-of {settings.as_of} is still to come; give a day up to today, {today}.")
    if settings.target == "spark":
        from orchestration.diagnosis import spark_problem

        problem = spark_problem()
        if problem:
            raise UsageError(problem)
    from orchestration.running import STAGES, lock_holder, run_job

    holder = lock_holder(settings)
    if holder:
        err.print(f"Another run is at work in {settings.home} (process {holder}); wait for it to end.")
        raise typer.Exit(3)
    # The process ends with the run, and what it reads of the project stays: looking for garbage there is in vain.
    gc.disable()
    with out.status("Starting") as status:
        result = run_job(settings, full_refresh, status.update)
    if result.release:
        _print_summary(settings, result.release, {STAGES.get(name, name): s for name, s in result.seconds.items()})
        for sentence in result.sentences:
            err.print(f"Published, but: {sentence}", markup=False)
        _print_alerts(result.alerts)
        if result.exit_code:
            raise typer.Exit(result.exit_code)
        return
    verdict = "Refused" if result.exit_code == 1 else "Failed"
    for sentence in result.sentences:
        err.print(f"{verdict}: {sentence}", markup=False)
    _print_alerts(result.alerts)
    _print_notes_of_refused(settings)
    from orchestration.publish.releases import current_release

    stands = "the last one stands" if current_release(settings) else "nothing is published yet"
    err.print(
        f"No release was made; {stands}. Details: sightline status, {settings.data_docs}, Dagster run {result.run_id}.",
        markup=False,
    )
    raise typer.Exit(result.exit_code or 3)


@app.command()
def status() -> None:
    """Says what is published, what the gates said, and what is in quarantine."""
    from orchestration.publish.releases import current_release, releases
    from orchestration.running import lock_holder

    settings = load_settings()
    current = current_release(settings)
    if current is None:
        out.print(f"Nothing is published in {settings.home} yet. Next: sightline run")
    else:
        _print_summary(settings, current, {})
        others = [name for name in releases(settings) if name != current]
        if others:
            out.print(f"Also on disk: {', '.join(others)} (sightline rollback RELEASE)")
    _print_refused(settings)
    holder = lock_holder(settings)
    if holder:
        out.print(f"A run is at work now (process {holder}).")


@app.command()
def rollback(
    release: Annotated[str | None, typer.Argument(help="Release; without it the one before the current.")] = None,
) -> None:
    """Makes an earlier release the one that is read."""
    from orchestration.publish.releases import roll_back

    settings = load_settings()
    name = roll_back(settings, release)
    out.print(f"{settings.published / 'current'} is {name} now. Next: sightline status")
    if settings.publish_postgres:
        _serve(settings)


@app.command()
def postgres() -> None:
    """Serves the current release in PostgreSQL now, as every run does when it has published."""
    _serve(load_settings())


def _serve(settings: Settings) -> None:
    from orchestration.publish.postgres import serve_release

    with out.status("Starting") as status:
        served = serve_release(settings, lambda label: status.update(f"Copying {label} to PostgreSQL"))
    for sentence in (served.sentence(), *served.notes):
        out.print(sentence, markup=False)


@app.command()
def alerts() -> None:
    """Shows the alerts that wait for their receiver, and sends them."""
    from orchestration.publish.alerts import is_told, tell_current, waiting_sentences
    from orchestration.publish.outbox import waiting

    settings = load_settings()
    if not is_told(settings):
        raise UsageError("Nobody is told anything: set SIGHTLINE_ALERT_WEBHOOK or SIGHTLINE_ALERT_SMTP.")
    with out.status("Sending"):
        sent = tell_current(settings)
    out.print(f"{sent} sent.")
    for item in waiting(settings):
        to = item.message.to["email"] or item.message.to["name"] or "the data owner"
        out.print(
            f"Waits since {item.message.created_at[:16]}, tried {item.attempts} times by {item.channel}, for {to}: "
            f"{item.message.subject}",
            markup=False,
        )
    sentences = waiting_sentences(settings)
    _print_alerts(sentences)
    if sentences:
        raise typer.Exit(3)


@app.command()
def doctor() -> None:
    """Checks the machine, the settings and the extract, and says what to mend."""
    from orchestration.diagnosis import diagnose

    findings = diagnose(load_settings())
    for finding in findings:
        mark = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "problem": "[red]problem[/]"}[finding.state]
        out.print(f"{mark:24} {escape(finding.subject)}: {escape(finding.text)}")
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(2)


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(help="Where to write the extract.")],
    scale: Annotated[float, typer.Option(help="Size of the company; 1 is the bundled one.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed is another company.")] = 7,
    until: Annotated[str, typer.Option(help="Last day of its history, YYYY-MM-DD.")] = "2026-06-30",
    file_format: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="csv or parquet.")] = "csv",
    daily: Annotated[
        int, typer.Option(min=0, help="Also one extract a day, with what changed, for so many last days.")
    ] = 0,
    dirt: Annotated[bool, typer.Option(help="With what is wrong in every real export, or without.")] = True,
) -> None:
    """Writes the demo company as an extract that follows the contract; what was planted in it is in DIRECTORY/truth."""
    from orchestration.demo.company import write_demo

    day = _day(until, "--until")
    assert day is not None
    earlier = [day - timedelta(days=back) for back in range(daily, 0, -1)]
    with out.status("Starting") as status:
        counts = write_demo(
            directory,
            scale=scale,
            seed=seed,
            until=day,
            file_format=file_format,
            dirt=dirt,
            extracts_on=earlier,
            progress=status.update,
        )
    out.print(f"Wrote {sum(counts.values()):,} rows of {len(counts)} entities to {directory}.")
    if daily:
        out.print(f"Next: for each of the {daily + 1} folders in order of day: sightline run --extract {directory}/DAY")
    else:
        out.print(f"Next: sightline run --extract {directory}")


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000) -> None:
    """Opens Dagster on this machine: lineage, runs, checks, schedule and sensor."""
    from orchestration.running import prepare_home
    from orchestration.settings import PROJECT_ROOT

    prepare_home(load_settings())
    dagster = Path(sys.executable).with_name("dagster")
    workspace = str(PROJECT_ROOT / "workspace.yaml")
    os.execv(dagster, [str(dagster), "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(port)])


@app.command()
def pack(
    directory: Annotated[
        Path | None, typer.Argument(help="Where to write; without it packs/ in the home directory.")
    ] = None,
    manager: Annotated[str | None, typer.Option(help="Id of one manager; without it all of them.")] = None,
) -> None:
    """Writes the weekly pack: one HTML file a manager, to mail and to print, with that manager's team alone."""
    from importlib.util import find_spec

    if find_spec("streamlit") is None or find_spec("vl_convert") is None:
        raise UsageError("The weekly pack needs the extra web: make install EXTRAS=web")
    from dashboards.pack import write_packs
    from dashboards.release import current_folder

    settings = load_settings()
    target = directory or settings.home / "packs"
    with out.status("Starting") as status:
        files = write_packs(current_folder(settings), target, manager, status.update)
    for path in files:
        out.print(f"{path}  {path.stat().st_size / 1024:,.0f} KiB", markup=False)
    out.print(f"Wrote {len(files)} {'file' if len(files) == 1 else 'files'} to {target}; mail each to its manager.")


@app.command()
def web(
    host: Annotated[str, typer.Option(help="Address to serve on; beyond loopback only behind a login.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = 8501,
) -> None:
    """Opens the pages: deals, forecasts, customers, people, as the release says."""
    from importlib.util import find_spec

    from orchestration.settings import PROJECT_ROOT

    if find_spec("streamlit") is None:
        raise UsageError("The pages need the extra web: make install EXTRAS=web")
    from dashboards.login import options as login

    settings = load_settings()
    os.environ.update(settings.environment())
    page = PROJECT_ROOT / "dashboards" / "entry" / "sightline.py"
    options = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "global.developmentMode": "false",
        "theme.base": "light",
        "theme.primaryColor": "#2b6cb0",
        "theme.metricValueFontSize": "1.6rem",
        "theme.headingFontSizes": "2rem,1.4rem,1.15rem,1rem,0.9rem,0.85rem",
        **login(settings, host),
    }
    # What the pages import is there when the first reader comes.
    from dashboards.app import load_pages

    load_pages()
    from streamlit.web.cli import main as streamlit

    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    streamlit(["run", str(page), *flags], prog_name="streamlit")


def _print_summary(settings: Settings, release: str, seconds: dict[str, float]) -> None:
    from orchestration.publish.releases import release_manifest

    manifest: dict[str, Any] = release_manifest(settings, release)
    published = datetime.fromisoformat(manifest["published_at"])
    out.print(
        f"[bold]Release {release}[/] as of {manifest['as_of_date']} from {', '.join(manifest['sources'])}, "
        f"published {published:%Y-%m-%d %H:%M} UTC"
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("table")
    table.add_column("rows", justify="right")
    for name, rows in manifest["rows"].items():
        table.add_row(name, f"{rows:,}")
    out.print(table)
    landed = manifest["batches"][-1] if manifest["batches"] else None
    if landed:
        out.print(
            f"Landing gate: passed; newest batch {landed['batch_id']}: {landed['landed']:,} landed = "
            f"{landed['accepted']:,} accepted + {landed['quarantined']:,} quarantined + "
            f"{landed['superseded']:,} superseded"
            + (f"; {landed['deleted']:,} taken for deleted, being gone from the extract" if landed["deleted"] else "")
        )
    for source in manifest["sources"]:
        _print_notes(source, [batch for batch in manifest["batches"] if batch["source"] == source])
    checks = manifest["checks"]
    out.print(f"Publish gate: {checks['met']} of {checks['expectations']} expectations met")
    for sentence in checks["warnings"]:
        out.print(f"[yellow]Warning:[/] {escape(sentence)}")
    for batch in manifest["batches"]:
        if batch["quarantined"]:
            _print_quarantine(settings, batch["source"], batch["batch_id"])
    if seconds:
        out.print("Took " + ", ".join(f"{name.lower()} {value:.1f} s" for name, value in seconds.items()))
    path = settings.published / "current"
    out.print(
        f"Files: {path}/sightline.duckdb, {path}/parquet/, {path}/manifest.json; Data Docs: {settings.data_docs}",
        markup=False,
    )
    out.print(
        "Next: make web (the pages), make ui (runs and lineage), sightline status; your own tools: docs/bi-tools.md"
    )


def _print_alerts(sentences: list[str]) -> None:
    for sentence in sentences:
        err.print(sentence, markup=False)


def _print_notes(source: str, batches: list[dict[str, Any]]) -> None:
    """What a system said while it was read last; of a file, that a column is not there is no news."""
    for batch in batches[-1:]:
        _print_lines(source, batch.get("notes", []))


def _print_lines(source: str, notes: list[str]) -> None:
    told = [note for note in notes if not note.endswith(": not known")]
    # What looks like something that is meant to be read comes first.
    told.sort(key=lambda note: "it looks like" not in note)
    for note in told[:6]:
        if "it looks like" in note:
            out.print(f"[yellow]Warning:[/] {escape(note)}")
        else:
            out.print(f"{source}: {note}", markup=False)
    if len(told) > 6:
        out.print(f"{source}: {len(told) - 6} more of these in manifest.json, and in sightline doctor")


def _print_notes_of_refused(settings: Settings) -> None:
    from orchestration.ingest.landing import accepted_batches, read_batch, waiting_batch

    for source in settings.sources:
        folder = waiting_batch(settings, source)
        batches = [read_batch(folder)] if folder else accepted_batches(settings, source)[-1:]
        for batch in batches:
            _print_lines(source, batch.notes)


def _print_quarantine(settings: Settings, source: str, batch_id: str) -> None:
    from orchestration.ingest.landing import read_batch
    from orchestration.quality.landing_gate import findings

    found = findings(settings, read_batch(settings.raw / source / batch_id))
    for line in _grouped(found, settings.quarantine / source / batch_id):
        out.print(f"[yellow]Quarantined:[/] {escape(line)}" if not line.startswith("…") else line)


def _grouped(found: Sequence[Finding], folder: Path, limit: int = 8) -> list[str]:
    """One line for all that is wrong in the same way with the same column of a file, of each file one at least."""
    alike: dict[tuple[object, ...], list[Finding]] = {}
    for finding in found:
        alike.setdefault((finding.file, finding.column, finding.what_to_do, finding.effect), []).append(finding)
    groups = list(alike.values())
    first_of_file = {
        id(group): not any(g[0].file == group[0].file for g in groups[:n]) for n, group in enumerate(groups)
    }
    chosen = sorted(groups, key=lambda group: not first_of_file[id(group)])
    files = sum(first_of_file.values())
    shown = chosen[: max(limit, files)]
    lines = []
    for group in (group for group in groups if group in shown):
        more = f" {len(group) - 1:,} more like this." if len(group) > 1 else ""
        lines.append(group[0].sentence() + more)
    left = sum(len(group) for group in groups if group not in shown)
    if left:
        lines.append(f"… and {left:,} more in {folder}")
    return lines


def _print_refused(settings: Settings) -> None:
    from orchestration.ingest.landing import read_batch, waiting_batch
    from orchestration.quality.landing_gate import findings

    for source in settings.sources:
        folder = waiting_batch(settings, source)
        if folder is None:
            continue
        batch = read_batch(folder)
        out.print(f"[red]Not accepted:[/] batch {batch.batch_id} of {source}, landed {batch.landed_at}.")
        _print_lines(source, batch.notes)
        for line in _grouped(findings(settings, batch), settings.quarantine / source / batch.batch_id):
            out.print(f"  {line}", markup=False)


def main() -> None:
    try:
        app()
    except SightlineError as error:
        err.print(str(error), markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("Stopped; the last release stands.")
        os._exit(3)
    finally:
        # Nor is there any to be found at the end.
        gc.freeze()


if __name__ == "__main__":
    main()
