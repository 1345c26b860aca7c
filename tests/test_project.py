"""What the project says about itself is true: layers, contracts, documents, policy, lock."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from orchestration.ingest.contract import describe_contract, load_source
from orchestration.publish.readers import Readers, readers_of
from orchestration.settings import DBT_PROJECT, PROJECT_ROOT, SEEDS, Settings, known_sources
from tests.conftest import Run


@pytest.fixture(scope="session")
def manifest(demo_run: Run) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((demo_run.home / "dbt" / "manifest.json").read_text())
    return content


def models(manifest: dict[str, Any], folder: str) -> list[dict[str, Any]]:
    found = [
        node
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["path"].startswith(f"{folder}/")
    ]
    assert found
    return found


def parents(node: dict[str, Any]) -> set[str]:
    return {name.split(".")[0] + ":" + name.split(".")[2] for name in node["depends_on"]["nodes"]}


def test_only_staging_calls_source(manifest: dict[str, Any]) -> None:
    for folder in ("intermediate", "marts"):
        for node in models(manifest, folder):
            assert not [name for name in parents(node) if name.startswith("source:")], node["name"]


def test_staging_reads_its_own_source_and_policy_and_nothing_else(manifest: dict[str, Any]) -> None:
    for node in models(manifest, "staging"):
        policy = {name for name in parents(node) if not name.startswith("source:")}
        assert policy <= {"seed:aliases", "seed:source_fields"}, node["name"]
        assert f"/{node['name'].split('__')[0].removeprefix('stg_')}/" in node["path"]


def test_marts_never_read_staging(manifest: dict[str, Any]) -> None:
    for node in models(manifest, "marts"):
        assert not [name for name in parents(node) if ":stg_" in name], node["name"]


def test_every_mart_has_an_enforced_contract_a_grain_and_a_description_of_each_column(manifest: dict[str, Any]) -> None:
    for node in models(manifest, "marts"):
        assert node["config"]["contract"]["enforced"], node["name"]
        assert node["description"].startswith("One row per "), node["name"]
        assert all(column["description"] and column["data_type"] for column in node["columns"].values()), node["name"]
        tested = [
            test
            for test in manifest["nodes"].values()
            if test["resource_type"] == "test"
            and test["test_metadata"]["name"] == "unique_key"
            and test["attached_node"] == node["unique_id"]
        ]
        assert len(tested) == 1, node["name"]


def test_every_model_is_described_by_its_grain(manifest: dict[str, Any]) -> None:
    for folder in ("staging", "intermediate", "marts"):
        for node in models(manifest, folder):
            assert node["description"].startswith("One row per "), node["name"]


def test_no_model_knows_the_engine() -> None:
    for path in (DBT_PROJECT / "models").rglob("*.sql"):
        assert "target." not in path.read_text(), path.name
    for path in (DBT_PROJECT / "macros").glob("*.sql"):
        assert "target.type" not in path.read_text(), path.name


def test_no_model_reads_the_clock() -> None:
    for path in (DBT_PROJECT / "models").rglob("*.sql"):
        assert not re.search(r"\b(current_date|current_timestamp|now\(\)|run_started_at)\b", path.read_text()), (
            path.name
        )


def test_staged_entities_are_those_the_folders_hold() -> None:
    declared = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text())["vars"]["source_entities"]
    for source in known_sources():
        files = {path.stem.split("__")[1] for path in (DBT_PROJECT / "models" / "staging" / source).glob("stg_*.sql")}
        assert files == set(declared[source]), source
    assert set(declared["extract"]) == {table.name for table in load_source("extract").tables}


def test_staging_delivers_only_columns_of_the_contract(maven_run: Run) -> None:
    import duckdb

    contract = {table.name: {column.name for column in table.columns} for table in load_source("extract").tables}
    with duckdb.connect(str(maven_run.home / "warehouse" / "sightline.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "select table_name, column_name from information_schema.columns where table_schema = 'staging'"
        ).fetchall()
    assert {name for name, _ in rows} >= {f"stg_maven__{entity}" for entity in ("users", "accounts", "opportunities")}
    for table, column in rows:
        if table.split("__")[0].removeprefix("stg_") not in known_sources():
            continue
        assert column in contract[table.split("__")[1]] or column.startswith(("_", "x_")), (table, column)


def test_every_id_of_the_contract_is_an_entitys_own_or_refers_to_one() -> None:
    text = (DBT_PROJECT / "models" / "staging" / "extract" / "_extract__sources.yml").read_text()
    tables = {table["name"]: table["columns"] for table in yaml.safe_load(text)["sources"][0]["tables"]}
    referring = {}
    for table, columns in tables.items():
        meta = {column["name"]: column.get("config", {}).get("meta", {}) for column in columns}
        keys = [name for name in meta if meta[name].get("is") == "key"]
        for name in meta:
            if "references" in meta[name]:
                assert meta[name]["references"] in tables, (table, name)
                referring[table, name] = meta[name]["references"]
            elif name.endswith("_id"):
                assert keys == [name], (table, name)
            else:
                assert "when" not in meta[name], (table, name)
        # An account stands for another: the union knows one such column a table.
        assert [meta[name].get("references") for name in meta].count("accounts") <= 1, table
    assert referring["customers", "crm_account_id"] == "accounts"
    assert referring["opportunity_changes", "new_value"] == "users"


def test_the_published_tables_and_columns_are_those_the_contracts_name(demo_run: Run, manifest: dict[str, Any]) -> None:
    published = demo_run.query("select table_schema || '.' || table_name, column_name from information_schema.columns")
    declared = [
        (f"{node['schema']}.{node['alias']}", column)
        for node in models(manifest, "marts")
        for column in node["columns"]
    ]
    assert sorted(published) == sorted(declared)


def test_every_published_table_has_a_page_and_every_column_it_names_exists(demo_run: Run) -> None:
    text = (PROJECT_ROOT / "docs" / "marts.md").read_text()
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^#|\Z)", text, flags=re.M | re.S))
    sections |= {page.stem: page.read_text() for page in (PROJECT_ROOT / "docs" / "marts").glob("*.md")}
    columns: dict[str, set[str]] = {}
    for table, column in demo_run.query(
        "select table_schema || '.' || table_name, column_name from information_schema.columns"
    ):
        columns.setdefault(str(table), set()).add(str(column))
    assert set(sections) == set(columns)
    words = {
        "closed",
        "created",
        "booked",
        "quoted",
        "ultimate_parent",
        "seeds/stages.csv",
        "seeds/signals.csv",
        "seeds/reconciliation_policy.csv",
        "reason",
        "overdue",
        "attention",
        "extra_effort",
        "de_resource",
        "optimist",
        "sandbagger",
        "steady",
        "not enough calls",
        "unclear",
        "opening",
        "closing",
        "restatement",
        "bookings",
        "revenue",
        "invoiced",
        "not_enough_data",
        "pricing.discount_exceptions",
        "seeds/discount_authority.csv",
        "seeds/pricing_policy.csv",
    }
    for table, section in sections.items():
        for name in re.findall(r"`([^`]+)`", section):
            assert name in columns[table] | words, (table, name)


PERSON = re.compile(r"(^|_)(owner|manager|seller|rep|user|person|submitter|sponsor)_id$")
REFERRED = {"core.opportunities": "deal", "core.accounts": "account"}


def readers(manifest: dict[str, Any]) -> dict[str, tuple[dict[str, Any], Readers]]:
    found = {}
    for node in models(manifest, "marts"):
        label = f"{node['schema']}.{node['alias']}"
        found[label] = node, readers_of(label, node["config"]["meta"].get("readers"))
    return found


def test_every_mart_says_who_may_read_its_rows_by_columns_it_has(manifest: dict[str, Any]) -> None:
    said = readers(manifest)
    for label, (node, rules) in said.items():
        assert rules.columns <= set(node["columns"]), label
        opened = (rules.everyone, rules.person, rules.deal, rules.account, rules.member, rules.row_of)
        assert any(opened), label
        assert not rules.everyone or not any(opened[1:]), label
        if rules.row_of:
            assert set(rules.row_of[1]) <= set(said[rules.row_of[0]][0]["columns"]), label
        assert label not in REFERRED or not (rules.deal or rules.account or rules.row_of), label


def test_no_person_stands_in_a_mart_that_everyone_reads(manifest: dict[str, Any], demo_run: Run) -> None:
    """By the names of columns, and by what is in them: an id of a person is found whatever its column is called."""
    with duckdb.connect(str(demo_run.database), read_only=True) as connection:
        texts = connection.execute(
            "select table_schema || '.' || table_name, column_name from information_schema.columns "
            "where data_type = 'VARCHAR'"
        ).fetchall()
        held = 'select 1 from {} where "{}" in (select rep_id from core.reps) limit 1'
        holding = {
            (table, column) for table, column in texts if connection.execute(held.format(table, column)).fetchone()
        }
    assert len(holding) > 60
    for label, (node, rules) in readers(manifest).items():
        persons = {name for name in node["columns"] if PERSON.search(name)}
        persons |= {column for table, column in holding if table == label}
        if rules.everyone:
            assert not persons or rules.reason, (label, persons)
            continue
        told = {*rules.person, *rules.mentioned, *((rules.member.id,) if rules.member and rules.member.person else ())}
        assert persons - {rules.deal, rules.account} <= told, (label, persons - told)
        assert all(rules.mentioned.values()), label


def test_rows_by_dimension_are_open_to_everyone_only_where_no_member_is_a_person_or_an_account(
    manifest: dict[str, Any], demo_run: Run
) -> None:
    for label, (_, rules) in readers(manifest).items():
        if (member := rules.member) is None:
            continue
        kinds = {
            str(word): {"person" if persons else None, "account" if accounts else None} - {None}
            for word, persons, accounts in demo_run.query(
                f"select {member.of}, bool_or({member.id} in (select rep_id from core.reps)), "
                f"bool_or({member.id} in (select account_id from core.accounts)) from {label} group by 1"
            )
        }
        listed = {**dict.fromkeys(member.person, {"person"}), **dict.fromkeys(member.account, {"account"})}
        assert set(listed) | set(member.everyone) <= set(kinds), label
        # Where the member is the dimension, as a person or "all", the words that are not listed are persons.
        looked_at = listed if member.of == member.id else kinds
        for word in {*looked_at, *member.everyone}:
            assert kinds[word] == listed.get(word, set()), (label, word)


def test_marts_that_judge_people_are_marked(manifest: dict[str, Any]) -> None:
    said = readers(manifest)
    marked = {label for label, (node, _) in said.items() if node["config"]["meta"].get("people")}
    of_people = {label for label, (_, rules) in said.items() if label.startswith("people.") and not rules.everyone}
    # Hires in their hundreds, by cohort: nobody is judged.
    assert of_people - {"people.ramp_curves"} <= marked
    assert marked - of_people == {"forecast_accuracy.submitter_credibility", "pricing.discount_discipline"}


def test_a_release_says_who_may_read_what(manifest: dict[str, Any], demo_run: Run) -> None:
    released = json.loads((demo_run.database.parent / "manifest.json").read_text())["readers"]
    assert released == {
        label: {"rows": node["config"]["meta"]["readers"], "people": node["config"]["meta"].get("people", False)}
        for label, (node, _) in readers(manifest).items()
    }
    assert set(released) == {
        f"{schema}.{table}"
        for schema, table in demo_run.query("select distinct table_schema, table_name from information_schema.tables")
    }


def test_descriptions_travel_with_the_release(demo_run: Run) -> None:
    described = demo_run.query("select count(*), count(comment) from duckdb_columns() where not internal")
    assert described[0][0] == described[0][1]
    (win_rate,) = demo_run.query(
        "select comment from duckdb_columns() where table_name = 'win_rates' and column_name = 'win_rate'"
    )
    assert str(win_rate[0]).startswith("won / (won + lost + no decision)")


def test_the_contract_page_is_made_from_the_contract() -> None:
    assert (PROJECT_ROOT / "docs" / "extract-contract.md").read_text() == describe_contract()


def test_the_settings_in_the_readme_are_the_settings_there_are() -> None:
    text = (PROJECT_ROOT / "README.md").read_text()
    assert set(re.findall(r"^\| `SIGHTLINE_(\w+)`", text, flags=re.M)) == {
        name.upper() for name in Settings.model_fields
    }


def test_the_commands_in_the_readme_exist() -> None:
    text = (PROJECT_ROOT / "README.md").read_text()
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    for name in set(re.findall(r"\bmake (\w+)", text)) - {"and"}:
        assert re.search(rf"^{name}:", makefile, flags=re.M), name
    from orchestration.cli import app

    commands = {command.callback.__name__ for command in app.registered_commands if command.callback}
    used = set(re.findall(r"sightline (run|status|rollback|doctor|demo|ui|\w+) ", text)) - {"builds"}
    assert used <= commands
    for link in re.findall(r"\]\(((?!http)[^)]+)\)", text):
        assert (PROJECT_ROOT / link).exists(), link


def test_policy_files_hold_what_the_code_reads() -> None:
    from orchestration.quality.expectation import gate_limits

    assert set(gate_limits()) == {
        "quarantined_share", "deleted_share", "deleted_minimum", "shrink_share", "win_rate_change",
        "open_pipeline_change", "drift_minimum_deals", "fx_spot_carry_days", "fx_plan_carry_days",
    }  # fmt: skip
    used = {column.policy for name in known_sources() for table in load_source(name).tables for column in table.columns}
    for seed in used - {None}:
        assert (SEEDS / f"{seed}.csv").exists()


def test_the_lock_names_versions_and_no_host() -> None:
    lines = (PROJECT_ROOT / "requirements.lock").read_text().splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==[^\s]+( ; .+)?", line), line


def test_no_path_of_a_machine_and_no_host_of_a_registry_stands_in_the_tree() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(files) > 50
    # Put together here, so that this file does not hold what it looks for.
    unwanted = ["/" + "root/", "/" + "work/", "/" + "home/", "py" + "pi.org", "registry." + "npmjs", "deb." + "debian"]
    for name in files:
        path = Path(PROJECT_ROOT / name)
        if path.suffix in (".py", ".sql", ".yml", ".md", ".toml", ".lock", ".csv", "") and path.is_file():
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert not [word for word in unwanted if word in text], name


def test_importing_the_definitions_needs_no_warehouse_and_covers_every_stage(demo_run: Run) -> None:
    import os

    before = dict(os.environ)
    os.environ["SIGHTLINE_HOME"] = str(demo_run.home)
    try:
        from orchestration.definitions import defs
    finally:
        os.environ.clear()
        os.environ.update(before)
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert {"extract/landing", "extract/opportunities", "core/opportunities", "candidate", "release"} <= keys
    graph = defs.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.group_name and node.group_name != "default", key
        assert node.description, key
