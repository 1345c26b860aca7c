"""Predict: between the two parts of the dbt build, what open deals and periods will come to."""

from collections.abc import Iterator
from typing import Any

from dagster import AssetKey, AssetSpec, Definitions, MaterializeResult, MetadataValue, multi_asset

from orchestration.defs.resources import Run
from orchestration.publish.candidate import read_build
from orchestration.warehouse.tables import READS_OF_PREDICTIONS

# Each is a table of the dbt source `predictions`.
TABLES = {
    "outcomes": "The chances of every open deal at every review, by the outcome model and by pooled rates.",
    "forecasts": "What the outcome model said each period would bring, out of time.",
    "outlooks": "What the current and next periods will bring.",
    "factors": "What moves the chance of each open deal most.",
    "models": "The method used in each quarter, why, and how it did.",
    "base_rates": "The share of earlier reviews whose deals had been won by each horizon.",
}


@multi_asset(
    name="predictions",
    specs=[
        AssetSpec(
            ["predictions", name],
            deps=[AssetKey(key) for key in READS_OF_PREDICTIONS],
            group_name="predict",
            description=description,
            kinds={"python", "parquet"},
        )
        for name, description in TABLES.items()
    ],
)
def predictions(run: Run) -> Iterator[MaterializeResult[Any]]:
    from orchestration.forecasting.predicting import predict

    settings = run.settings
    prediction = predict(settings, read_build(settings))
    told: dict[str, Any] = {
        "method": prediction.method,
        "reason": prediction.reason,
        "model_version": prediction.model_version,
        "data_hash": prediction.data_hash,
        "models_trained": prediction.trained,
        "seconds": prediction.seconds,
        "features": MetadataValue.json(prediction.features),
        "features_refused": MetadataValue.json(prediction.refused),
        "evaluation": MetadataValue.md(_evaluation(prediction.evaluation)),
    }
    for name in TABLES:
        metadata = {"dagster/row_count": prediction.rows[name], **(told if name in ("outcomes", "models") else {})}
        yield MaterializeResult(asset_key=["predictions", name], metadata=metadata)


def _evaluation(quarters: list[dict[str, Any]]) -> str:
    head = "| quarter | method | reviews | Brier, model | Brier, pooled | calibration |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(
        f"| {row['quarter_start']} | {row['method']} | {row['n']:,} | {_figure(row['model_brier'])} | "
        f"{_figure(row['stage_age_brier'])} | {row['calibration']} |"
        for row in quarters
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


defs = Definitions(assets=[predictions])
