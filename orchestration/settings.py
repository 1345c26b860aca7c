"""Paths and settings: the only place that knows either."""

from __future__ import annotations

import os
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from orchestration.errors import UsageError

PROJECT_ROOT = Path(__file__).resolve().parents[1]
DBT_PROJECT = PROJECT_ROOT / "dbt_project"
SEEDS = PROJECT_ROOT / "seeds"
STAGING = DBT_PROJECT / "models" / "staging"

# Nothing here ever phones home: on a closed network each attempt would wait for its time-out.
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DAGSTER_TELEMETRY_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
}


class Settings(BaseSettings):
    """Every setting, read from `SIGHTLINE_…` variables or a `.env` file in the working directory."""

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_", env_file=".env", extra="ignore")

    home: Path = Field(default=PROJECT_ROOT / "var", description="Everything Sightline writes")
    extract_dir: Path | None = Field(default=None, description="Extract directory; without it the demo company")
    extract_dirs: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict, description="Extract directories of several sources: source=directory, comma separated"
    )
    sources: Annotated[tuple[str, ...], NoDecode] = Field(default=("extract",), description="Sources, comma separated")
    as_of: date | None = Field(default=None, description="Tell everything as known on this day")
    reporting_currency: str = Field(default="USD", pattern="^[A-Z]{3}$", description="ISO 4217")
    target: Literal["duckdb", "spark"] = Field(default="duckdb", description="Where the SQL runs")
    keep_releases: int = Field(default=7, ge=2, description="How many releases stay on disk")
    spark_master: str = Field(default="local[2]", description="Spark master for the target spark")
    spark_partitions: int = Field(
        default=4, ge=1, description="Parts Spark cuts what it joins and groups into; more for more cores"
    )
    salesforce_url: str | None = Field(
        default=None, description="The organisation's own address, https://….my.salesforce.com"
    )
    salesforce_client_id: str | None = Field(default=None, description="Consumer key of the external client app")
    salesforce_client_secret: SecretStr | None = Field(default=None, description="Its consumer secret")
    hubspot_url: str = Field(default="https://api.hubapi.com", description="Where HubSpot's API is")
    hubspot_token: SecretStr | None = Field(default=None, description="Access token of the private app")
    sql_url: SecretStr | None = Field(
        default=None, description="Address of the finance database, with user and password"
    )
    sql_tables: Path | None = Field(default=None, description="YAML file: which table or query delivers each entity")
    sync_overlap_minutes: int = Field(
        default=10, ge=0, description="How far a connector looks back before its last cursor"
    )
    web_oidc_issuer: str | None = Field(default=None, description="Who logs people in to the pages: the OIDC issuer")
    web_oidc_client_id: str | None = Field(default=None, description="What the issuer calls the pages")
    web_oidc_client_secret: SecretStr | None = Field(default=None, description="Their secret with the issuer")
    web_oidc_cookie_secret: SecretStr | None = Field(default=None, description="What logins are signed with")
    web_url: str | None = Field(default=None, description="The address of the pages, as people open them")
    publish_postgres: SecretStr | None = Field(
        default=None, description="Address of the PostgreSQL database each release is served in, with user and password"
    )
    alert_webhook: SecretStr | None = Field(default=None, description="Address alerts are posted to as JSON")
    alert_smtp: SecretStr | None = Field(
        default=None, description="Mail server of alerts, smtp[s]://user:password@host:port"
    )
    alert_from: str | None = Field(default=None, description="Sender of alert mails; without it the data owner")
    alert_data_owner: str | None = Field(
        default=None,
        validate_default=True,
        description="Mail address of whoever looks after the data: refused releases and failed runs",
    )

    @field_validator("home", "extract_dir", "sql_tables")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return _absolute(value) if value else None

    @field_validator("extract_dirs", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if not all(name and directory for name, _, directory in pairs):
            raise ValueError("write it as extract=DIR,maven=DIR")
        names = [name.strip() for name, _, _ in pairs]
        if len(set(names)) < len(names):
            raise ValueError("a source has one directory")
        return {name.strip(): directory.strip() for name, _, directory in pairs}

    @field_validator("alert_webhook", "alert_smtp")
    @classmethod
    def _address(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if not value or not value.get_secret_value():
            return None
        schemes = ("http", "https") if info.field_name == "alert_webhook" else ("smtp", "smtps")
        try:
            parts = urlsplit(value.get_secret_value())
            is_address = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            is_address = False
        if not is_address:
            raise ValueError(f"write it as {schemes[1]}://host or {schemes[0]}://host")
        return value

    @field_validator("alert_data_owner")
    @classmethod
    def _somebody_to_tell(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("alert_smtp") and not value:
            raise ValueError("mails need an address for what concerns the data; SIGHTLINE_ALERT_SMTP is set")
        return value or None

    @field_validator("extract_dirs")
    @classmethod
    def _of_sources(cls, value: dict[str, Path]) -> dict[str, Path]:
        unknown = [name for name in value if name not in known_sources()]
        if unknown:
            raise ValueError(f"unknown source {', '.join(unknown)}: there is {', '.join(known_sources())}")
        return {name: _absolute(directory) for name, directory in value.items()}

    @field_validator("sources", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    @field_validator("sources")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = known_sources()
        unknown = [name for name in value if name not in known]
        if unknown or not value:
            raise ValueError(f"unknown source {', '.join(unknown) or '(none)'}: there is {', '.join(known)}")
        return value

    def directory_of(self, source: str) -> Path | None:
        """Where the files of a source are: its own directory, else the one for all."""
        return self.extract_dirs.get(source, self.extract_dir)

    @cached_property
    def directories(self) -> list[Path]:
        """Every directory that is read for a source of the run."""
        found = {self.directory_of(source) for source in self.sources}
        return sorted(directory for directory in found if directory)

    @cached_property
    def raw(self) -> Path:
        """Accepted batches, `<source>/<batch>/<table>.parquet`: append-only."""
        return self.home / "raw"

    @cached_property
    def incoming(self) -> Path:
        """Batches that have landed and wait for the landing gate."""
        return self.home / "incoming"

    @cached_property
    def inbox(self) -> Path:
        """What connectors have pulled and is not accepted yet, `<source>/`."""
        return self.home / "inbox"

    @cached_property
    def mirror(self) -> Path:
        """Copies of extracts that are in a bucket, `<source>/`."""
        return self.home / "mirror"

    @cached_property
    def quarantine(self) -> Path:
        """Rows that were not let in, `<source>/<batch>/<table>.parquet`."""
        return self.home / "quarantine"

    @cached_property
    def warehouse(self) -> Path:
        """The DuckDB file dbt builds in; a release is a copy, BI never opens this one."""
        return self.home / "warehouse" / "sightline.duckdb"

    @cached_property
    def spark_warehouse(self) -> Path:
        """Where Spark keeps the tables dbt builds, `<schema>.db/<table>/`."""
        return self.home / "spark" / "warehouse"

    @cached_property
    def predictions(self) -> Path:
        """What the outcome model told in the last run: Parquet files the second part of the dbt build reads."""
        return self.home / "warehouse" / "predictions"

    @cached_property
    def kept_models(self) -> Path:
        """Models of quarters, and what they said, by a hash of everything they rest on: safe to delete."""
        return self.home / "models"

    @cached_property
    def published(self) -> Path:
        """Releases, and `current` which points at the one that is read."""
        return self.home / "published"

    @cached_property
    def data_docs(self) -> Path:
        """Great Expectations' pages about the last run of each gate."""
        return self.home / "data_docs"

    @cached_property
    def web(self) -> Path:
        """What the login of the pages needs, readable by their own user alone."""
        return self.home / "web"

    @cached_property
    def demo_extract(self) -> Path:
        """The demo company, when no extract directory is set."""
        return self.home / "demo"

    @cached_property
    def alerts(self) -> Path:
        """Messages that wait for their receiver, those that were sent, and what has been told."""
        return self.home / "alerts"

    @cached_property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @cached_property
    def dbt_home(self) -> Path:
        return self.home / "dbt"

    @cached_property
    def dbt_target(self) -> Path:
        """What dbt keeps of the project it has read, and the SQL it made."""
        return self.dbt_home / "target"

    @cached_property
    def manifest(self) -> Path:
        """dbt's manifest the Dagster assets are read from."""
        return self.dbt_home / "manifest.json"

    @cached_property
    def manifest_digest(self) -> Path:
        """Digest of the models, macros, contract and policy the manifest was made from."""
        return self.dbt_home / "manifest.sha256"

    @cached_property
    def run_lock(self) -> Path:
        return self.home / "run.lock"

    def secrets(self) -> list[str]:
        """Every secret that is set, longest first, to take them out of what libraries say."""
        values = [getattr(self, name) for name in type(self).model_fields]
        told = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        # Of an address, the password alone is a secret too, as it is written and as it is meant.
        passwords = [urlsplit(text).password for text in told if "://" in text]
        told += [form for word in passwords if word for form in (word, unquote(word))]
        return sorted({text for text in told if text}, key=len, reverse=True)

    def environment(self) -> dict[str, str]:
        """The variables dbt and the Dagster processes see."""
        return {
            **TELEMETRY_OFF,
            "SIGHTLINE_HOME": str(self.home),
            "SIGHTLINE_TARGET": self.target,
            "SIGHTLINE_SPARK_MASTER": self.spark_master,
            "SIGHTLINE_SPARK_PARTITIONS": str(self.spark_partitions),
            "DAGSTER_HOME": str(self.dagster_home),
            "DBT_LOG_PATH": str(self.dbt_home / "logs"),
        }


def _absolute(path: Path) -> Path:
    """An address in a bucket, s3://bucket/prefix, depends on no working directory."""
    return path if path.parts[:1] == ("s3:",) else path.expanduser().resolve()


def known_sources() -> list[str]:
    """Names of the staging folders: each is one source."""
    return sorted(path.parent.name for path in STAGING.glob("*/_*__sources.yml"))


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, with what the command line says on top.

    Raises:
        UsageError: a setting is not what it must be; the sentence names the variable.
    """
    os.environ.update(TELEMETRY_OFF)
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"SIGHTLINE_{'_'.join(str(part) for part in problem['loc'][:1]).upper()}: {problem['msg']}"
            for problem in error.errors()
        )
        raise UsageError(f"Settings are wrong: {problems}. Correct the variable or the option and run again.") from None
