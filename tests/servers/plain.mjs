// Event streams as a plain server of Node's gives them: `starlette_app.py` says what there is.
// It prints its port once connections are taken, and ends at SIGTERM. No dependencies.

import { createServer } from "node:http";

const LAST = 30;
const EACH = 10; // numbers over one connection
const CUT_AT = 20; // after it a connection is not ended but cut, in the middle of an event

const prompts = new Map();
let readers = 0;

// Resolves once the bytes are on their way: what is cut after that is what comes after them.
const written = (response, text) => new Promise((resolve) => response.write(text, resolve));

function begin(response, headers = {}) {
  response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8", ...headers });
}

async function feed(request, response) {
  const received = Number(request.headers["last-event-id"] ?? "0");
  if (received >= LAST) {
    response.writeHead(204).end();
    return;
  }
  begin(response);
  await written(response, "retry: 100\n: welcome\n\n");
  for (let number = received + 1; number <= received + EACH; number++) {
    await written(response, `event: number\ndata: ${number}\ndata: ünï\nid: ${number}\n\n`);
  }
  if (received + EACH === CUT_AT) {
    await written(response, "id: 1000\ndata: 10");
    response.destroy();
  } else {
    response.end();
  }
}

async function chat(request, response) {
  if (request.headers["content-type"] !== "application/json") {
    response.writeHead(415, { "Content-Type": "application/json" }).end('{"error":"JSON, please"}');
    return;
  }
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const { prompt, cut } = JSON.parse(Buffer.concat(pieces).toString("utf8"));
  prompts.set(prompt, (prompts.get(prompt) ?? 0) + 1);
  begin(response, { "X-Times": String(prompts.get(prompt)) });
  for (const word of prompt.split(" ")) await written(response, `data:  ${word}\n\n`);
  if (cut) response.destroy();
  else response.end("data: [DONE]\n\n");
}

async function held(request, response) {
  begin(response);
  readers++;
  const pings = setInterval(() => response.write(":\n\n"), 50);
  response.on("close", () => {
    readers--;
    clearInterval(pings);
  });
  await written(response, "data: one\n\n");
}

function countReaders(request, response) {
  response.writeHead(200, { "Content-Type": "application/json" }).end(String(readers));
}

const routes = { "GET /feed": feed, "POST /chat": chat, "GET /held": held, "GET /readers": countReaders };

const server = createServer((request, response) => {
  const route = routes[`${request.method} ${request.url}`];
  if (route) route(request, response);
  else response.writeHead(404).end();
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
