"""Superset on one machine for the people who sit at it: loopback, SQLite, nothing sent anywhere."""

import os
from pathlib import Path

HOME = Path(os.environ["SUPERSET_HOME"])
SECRET_KEY = (HOME / "secret_key").read_text(encoding="utf-8").strip()
SQLALCHEMY_DATABASE_URI = f"sqlite:///{HOME / 'superset.db'}"
# Descriptions are text; nobody uploads files, and no thumbnails are drawn.
FEATURE_FLAGS = {"ALERT_REPORTS": False, "THUMBNAILS": False}
# A page may ask for many charts at once, and SQLite lets one write at a time.
SQLALCHEMY_ENGINE_OPTIONS = {"connect_args": {"timeout": 30}}
