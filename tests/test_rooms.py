"""The table of `CONTRIBUTING.md`: which room may know which. Read from the sources, and held."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import anysse

PACKAGE = Path(anysse.__file__).parent

FLOOR_0 = ("_redact", "_events", "_errors", "_check")
"""In this order: each may know the ones before it."""
FLOOR_1 = (
    "_answer",
    "_cadence",
    "_decode",
    "_http11",
    "_inflate",
    "_intake",
    "_netlink",
    "_observer",
    "_options",
    "_parser",
    "_payload",
    "_resend",
    "_retry",
    "_sendable",
    "_statistics",
    "_visibility",
)
PURE = {*FLOOR_0, *FLOOR_1, "_session", "_plan"}
"""No clock, no I/O, no event loop, no HTTP client: what these do is tested as plain values."""

ENGINE = {"_http11", "_asyncio", "_polled", "_wire", "_outgoing", "_incoming", "_connections"}
"""The transport, as far as it knows neither httpx nor httpx2; what dresses it for them alone knows it."""
LOWER = {*FLOOR_0, *FLOOR_1, "_log", "_types"} - ENGINE
FLOOR_2 = {
    "_addresses",
    "_silence",
    "_clients",
    "_clock",
    "_delivery",
    "_groups",
    "_http",
    "_network",
    "_plan",
    "_receiver",
    "_request",
    "_session",
    "_sleep",
    "_steering",
    "_transport",
    "_unwind",
    "_wakeup",
}
"""But for the engine."""
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    # room: (rooms it may know, third parties it may know)
    **{room: (set(FLOOR_0[:place]), set()) for place, room in enumerate(FLOOR_0)},
    "_log": (set(), set()),
    **{room: (set(FLOOR_0), set()) for room in FLOOR_1},
    "_decode": (set(FLOOR_0), {"typing_extensions"}),
    "_http11": (set(), {"httptools"}),
    "_intake": ({*FLOOR_0, "_parser"}, set()),
    "_netlink": (set(), set()),
    "_observer": ({*FLOOR_0, "_options"}, set()),
    "_resend": ({*FLOOR_0, "_options"}, set()),
    "_types": ({"_observer"}, set()),
    "_visibility": ({*FLOOR_0, "_log"}, set()),
    "_session": (LOWER, set()),
    "_plan": ({*LOWER, "_session"}, set()),
    "_clock": (set(), {"anyio"}),
    "_libraries": (set(FLOOR_0), {"httpx"}),
    "_groups": (set(), {"anyio"}),
    "_silence": ({"_cadence", "_errors"}, {"anyio"}),
    "_unwind": (set(), {"anyio"}),
    "_wakeup": (set(), {"anyio", "trio"}),
    "_terminal_visibility": ({"_groups", "_visibility"}, {"anyio"}),
    "_delivery": ({*LOWER, "_wakeup"}, {"anyio"}),
    "_request": (LOWER, set()),
    "_asyncio": (set(), {"anyio"}),
    "_polled": (set(), {"anyio", "trio"}),
    "_wire": ({"_asyncio", "_http11", "_polled"}, {"anyio"}),
    "_outgoing": ({"_http11", "_wire"}, {"anyio"}),
    "_incoming": ({"_http11", "_log", "_outgoing", "_wire"}, {"anyio"}),
    "_connections": ({"_http11", "_incoming", "_log", "_outgoing", "_wire"}, {"anyio"}),
    "_transport": (
        {*LOWER, "_connections", "_http11", "_incoming", "_libraries", "_outgoing", "_wire"},
        set(),
    ),
    "_clients": ({*LOWER, "_transport"}, {"httpx", "httpx2"}),
    "_http": ({*LOWER, "_incoming", "_request", "_transport", "_unwind"}, {"anyio"}),
    "_addresses": (set(), set()),
    "_network": ({"_addresses", "_netlink"}, {"anyio"}),
    "_sleep": (set(), set()),
    "_steering": ({*LOWER, "_session", "_silence"}, {"anyio"}),
    "_receiver": (
        {*LOWER, "_clock", "_delivery", "_plan", "_session", "_silence", "_steering"},
        set(),
    ),
    "_surroundings": ({"_groups", "_log", "_network", "_sleep", "_steering"}, {"anyio"}),
    "_reader": ({*LOWER, *FLOOR_2, "_surroundings"}, {"anyio"}),
    "_stream": ({*LOWER, *FLOOR_2, "_reader", "_surroundings"}, {"anyio"}),
    "_open": ({*LOWER, *FLOOR_2, "_stream", "_surroundings"}, {"anyio"}),
    "_read": ({*LOWER, *FLOOR_2}, {"anyio"}),
    "_limits": (LOWER, {"anyio"}),
    "_handlers": (LOWER, {"typing_extensions"}),
    "_dispatch": ({*LOWER, "_clock", "_handlers", "_stream"}, {"anyio"}),
    "_handle": (
        {*LOWER, "_dispatch", "_handlers", "_http", "_limits", "_open", "_stream", "_wakeup"},
        {"anyio"},
    ),
    "_call": ({*LOWER, "_open"}, set()),
    "_client": (
        {
            *LOWER,
            *FLOOR_2,
            "_call",
            "_dispatch",
            "_handle",
            "_handlers",
            "_limits",
            "_open",
            "_stream",
            "_surroundings",
        },
        {"anyio", "typing_extensions"},
    ),
    "decoders": ({"_decode"}, set()),
    "network": ({"_network"}, set()),
    "testing": (
        {
            "_check",
            "_connections",
            "_errors",
            "_events",
            "_groups",
            "_libraries",
            "_log",
            "_redact",
            "_transport",
            "_wire",
            "testing",
        },
        {"anyio", "pytest", "trustme"},
    ),
    "__init__": (
        {
            *LOWER,
            "_client",
            "_handle",
            "_handlers",
            "_limits",
            "_open",
            "_read",
            "_stream",
            "_terminal_visibility",
            "_transport",
            "decoders",
            "network",
        },
        set(),
    ),
    "__main__": ({"cli"}, set()),
    "cli": ({"anysse", "cli"}, {"anyio", "uvloop"}),
}
TYPES_ONLY = {"httpx", "httpx2"}
"""What only a type checker may see, where a room is not pure: clients and requests are passed through."""
NOT_PURE = {"asyncio", "select", "selectors", "socket", "ssl", "subprocess", "threading", "time"}
BAD_NAMES = {"base", "common", "helpers", "manager", "utils"}

SOURCES = sorted(PACKAGE.rglob("*.py"))
each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def room_of(path: Path) -> str:
    """Give the room of a source file: its name, or its package's within anysse."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements_of(node: ast.AST, *, with_types: bool) -> Iterator[ast.AST]:
    """Give a node's descendants, wherever they are; what is for type checkers alone only if asked."""
    for child in ast.iter_child_nodes(node):
        if with_types or not is_for_type_checkers(child):
            yield child
            yield from statements_of(child, with_types=with_types)


def imports_of(path: Path, *, with_types: bool = True) -> Iterator[str]:
    """Give every module that a file imports, as an absolute dotted name."""
    package = ["anysse", *path.relative_to(PACKAGE).parent.parts]
    for node in statements_of(ast.parse(path.read_text()), with_types=with_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            # `from . import _events` names rooms, `from ._events import Headers` names what is in one.
            names_rooms = node.level and not node.module
            yield from (f"{module}.{alias.name}" for alias in node.names) if names_rooms else [module]


def neighbours_of(path: Path) -> set[str]:
    """Give the rooms that a file imports; the public face is the room `anysse`."""
    dotted = (name.split(".") for name in imports_of(path))
    return {parts[1] if len(parts) > 1 else "anysse" for parts in dotted if parts[0] == "anysse"}


def outsiders_of(path: Path, *, with_types: bool = True) -> set[str]:
    """Give the top-level modules that a file imports from elsewhere."""
    return {name.partition(".")[0] for name in imports_of(path, with_types=with_types)} - {"anysse"}


@each_source
def test_every_module_is_in_the_table(path: Path) -> None:
    assert room_of(path) in ROOMS


@each_source
def test_imports_go_down(path: Path) -> None:
    allowed, _ = ROOMS[room_of(path)]
    assert neighbours_of(path) <= allowed


@each_source
def test_third_parties_are_known_where_the_table_says(path: Path) -> None:
    _, allowed = ROOMS[room_of(path)]
    assert outsiders_of(path, with_types=False) - sys.stdlib_module_names <= allowed
    seen_by_types = allowed if room_of(path) in PURE else allowed | TYPES_ONLY
    assert outsiders_of(path) - sys.stdlib_module_names <= seen_by_types


@each_source
def test_pure_rooms_know_no_clock_and_no_io(path: Path) -> None:
    if room_of(path) in PURE:
        assert not outsiders_of(path) & NOT_PURE


@each_source
def test_the_engine_knows_no_library_of_http_not_even_its_types(path: Path) -> None:
    if room_of(path) in ENGINE:
        assert not outsiders_of(path) & TYPES_ONLY


@each_source
def test_no_module_has_a_name_that_says_nothing(path: Path) -> None:
    assert path.stem.strip("_") not in BAD_NAMES


@each_source
def test_the_first_line_of_a_module_is_its_rule(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def as_isort_does(name: str) -> tuple[bool, bool, str]:
    """Sort constants before classes, and those before functions."""
    return not name.isupper(), not name[0].isupper(), name


def test_the_face_is_explicit_and_sorted() -> None:
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    docstring, *imports, names = body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom) and node.level == 1 for node in imports)
    assert isinstance(names, ast.Assign)
    exported = [alias.name for node in imports for alias in node.names]  # type: ignore[attr-defined]
    assert list(anysse.__all__) == sorted(exported, key=as_isort_does)
    assert all(hasattr(anysse, name) for name in anysse.__all__)


def modules_loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_importing_anysse_loads_nothing_heavy() -> None:
    unwanted = {"anysse.cli", "anysse.__main__", "argparse", "asyncio", "httpx2", "trio", "uvloop"}
    unasked = unwanted - modules_loaded_by("import httpx, anyio")
    assert not modules_loaded_by("import anysse") & unasked
