"""What most tests serve, beyond what ``anysse.testing`` has."""

from types import ModuleType

import anyio

from tests.server import answer, in_turn, redirect, serve


async def test_scripts_of_a_path_are_used_up_in_turn(library: ModuleType) -> None:
    routes = {"/a": redirect("/b"), "/b": in_turn(answer(200), answer(201))}
    with anyio.fail_after(10):
        async with serve(routes=routes) as server, library.AsyncClient(follow_redirects=True) as client:
            found = [(await client.get(f"{server.url}/a")).status_code for _ in range(2)]
    assert found == [200, 201]


async def test_what_is_not_scripted_is_not_found_and_what_is_not_asked_for_no_failure(
    library: ModuleType,
) -> None:
    with anyio.fail_after(10):
        async with serve(answer(200), answer(201)) as server, library.AsyncClient() as client:
            assert (await client.get(server.url)).status_code == 200
        async with serve() as server, library.AsyncClient() as client:
            assert (await client.get(server.url)).status_code == 404
