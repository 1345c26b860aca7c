"""The pictures of the pages under docs/marts/ show what the demo company's release says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from orchestration.settings import PROJECT_ROOT
from tests.conftest import Run

DOCS = PROJECT_ROOT / "docs"
WITH_PAGES = ("people", "pricing", "scorecard")


def texts(picture: Path) -> list[str]:
    return re.findall(r"<text[^>]*>(?:<tspan[^>]*>)?([^<]+)<", picture.read_text(encoding="utf-8"))


def test_each_picture_is_the_one_drawn_from_the_release(full_run: Run, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert spec and spec.loader
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    pictures.main(full_run.database, tmp_path)
    drawn = {picture.name: texts(picture) for picture in tmp_path.glob("*.svg")}
    # `make run && make docs` draws them again.
    assert drawn == {picture.name: texts(picture) for picture in (DOCS / "pictures").glob("*.svg")}
    assert min(len(words) for words in drawn.values()) > 5


def test_each_mart_about_people_prices_and_the_scorecard_has_a_page_with_its_picture(full_run: Run) -> None:
    marts = {
        str(name)
        for (name,) in full_run.query(
            "select table_schema || '.' || table_name from information_schema.tables "
            f"where table_schema in {WITH_PAGES}"
        )
    }
    assert marts == {page.stem for page in (DOCS / "marts").glob("*.md")}
    for name in marts:
        text = (DOCS / "marts" / f"{name}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {name}\n")
        (link,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
        assert (DOCS / "marts" / link).resolve() == DOCS / "pictures" / f"{name}.svg"
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (DOCS / "marts" / target).exists(), (name, target)
        assert f"](marts/{name}.md)" in (DOCS / "marts.md").read_text(encoding="utf-8")
