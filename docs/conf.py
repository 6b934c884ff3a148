"""Sphinx builds these pages with `nox -s docs`; every warning is an error."""

from importlib.metadata import version as version_of

from sphinx.application import Sphinx

project = "anysse"
author = "The anysse authors"
copyright = "The anysse authors"
version = release = version_of("anysse")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "anysse"

# Where a name is imported from is where a reader finds it; what it is, its signature says.
add_module_names = False
maximum_signature_line_length = 90
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Names of other projects, of type parameters and of aliases have no page here to point at.
nitpick_ignore_regex = [
    (
        r"py:class",
        r"anysse\._(decode\.(T|Skip)|errors\.Facts|types\..*|read\..*(Response|Source)|handlers\.M|client\.U)",
    ),
    (
        r"py:class",
        r"(.*\.)?([A-Za-z]+Types|ClientAuth|Prepare|AcceptResponse|Done|Kind|Resend|Body|(As|S)yncSource)",
    ),
    (r"py:class", r"(Request|Handled)Options"),
    (
        r"py:.*",
        r"(anyio|httpx|httpx2|collections|contextlib|typing|types|enum|json|ssl|asyncio|threading)(\..*)?",
    ),
    (r"py:.*", r"(TaskGroup|AbstractAsyncContextManager|[A-Z]|T_co)"),
]


# Napoleon takes what stands before the first colon of an attribute's docstring, or of what is returned, for
# its type: it sees none.
COLON = "\N{WORD JOINER}colon\N{WORD JOINER}"


def hide_colons(_app: Sphinx, what: str, _name: str, _of: object, _options: object, lines: list[str]) -> None:
    """Before napoleon."""
    if what in {"attribute", "data", "property"}:
        lines[:1] = [line.replace(":", COLON) for line in lines[:1]]
    for number, line in enumerate(lines[:-1], start=1):
        if line.strip() == "Returns:":
            lines[number] = lines[number].replace(":", COLON)


def show_colons(
    _app: Sphinx, _what: str, _name: str, _of: object, _options: object, lines: list[str]
) -> None:
    """After napoleon."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def setup(app: Sphinx) -> None:
    """Let Sphinx know."""
    app.connect("autodoc-process-docstring", hide_colons, priority=400)
    app.connect("autodoc-process-docstring", show_colons, priority=600)
