"""What the documentation's settings make of a page: told by Markdown itself, without building the site."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGE = "```python\nprint(1)\n```\n\n```text\n1\n```\n"


@pytest.fixture(scope="module")
def config():
    return pytest.importorskip("mkdocs.config").load_config(str(ROOT / "mkdocs.yml"))


def test_the_style_sheet_tells_what_is_printed_from_code_by_classes_that_the_pages_have(config):
    import markdown

    page = markdown.markdown(PAGE, extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
    boxes = re.findall(r'<div class="([^"]*)"><pre>', page)
    style = (ROOT / "docs/assets/page.css").read_text("utf-8")
    assert [box.split()[0] for box in boxes] == ["language-python", "language-text"]
    assert ".language-python + .language-text" in style


def test_compiled_python_stays_out_of_the_site(config):
    assert config.exclude_docs.match_file("__pycache__/griffe_roles.cpython-311.pyc")
    assert not config.exclude_docs.match_file("tutorial.md")
