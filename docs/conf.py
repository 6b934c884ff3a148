"""Sphinx builds these pages with `nox -s docs`; every warning is an error."""

from importlib.metadata import version as version_of

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
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Names of other projects, and of type parameters, have no page here to point at.
nitpick_ignore_regex = [
    (r"py:class", r"anysse\._errors\.Facts"),  # the keyword arguments of AnysseError
    (r"py:.*", r"(anyio|httpx|httpx2|collections|typing|types|enum|json|ssl|asyncio)(\..*)?"),
    (r"py:.*", r"[A-Z][A-Za-z]?|[A-Z][a-z]*_co"),
    (r"py:.*", r"(str|int|float|bool|bytes|object|None|tuple|list|dict|type|property|namedtuple)"),
    (r"py:.*", r"([A-Z][a-z]*Error|Exception|Any|Literal|Callable|Iterable|Iterator|Mapping|Sequence|Self)"),
    (r"py:.*", r"(Awaitable|AsyncIterable|AsyncIterator|AsyncGenerator|NamedTuple|StrEnum|Unpack)"),
]
