// What `asgi.py` answers, as a plain server of Node's does it, and what only Node can: `asgi.py` says what there is.
// It prints its ports as a line of JSON once connections are taken, and ends at SIGTERM. No dependencies.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";

const SHORT = 50; // milliseconds for which an idle connection is kept where that is short
const LAST = 20;
const EACH = 10; // numbers of the feed over one connection

const rooms = new Map();
const listenersOf = (query) => {
  const name = query.get("room");
  if (!rooms.has(name)) rooms.set(name, new Set());
  return rooms.get(name);
};

// Resolves once the bytes are on their way.
const written = (response, data) => new Promise((resolve) => response.write(data, resolve));

async function bodyOf(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}

function answer(response, data, status = 200, headers = {}) {
  response.writeHead(status, { "Content-Type": "text/plain", "Content-Length": data.length, ...headers });
  response.end(data);
}

const routes = {
  "/length": (request, response) => answer(response, "hello"),
  "/empty": (request, response) => answer(response, ""),
  "/empty-chunked": (request, response) => {
    response.writeHead(200, { "Content-Type": "text/plain", "Transfer-Encoding": "chunked" }).end();
  },
  "/no-content": (request, response) => response.writeHead(204).end(),
  // It may say how long the body is that it does not send.
  "/not-modified": (request, response) => response.writeHead(304, { ETag: '"a"', "Content-Length": 5 }).end(),
  "/close": (request, response) => answer(response, "closing", 200, { Connection: "close" }),

  "/chunked": async (request, response) => {
    response.writeHead(200, { "Content-Type": "text/plain" });
    for (const piece of ["one ", "two ", "three"]) await written(response, piece);
    response.end();
  },

  // Neither a length nor chunks: the connection's end is the body's.
  "/until-close": async (request, response) => {
    response.removeHeader("Transfer-Encoding");
    response.writeHead(200, { "Content-Type": "text/plain", Connection: "close" });
    for (const piece of ["one ", "two ", "three"]) await written(response, piece);
    response.end();
  },

  "/interim": async (request, response) => {
    response.writeProcessing();
    await new Promise((resolve) => response.writeEarlyHints({ link: "</style.css>; rel=preload" }, resolve));
    answer(response, "hello");
  },

  "/trailers": (request, response) => {
    response.writeHead(200, { "Content-Type": "text/plain", Trailer: "X-Sum" });
    response.write("hello");
    response.addTrailers({ "X-Sum": "5d41" });
    response.end();
  },

  // Answers before the body is there, and takes it all the same.
  "/early": (request, response) => {
    request.resume();
    answer(response, "too large", 413);
  },

  // A body cut short: by its length, by its chunks.
  "/cut-length": async (request, response) => {
    response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": 10 });
    await written(response, "hello");
    response.destroy();
  },
  "/cut-chunked": async (request, response) => {
    response.writeHead(200, { "Content-Type": "text/plain" });
    await written(response, "hello");
    response.destroy();
  },

  "/echo": async (request, response) => {
    const body = await bodyOf(request);
    answer(response, body, 200, {
      "X-How": request.headers["transfer-encoding"] ?? request.headers["content-length"] ?? "none",
      "X-Type": request.headers["content-type"] ?? "none",
      "X-Method": request.method,
    });
  },

  "/listen": async (request, response, query) => {
    const room = listenersOf(query);
    room.add(response);
    response.on("close", () => room.delete(response));
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(": welcome\n\n");
  },
  "/say": async (request, response, query) => {
    const body = await bodyOf(request);
    for (const listener of listenersOf(query)) body.length ? listener.write(body) : listener.end();
    answer(response, "");
  },
  "/listeners": (request, response, query) => answer(response, String(listenersOf(query).size)),

  "/feed": async (request, response) => {
    const received = Number(request.headers["last-event-id"] ?? "0");
    if (received >= LAST) {
      response.writeHead(204).end();
      return;
    }
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    await written(response, "retry: 10\n\n");
    for (let number = received + 1; number <= received + EACH; number++) {
      await written(response, `id: ${number}\ndata: ${number}\n\n`);
    }
    response.end();
  },

  "/chat": async (request, response) => {
    const { prompt } = JSON.parse((await bodyOf(request)).toString("utf8"));
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    for (const word of prompt.split(" ")) await written(response, `data:  ${word}\n\n`);
    await written(response, "data: [DONE]\n\n");
    response.end();
  },
};

function exchange(request, response) {
  const { pathname, searchParams } = new URL(request.url, "http://node");
  response.setHeader("X-Port", request.socket.remotePort);
  const route = routes[pathname];
  if (route) route(request, response, searchParams);
  else answer(response, "nothing", 404);
}

const [cert, key] = process.argv.slice(2).map((file) => readFileSync(file));
const servers = {
  http: createServer({ keepAliveTimeout: 60_000 }, exchange),
  https: createSecureServer({ cert, key, keepAliveTimeout: 60_000 }, exchange),
  // Some Nodes add a second to a keepAliveTimeout.
  short: createServer((request, response) => {
    response.on("finish", () => setTimeout(() => request.socket.end(), SHORT));
    exchange(request, response);
  }),
};
const ports = {};
for (const [kind, server] of Object.entries(servers)) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  ports[kind] = server.address().port;
}
process.stdout.write(`${JSON.stringify({ node: ports })}\n`);
