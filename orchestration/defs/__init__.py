"""Dagster wiring: one short file a stage. The work itself is in the plain modules beside this folder."""
