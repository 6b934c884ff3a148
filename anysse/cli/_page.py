"""The page at ``/`` of the demo server: a browser's own EventSource on the feed, and the LLM. Only text."""

from typing import Final

PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>anysse demo</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
  pre { background: #8881; padding: .7rem; height: 16rem; overflow: auto; margin: .5rem 0; }
  #answer { height: auto; min-height: 3rem; white-space: pre-wrap; }
  input { font: inherit; width: 24rem; max-width: 100%; }
  :root { color-scheme: light dark; }
</style>
<h1>anysse demo</h1>
<p>A market feed, read by this browser's own EventSource. The server drops it now and then; watch it resume.
<p id="state">connecting …
<pre id="feed"></pre>
<p>An LLM, of sorts:
<form>
<input name="prompt" value="What are server-sent events?" aria-label="prompt"> <button>Ask</button>
</form>
<pre id="answer"></pre>
<script>
const $ = id => document.getElementById(id);
let seen = 0, opened = 0, last = 0, lost = 0;
function tell(state) {
  $("state").textContent = `${state} – ${seen} events over ${opened} connections, ${lost} lost or doubled`;
}
function show(event) {
  const number = Number(event.lastEventId);
  if (last && number !== last + 1) lost++;
  last = number; seen++;
  $("feed").append(`${event.lastEventId}  ${event.type}  ${event.data.replace(/\\s+/g, " ")}\\n`);
  while ($("feed").childNodes.length > 200) $("feed").firstChild.remove();
  $("feed").scrollTop = $("feed").scrollHeight;
  tell("connected");
}
function read() {
  const source = new EventSource(`/feed?after=${last}`);
  for (const type of ["trade", "quote", "status"]) source.addEventListener(type, show);
  source.onopen = () => { opened++; tell("connected"); };
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) return tell("reconnecting …");
    tell("refused with 503, where EventSource gives up, and anysse does not: this page begins anew …");
    setTimeout(read, 1500);
  };
}
read();
document.forms[0].onsubmit = async event => {
  event.preventDefault();
  const answer = $("answer"), prompt = event.target.prompt.value;
  answer.textContent = "";
  try {
    const response = await fetch("/v1/chat", { method: "POST", body: JSON.stringify({ prompt }) });
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part; !(part = await reader.read()).done; ) {
      const blocks = (text + part.value).split("\\n\\n");
      text = blocks.pop();
      for (const block of blocks) {
        const data = block.replace(/^data: /, "");
        if (data !== "[DONE]") answer.append(JSON.parse(data).choices[0].delta.content ?? "");
      }
    }
  } catch (error) { answer.append(` [${error}]`); }
};
</script>
"""
