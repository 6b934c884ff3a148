"""Every example of the documentation runs: each fenced ``python`` block is a program of its own.

An address of ``anysse demo --serve`` (``http://127.0.0.1:8765/...``) is answered by the same server here.
What a ``text`` block that directly follows shows, the program must print.
"""

import functools
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

import anysse
import anysse.testing
from anysse.cli._arguments import DEMO_PORT
from anysse.cli._server import serve_demo
from tests.conftest import is_importable

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN_URL = f"http://127.0.0.1:{DEMO_PORT}"

# Not in every environment of nox.
OPTIONAL = {"import httpx2": "httpx2", "import trio": "trio", "from starlette.testclient": "httpx2"}

# An indented fence (in a list, in a tab) counts too.
BLOCK = re.compile(
    r"^(?P<indent> *)```python\n(?P<code>.*?)^ *```\n(?:\s*^ *```text\n(?P<output>.*?)^ *```$)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A block of a page."""

    name: str
    code: str
    output: str | None
    """What it is said to print, or None where the page does not say."""


def examples_of(page: Path) -> Iterator[Example]:
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("code"))
        # The blank lines before it make a traceback show the page's own line numbers.
        code = "\n" * line + dedented(block["code"], block["indent"])
        output = None if block["output"] is None else dedented(block["output"], block["indent"])
        yield Example(name=f"{page.relative_to(ROOT)}:{line + 1}", code=code, output=output)


def dedented(text: str, indent: str) -> str:
    return "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))


EXAMPLES = [example for page in PAGES if page.exists() for example in examples_of(page)]


@pytest.fixture
def demo_url() -> Iterator[str]:
    """A demo server that nobody has talked to: it gives, and drops, the same each time."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve_demo(gap=0.001)) as server,
    ):
        yield server.url


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    """An example may set up logging: the tests after it are to find it as it was."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in ("anysse", "httpx")}
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


backends = pytest.mark.parametrize(
    "backend",
    ["asyncio", pytest.param("trio", marks=pytest.mark.skipif(not is_importable("trio"), reason="no trio"))],
)


def missing_for(example: Example) -> list[str]:
    """The libraries that an example uses and this environment is without."""
    return [name for line, name in OPTIONAL.items() if line in example.code and not is_importable(name)]


@backends
@pytest.mark.usefixtures("_logging_as_before")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_runs(
    example: Example,
    backend: str,
    demo_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if missing_for(example):
        pytest.skip(f"no {missing_for(example)[0]}")
    monkeypatch.setattr(anyio, "run", functools.partial(anyio.run, backend=backend))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    program = compile(example.code.replace(SHOWN_URL, demo_url), example.name, "exec")
    exec(program, namespace)
    if example.output is not None:
        assert capsys.readouterr().out == example.output.replace(SHOWN_URL, demo_url)


@pytest.mark.parametrize("name", [*anysse.__all__, *anysse.testing.__all__])
def test_every_public_name_is_in_the_reference(name: str) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert re.search(rf"^\.\. auto\w+:: (anysse\.)?{name}(\(.*)?$", reference, re.MULTILINE)


def test_an_indented_block_and_what_it_prints_are_found() -> None:
    page = [
        "- so:",
        "",
        "  ```python",
        "  if 1:",
        "      print(2)",
        "  ```",
        "",
        "  ```text",
        "  2",
        "  ```",
        "",
    ]
    found = BLOCK.search("\n".join(page))
    assert found is not None
    assert dedented(found["code"], found["indent"]) == "if 1:\n    print(2)\n"
    assert dedented(found["output"], found["indent"]) == "2\n"
