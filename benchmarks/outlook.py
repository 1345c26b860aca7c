"""How well open deals and quarters are foretold, on companies of the demo whose true chances are known.

    .venv/bin/python benchmarks/outlook.py [--seeds 707 808 909]

Writes each company, runs it in a home of its own, and prints, over every quarter that was told out of time and has
ended: the weighted absolute error (WAPE) of each method for the company 9, 6 and 3 weeks before the end of a quarter;
how often the range from P10 to P90 held what came; the Brier skill of chances over the base rate known then; and how
far the chance to be won at all is from the planted one, tenth by tenth; last, all companies together. Ends with 1 when
a promise is missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

SEEDS = [707, 808, 909]
WEEKS = (9, 6, 3)
# Methods the model must beat; the executive's call is shown beside them.
RIVALS = ("naive_last_period", "naive_last_year", "stage_weighted", "seller_commit", "manager_commit")
LEAST_QUARTERS, LEAST_SKILL, MOST_ERROR, COVERED = 8, 0.15, 0.05, (0.70, 0.90)

# Told here a second time, in plain SQL over what was known, rather than read from the marts.
FORECASTS = """
    create temp table quarters as
    select distinct quarter_start, quarter_end, fiscal_year, fiscal_quarter from warehouse.core.calendar;

    create temp table cells as
    select quarters.quarter_start, quarters.quarter_end, weeks, days.day as forecast_on
    from quarters
    cross join (select cast(unnest(range(1, 14)) as int) as weeks) as all_weeks
    inner join warehouse.core.calendar as days on days.day = days.week_end
    where
        days.day between quarters.quarter_start - 1 and quarters.quarter_end - 7 * weeks
        and days.day > quarters.quarter_end - 7 * weeks - 7;

    create temp table won as
    select opportunity_id, amount, closed_on from warehouse.core.opportunities where is_won and not is_deleted;

    create temp table due as
    select
        cells.*, snapshots.opportunity_id, snapshots.stage, snapshots.amount,
        coalesce(won.closed_on between cells.quarter_start and cells.quarter_end, false) as is_won
    from cells
    inner join warehouse.funnel.pipeline_snapshots as snapshots on cells.forecast_on = snapshots.snapshot_date
    left join won on snapshots.opportunity_id = won.opportunity_id
    where snapshots.close_date between greatest(cells.quarter_start, cells.forecast_on) and cells.quarter_end;

    create temp table rates as
    with counted as (
        select
            cells.quarter_start, due.stage, due.weeks, count(*) as n, count(*) filter (due.is_won) as k
        from (select distinct quarter_start from cells) as cells
        inner join due
            on due.quarter_end < cells.quarter_start
            and due.quarter_start >= cells.quarter_start - interval 24 months
        group by all
    )
    select
        quarter_start, stage, weeks,
        (k + 30 * (sum(k) over (partition by quarter_start, stage)) / (sum(n) over (partition by quarter_start, stage)))
        / (n + 30) as rate
    from counted;

    create temp table calls as
    select
        cells.quarter_start, cells.weeks, reps.role,
        -- Heads call for managers who call: each book is counted once.
        reps.rep_id in (
            select lines.manager_id from warehouse.intermediate.int_reporting_lines_then as lines
            inner join warehouse.core.reps as below
                on lines.rep_id = below.rep_id and below.role = 'manager'
                and cells.forecast_on >= below.valid_from and cells.forecast_on < coalesce(below.valid_to, '9999-01-01')
            where cells.forecast_on >= lines.valid_from and cells.forecast_on < lines.valid_to
        ) as is_head,
        submissions.amount
    from cells
    inner join warehouse.intermediate.int_forecast_submissions_known as submissions
        on cells.quarter_start = submissions.period_start
        and cast(submissions.submitted_at as date) <= cells.forecast_on
    inner join warehouse.core.reps as reps
        on submissions.submitter_id = reps.rep_id
        and cells.forecast_on >= reps.valid_from and cells.forecast_on < coalesce(reps.valid_to, '9999-01-01')
    where submissions.category = 'commit' and coalesce(reps.terminated_on > cells.forecast_on, true)
    qualify row_number() over (
        partition by cells.quarter_start, cells.weeks, submissions.submitter_id
        order by submissions.submitted_at desc, submissions.submission_id desc
    ) = 1;

    create temp table told as
    with sums as (
        select
            cells.*,
            (select coalesce(sum(amount), 0) from won where closed_on between quarter_start and quarter_end) as actual,
            (select coalesce(sum(amount), 0) from won where closed_on between quarter_start and forecast_on) as booked
        from cells
    )
    select quarter_start, quarter_end, weeks, actual, method, cast(amount as double) as amount, low, high
    from (
        select sums.*, 'model' as method, forecast_amount as amount, low, high
        from sums
        inner join warehouse.intermediate.int_model_forecasts as forecasts
            on sums.quarter_start = forecasts.period_start and sums.weeks = forecasts.weeks_before_end
            and forecasts.period_type = 'quarter' and forecasts.scope_type = 'company'
        union all
        select sums.*, 'naive_last_period', greatest(booked, (
            select sum(amount) from won where closed_on between before.quarter_start and before.quarter_end
        )), null, null
        from sums inner join quarters as before on before.quarter_end = sums.quarter_start - 1
        union all
        select sums.*, 'naive_last_year', greatest(booked, (
            select sum(amount) from won where closed_on between before.quarter_start and before.quarter_end
        )), null, null
        from sums
        inner join quarters as this on sums.quarter_start = this.quarter_start
        inner join quarters as before
            on before.fiscal_year = this.fiscal_year - 1 and before.fiscal_quarter = this.fiscal_quarter
        union all
        select sums.*, 'stage_weighted', booked + coalesce((
            select sum(due.amount * rates.rate) from due
            inner join rates
                on due.quarter_start = rates.quarter_start and due.stage = rates.stage and due.weeks = rates.weeks
            where due.quarter_start = sums.quarter_start and due.weeks = sums.weeks
        ), 0), null, null
        from sums
        union all
        select sums.*, 'seller_commit', (
            select sum(amount) from calls
            where quarter_start = sums.quarter_start and weeks = sums.weeks and role not in ('manager', 'executive')
        ), null, null
        from sums
        union all
        select sums.*, 'manager_commit', (
            select sum(amount) from calls
            where quarter_start = sums.quarter_start and weeks = sums.weeks and role = 'manager' and not is_head
        ), null, null
        from sums
        union all
        select sums.*, 'executive_commit', (
            select sum(amount) from calls
            where quarter_start = sums.quarter_start and weeks = sums.weeks and role = 'executive'
        ), null, null
        from sums
    )
    where amount is not null and quarter_end <= (select max(as_of_date) from warehouse.core.opportunities)
"""
ERRORS = """
    select
        method, weeks, sum(abs(amount - actual)) / sum(actual) as wape, sum(amount - actual) / sum(actual) as bias,
        cast(sum(actual) as double) as actual
    from told
    where
        quarter_start in (select quarter_start from told where method = 'model')
        and quarter_start >= (
            select max(quarter_start) - to_months(cast(3 * ({quarters} - 1) as int)) from told where method = 'model'
        )
    group by all
"""
RANGES = """
    select count(distinct quarter_start), avg(cast(actual between low and high as int)),
        avg(cast(actual between low and high as int)) filter (weeks in (9, 6, 3))
    from told
    where method = 'model'
"""
TRUTH = """
    with paired as (
        select cast(outcomes.p_win_ever as double) as told, truth.p_win as planted
        from warehouse.staging.stg_predictions__outcomes as outcomes
        inner join truth
            on outcomes.opportunity_id = truth.opportunity_id
            and outcomes.snapshot_date + 1 = cast(truth.week_on as date)
        where outcomes.method = 'model'
    ),

    tenths as (
        select count(*) as n, abs(avg(told) - avg(planted)) as error
        from paired group by least(floor(told * 10), 9)
    )

    select sum(n * error) / sum(n), max(error), (select corr(told, planted) from paired) from tenths
"""


def figures(home: Path, truth: Path) -> dict[str, Any]:
    """The figures of one company.

    Args:
        home: in which a run has published it.
        truth: the directory `truth` of the extract.
    """
    with duckdb.connect() as connection:
        connection.execute(f"attach '{home / 'warehouse' / 'sightline.duckdb'}' as warehouse (read_only)")
        (file,) = truth.glob("win_probability.*")
        connection.execute(f"create temp table truth as from '{file}'")
        for statement in FORECASTS.split(";"):
            connection.execute(statement)
        quarters, covered, covered_at_weeks = connection.execute(RANGES).fetchone() or (0, 0, 0)
        errors = {
            count: {
                (method, weeks): (wape, bias, actual)
                for method, weeks, wape, bias, actual in connection.execute(ERRORS.format(quarters=count)).fetchall()
            }
            for count in (LEAST_QUARTERS, quarters)
        }
        skill = dict(
            connection.execute(
                "select horizon, skill from warehouse.forecast_accuracy.calibration "
                "where method = 'model' and bin = 'all'"
            ).fetchall()
        )
        error, worst, correlation = connection.execute(TRUTH).fetchone() or (1, 1, 0)
    return {
        "quarters": quarters,
        "errors": errors,
        "covered": covered,
        "covered_at_weeks": covered_at_weeks,
        "skill": skill,
        "error": error,
        "worst": worst,
        "correlation": correlation,
    }


def measure(seed: int, folder: Path, scale: float = 1.0) -> dict[str, Any]:
    """Writes a company, runs it and returns its figures."""
    extract, home = folder / "extract", folder / "home"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "DAGSTER_"))}
    for arguments in (
        ["demo", str(extract), "--seed", str(seed), "--scale", str(scale), "--format", "parquet"],
        ["run", "--extract", str(extract)],
    ):
        subprocess.run(
            [sys.executable, "-m", "orchestration.cli", *arguments],
            env={**clean, "SIGHTLINE_HOME": str(home)},
            capture_output=True,
            check=True,
            timeout=1800,
        )
    return figures(home, extract / "truth")


def missed(found: dict[str, Any]) -> list[str]:
    """A sentence for each promise that is not kept, over all quarters told out of time."""
    said = []
    errors = found["errors"][found["quarters"]]
    if found["quarters"] < LEAST_QUARTERS:
        said.append(f"only {found['quarters']} quarters were told")
    for weeks in WEEKS:
        for rival in RIVALS:
            if errors["model", weeks][0] >= errors[rival, weeks][0]:
                said.append(f"{rival} is as good as the model {weeks} weeks before the end")
    if not COVERED[0] <= found["covered"] <= COVERED[1]:
        said.append(f"the range held {found['covered']:.0%}")
    for horizon in ("month", "quarter", "days"):
        if found["skill"][horizon] <= LEAST_SKILL:
            said.append(f"skill for {horizon} is {found['skill'][horizon]:.3f}")
    if found["error"] > MOST_ERROR:
        said.append(f"chances are {found['error']:.3f} from the planted ones")
    return said


def show(name: str, found: dict[str, Any]) -> None:
    print(name)
    for count, errors in found["errors"].items():
        print(f"  WAPE (bias) of the company's quarter, last {count} quarters told out of time")
        for method in ("model", *RIVALS, "executive_commit"):
            row = "   ".join(f"{w} weeks {errors[method, w][0]:.3f} ({errors[method, w][1]:+.3f})" for w in WEEKS)
            print(f"    {method:18} {row}")
    print(
        f"  P10 to P90 held {found['covered']:.3f} of all weeks, {found['covered_at_weeks']:.3f} at {WEEKS} weeks   "
        f"Brier skill {', '.join(f'{horizon} {value:.3f}' for horizon, value in sorted(found['skill'].items()))}"
    )
    print(
        f"  chance to be won at all: {found['error']:.4f} from the planted one on average, {found['worst']:.3f} in the "
        f"worst tenth; correlation {found['correlation']:.3f}"
    )
    for sentence in missed(found):
        print(f"  missed: {sentence}")
    sys.stdout.flush()


def show_together(found: list[dict[str, Any]]) -> None:
    """All quarters of all companies as one, and in how many of all comparisons the model is the better one."""
    told = [company["errors"][company["quarters"]] for company in found]
    quarters = sum(company["quarters"] for company in found)
    print(f"together: WAPE over {quarters} quarters of {len(found)} companies")
    for method in ("model", *RIVALS, "executive_commit"):
        shares = [
            sum(errors[method, w][0] * errors[method, w][2] for errors in told)
            / sum(errors[method, w][2] for errors in told)
            for w in WEEKS
        ]
        print(f"    {method:18} {'   '.join(f'{w} weeks {x:.3f}' for w, x in zip(WEEKS, shares, strict=True))}")
    better = [errors["model", w][0] < errors[rival, w][0] for errors in told for w in WEEKS for rival in RIVALS]
    print(f"  company by company the model has the lower error in {sum(better)} of {len(better)} comparisons")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    companies = []
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            companies.append(measure(seed, Path(folder)))
        show(f"seed {seed}", companies[-1])
    show_together(companies)
    return int(any(missed(found) for found in companies))


if __name__ == "__main__":
    sys.exit(main())
