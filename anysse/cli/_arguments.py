"""What the command line says, as checked values; nothing is opened but the file that ``@file`` names."""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

Backend: TypeAlias = Literal["asyncio", "trio"]
Resend: TypeAlias = Literal["safe", "undelivered", "always"]

DEMO_PORT: Final = 8765

_EPILOG: Final = """\
what is printed:
  The lines of each event's data. A header such as [trade 17], its type and ID, goes before an event
  whose type is not "message"; on a terminal also before one with an ID. Control characters are shown
  as \\x1b and the like.
  With --json, one object a line, in UTF-8: {"event": "message", "data": "...", "id": "17", "retry": null}

exit codes:
  0    the stream completed, --max-events is reached, or whoever read the output had enough (| head)
  1    stream error: it could not be opened, or not go on, or --timeout passed; or the output could not
       be written
  2    usage error: an option is wrong, and nothing was sent
  130  interrupted (Ctrl-C); 143 if terminated (SIGTERM)

examples:
  anysse https://stream.wikimedia.org/v2/stream/recentchange | jq .title
  anysse https://llm.example/v1/chat --data-json @prompt.json --done '[DONE]' -H "Authorization: Bearer $KEY"
  anysse demo            a server that drops connections, and a client that loses nothing
  anysse demo --serve    the server alone, for curl and a browser
"""

_DEMO_EPILOG: Final = """\
exit codes:
  0    all is as it should be
  1    something is not, and is told
  2    usage error
  130  interrupted (Ctrl-C); 143 if terminated (SIGTERM)
"""


class UsageError(Exception):
    """The user asked for what cannot be; the text names the option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """``anysse URL``."""

    url: str
    method: str
    headers: tuple[tuple[bytes, bytes], ...]
    content: bytes | None
    last_event_id: str
    done: str | None
    timeout: float | None
    connect_timeout: float | None
    response_timeout: float | None
    idle_timeout: float | Literal["auto"] | None
    reconnect: bool
    network: bool
    resend: Resend
    max_events: int | None
    json: bool
    comments: bool
    verbosity: int
    backend: Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """``anysse demo``."""

    serve: bool
    port: int | None
    seed: int
    drop: bool
    backend: Backend


def parse(arguments: Sequence[str]) -> ReadOptions | DemoOptions:
    """Read the arguments, without the program's name.

    Raises:
        UsageError: A value is wrong.
        SystemExit: As argparse has it: after ``--help`` and ``--version``, and where it found a mistake.
    """
    if list(arguments[:1]) == ["demo"]:
        return _demo_options(_demo_parser().parse_args(arguments[1:]))
    return _read_options(_read_parser().parse_args(arguments))


def _read_options(given: argparse.Namespace) -> ReadOptions:
    url = _url(given.url)
    headers = tuple(_header(text) for text in given.header)
    content = None
    if given.data is not None:
        content = _content("-d/--data", given.data)
        headers = _with_default(headers, b"Content-Type", b"application/x-www-form-urlencoded")
    elif given.data_json is not None:
        content = _json_content(given.data_json)
        headers = _with_default(headers, b"Content-Type", b"application/json")
    return ReadOptions(
        url=url,
        method=given.request or ("GET" if content is None else "POST"),
        headers=headers,
        content=content,
        last_event_id=given.last_event_id,
        done=given.done,
        timeout=given.timeout,
        connect_timeout=given.connect_timeout,
        response_timeout=given.response_timeout,
        idle_timeout=given.idle_timeout,
        reconnect=not given.no_reconnect,
        network=given.network,
        resend=given.resend,
        max_events=given.max_events,
        json=given.json,
        comments=given.comments,
        verbosity=given.verbose,
        backend=_backend(given.backend),
    )


def _demo_options(given: argparse.Namespace) -> DemoOptions:
    return DemoOptions(
        serve=given.serve,
        port=given.port,
        seed=given.seed,
        drop=not given.no_drop,
        backend=_backend(given.backend),
    )


def _read_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anysse",
        usage="anysse URL [options]\n       anysse demo [options]",
        description="Read a stream of Server-Sent Events, over as many connections as it takes; print it.",
        epilog=_EPILOG,
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", help="where the stream is; or 'demo', see 'anysse demo --help'")
    _add_request(parser.add_argument_group("the request"))
    _add_stream(parser.add_argument_group("the stream"))
    _add_output(parser.add_argument_group("the output"))
    _add_backend(parser)
    parser.add_argument("--version", action="version", version=f"anysse {version('anysse')}")
    return parser


def _add_request(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-X", "--request", metavar="METHOD", help="default: GET, or POST with data")
    group.add_argument(
        "-H", "--header", metavar="HEADER", action="append", default=[], help="'Name: value'; may be repeated"
    )
    data = group.add_mutually_exclusive_group()
    data.add_argument(
        "-d", "--data", metavar="BODY", help="a body; @FILE reads it from a file, @- from standard input"
    )
    data.add_argument("--data-json", metavar="JSON", help="the same, checked to be JSON, and sent as such")
    group.add_argument("--last-event-id", metavar="ID", default="", help="where to resume from")


def _add_stream(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--done", metavar="TEXT", help="the data that ends the stream, such as '[DONE]'")
    group.add_argument("--max-events", metavar="N", type=_count, help="end after so many events")
    group.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, help="for all of it; reaching it is an error"
    )
    group.add_argument(
        "--connect-timeout", metavar="SECONDS", type=_seconds, default=10.0, help="default: 10"
    )
    group.add_argument(
        "--response-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=60.0,
        help="until the server answers, default: 60",
    )
    group.add_argument(
        "--idle-timeout",
        metavar="SECONDS",
        type=_seconds_or_auto,
        help="of silence, after which a connection is given up, or 'auto', which learns how many; "
        "default: 300, none for replies",
    )
    group.add_argument(
        "--no-reconnect", action="store_true", help="take the first end, or failure, for the last"
    )
    group.add_argument(
        "--network", action="store_true", help="be back as soon as this machine's network is, or it wakes up"
    )
    group.add_argument(
        "--resend",
        choices=get_args(Resend),
        default="safe",
        help="when to send again what is no GET: if that is safe, while no event came, always",
    )


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--json", action="store_true", help="print one JSON object a line")
    group.add_argument(
        "--comments", action="store_true", help="print comments too, at the moment they are read"
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="tell what goes on, on standard error; -vv tells more",
    )


def _demo_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anysse demo",
        description="Start a server that speaks as an LLM and as a market feed, and drops connections\n"
        "now and then; read both with anysse, and tell what came of it.",
        epilog=_DEMO_EPILOG,
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--serve", action="store_true", help="only serve, for curl and a browser, until Ctrl-C"
    )
    parser.add_argument(
        "--port",
        type=_port,
        help=f"default: {DEMO_PORT} for --serve, or a free one where that is taken; else a free one",
    )
    parser.add_argument("--seed", type=int, default=1, help="other prices, other drops; default: 1")
    parser.add_argument("--no-drop", action="store_true", help="drop no connection")
    _add_backend(parser)
    return parser


def _add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=get_args(Backend), default="asyncio", help="default: asyncio")


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=34, width=110)


def _backend(name: Backend) -> Backend:
    if name == "trio" and find_spec("trio") is None:
        raise UsageError("--backend: trio is not installed: pip install 'anysse[trio]'")
    return name


def _url(text: str) -> str:
    if text == "demo":
        raise UsageError("URL: for the demo, 'demo' has to be the first argument: anysse demo [options]")
    if "://" not in text:
        raise UsageError(f"URL: {text!r} does not begin with http:// or https://")
    return text


def _header(text: str) -> tuple[bytes, bytes]:
    name, colon, value = text.partition(":")
    if not colon:
        # Not shown: it may be a secret that lost its name.
        raise UsageError("-H/--header: has no colon; write it as -H 'Name: value'")
    return os.fsencode(name.strip()), os.fsencode(value.strip())


def _with_default(
    headers: tuple[tuple[bytes, bytes], ...], name: bytes, value: bytes
) -> tuple[tuple[bytes, bytes], ...]:
    is_given = any(given.lower() == name.lower() for given, _ in headers)
    return headers if is_given else (*headers, (name, value))


def _content(option: str, text: str) -> bytes:
    if not text.startswith("@"):
        return os.fsencode(text)
    try:
        return sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        name = "standard input" if text == "@-" else repr(text[1:])
        raise UsageError(f"{option}: cannot read {name}: {getattr(error, 'strerror', error)}") from error


def _json_content(text: str) -> bytes:
    content = _content("--data-json", text)
    try:
        json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--data-json: is no JSON: {error}") from error
    return content


def _seconds(text: str, or_else: str = "") -> float:
    with suppress(ValueError):
        seconds = float(text)
        if math.isfinite(seconds) and seconds > 0:
            return seconds
    raise argparse.ArgumentTypeError(f"must be seconds above zero{or_else}, not {text!r}")


def _seconds_or_auto(text: str) -> float | Literal["auto"]:
    return "auto" if text == "auto" else _seconds(text, ", or auto")


def _count(text: str) -> int:
    with suppress(ValueError):
        count = int(text)
        if count >= 1:
            return count
    raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")


def _port(text: str) -> int:
    with suppress(ValueError):
        port = int(text)
        if 0 <= port < 65536:
            return port
    raise argparse.ArgumentTypeError(f"must be from 0 to 65535, not {text!r}")
