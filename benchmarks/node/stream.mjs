// What `benchmarks/stream.py` has the peers on Node do: read a few events, then the stream, again and again, and
// tell the first and the best.

const { peer, url, events, few, reads_for: readsFor } = JSON.parse(process.argv[2])

// An EventSource reconnects for ever: it is closed at the last event.
function byEventSource(EventSource) {
  return (url, events) => new Promise((resolve, reject) => {
    let found = 0
    const source = new EventSource(url)
    source.onmessage = () => {
      found += 1
      if (found === events) {
        source.close()
        resolve(found)
      }
    }
    source.onerror = (event) => {
      source.close()
      reject(new Error(`${peer} failed after ${found} events: ${event.message ?? 'no reason given'}`))
    }
  })
}

async function byFetchEventSource() {
  // It asks for a page, to stop reading while nobody looks at it.
  globalThis.window = globalThis
  globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} }
  // Its modules for `import` lack what Node wants of a module's name.
  const { createRequire } = await import('node:module')
  const { fetchEventSource } = createRequire(import.meta.url)('@microsoft/fetch-event-source')
  return async (url) => {
    let found = 0
    await fetchEventSource(url, {
      onmessage() { found += 1 },
      onerror(error) { throw error },
    })
    return found
  }
}

const READERS = {
  eventsource: async () => byEventSource((await import('eventsource')).EventSource),
  'fetch-event-source': byFetchEventSource,
  undici: async () => byEventSource((await import('undici')).EventSource),
}

const read = await READERS[peer]()
let cpu = Infinity
let wall = Infinity
let first = 0
await read(`${url}few`, few)
let spent = 0
while (spent < readsFor) {
  const usedBefore = process.cpuUsage()
  const before = performance.now()
  const found = await read(url, events)
  wall = Math.min(wall, (performance.now() - before) / 1000)
  const { user, system } = process.cpuUsage(usedBefore)
  cpu = Math.min(cpu, (user + system) / 1e6)
  first ||= (user + system) / 1e6
  spent += (user + system) / 1e6
  if (found !== events) throw new Error(`${found} events instead of ${events}`)
}
console.log(JSON.stringify({ cpu, wall, first, events }))
process.exit(0)
