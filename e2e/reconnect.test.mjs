// The page's reconnect.js, in time and with sockets that this file makes.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import test from 'node:test'

const source = await readFile(new URL('../examples/quickstart/page/reconnect.js', import.meta.url), 'utf8')
const { Reconnecting, after } = await import('data:text/javascript,' + encodeURIComponent(source))

// settle lets promises go on: nothing else is waited for in real time.
const realImmediate = setImmediate
const settle = () => new Promise(done => realImmediate(done))

class Socket {
  readyState = 0
  open() { this.readyState = 1; this.onopen?.() }
  say(data) { this.onmessage?.({ data }) }
  end(code, reason = '') { this.readyState = 3; this.onclose?.({ code, reason }) }
  close(code) { this.closed = code; this.readyState = 2 }
}

// world is a page: its clock, its network, and what the line has told.
function world(t, dial) {
  const w = { now: 1_000_000, timers: new Map(), told: [], sockets: [], fresh: [], listeners: new Set(), random: 1 }
  let ids = 0
  const real = { setTimeout, clearTimeout, now: Date.now, random: Math.random }
  globalThis.setTimeout = (f, ms) => { w.timers.set(++ids, { f, at: w.now + ms }); return ids }
  globalThis.clearTimeout = id => w.timers.delete(id)
  globalThis.addEventListener = (kind, f) => w.listeners.add(f)
  globalThis.removeEventListener = (kind, f) => w.listeners.delete(f)
  Date.now = () => w.now
  Math.random = () => w.random
  t.after(() => {
    globalThis.setTimeout = real.setTimeout
    globalThis.clearTimeout = real.clearTimeout
    delete globalThis.addEventListener
    delete globalThis.removeEventListener
    Date.now = real.now
    Math.random = real.random
  })
  w.pass = async ms => {
    w.now += ms
    for (const [id, { f, at }] of [...w.timers]) if (at <= w.now && w.timers.delete(id)) f()
    await settle()
  }
  w.line = new Reconnecting({
    dial: dial ?? (async fresh => { w.fresh.push(fresh); w.sockets.push(new Socket()); return w.sockets.at(-1) }),
    open: () => w.told.push('open'),
    message: e => w.told.push('message ' + e.data),
    wait: ({ code, reason, pause }) => w.told.push(`wait ${code} ${reason}`.trim() + ` ${pause}`),
    stop: ({ code, reason }) => w.told.push(`stop ${code} ${reason}`.trim()),
  })
  return w
}

test('what each close code asks for', () => {
  const asks = {
    later: [1001, 1005, 1006, 1011, 1012, 1013, 3008],
    token: [3000],
    stop: [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3003, 4000, 4999, 2999, 0],
  }
  for (const [answer, codes] of Object.entries(asks)) for (const code of codes) assert.equal(after(code), answer, code)
})

test('pauses double up to half a minute, with jitter', async t => {
  const w = world(t)
  await settle()
  for (const pause of [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]) {
    w.sockets.at(-1).end(1006)
    assert.equal(w.told.pop(), `wait 1006 ${pause}`)
    await w.pass(pause - 1)
    assert.equal(w.line.socket.readyState, 3, 'not before its time')
    await w.pass(1)
  }
  w.random = 0
  w.sockets.at(-1).end(1012, 'restart')
  assert.equal(w.told.pop(), 'wait 1012 restart 15000')
})

test('a session that stayed makes the next pause short again, one that did not does not', async t => {
  const w = world(t)
  await settle()
  for (const [length, pause] of [[100, 500], [100, 1000], [5000, 500], [100, 1000]]) {
    w.sockets.at(-1).open()
    await w.pass(length)
    w.sockets.at(-1).end(1012, 'restart')
    assert.equal(w.told.pop(), `wait 1012 restart ${pause}`)
    await w.pass(pause)
  }
})

test('stays away from what would only end the same way', async t => {
  for (const code of [1008, 3003, 1000, 4001]) {
    const w = world(t)
    await settle()
    w.sockets[0].open()
    w.sockets[0].end(code, 'x')
    await w.pass(1e9)
    assert.deepEqual(w.told, [`stop ${code} x`])
    assert.equal(w.sockets.length, 1)
    w.line.connect()
    await settle()
    assert.equal(w.sockets.length, 2, 'the visitor may try again')
    w.line.close()
  }
})

test('3000 asks for another token, once', async t => {
  const w = world(t)
  await settle()
  w.sockets[0].open()
  w.sockets[0].end(3000, 'token-expired')
  await w.pass(500)
  w.sockets[1].open()
  await w.pass(60)
  assert.deepEqual(w.fresh, [false, true])
  assert.deepEqual(w.told, ['wait 3000 token-expired 500', 'open'])
  w.sockets[1].end(3000, 'token-invalid')
  await w.pass(1e9)
  assert.equal(w.told.at(-1), 'stop 3000 token-invalid')
  assert.equal(w.sockets.length, 2)
})

test('a fresh token that was good until it expired is followed by another', async t => {
  const w = world(t)
  await settle()
  for (const n of [1, 2, 3]) {
    w.sockets.at(-1).open()
    await w.pass(3600_000)
    w.sockets.at(-1).end(3000, 'token-expired')
    await w.pass(500)
    assert.equal(w.sockets.length, n + 1)
  }
})

test('1006 of a socket that never opened may have been the token, of one that did it was the network', async t => {
  const w = world(t)
  await settle()
  w.sockets[0].end(1006)
  await w.pass(500)
  w.sockets[1].open()
  await w.pass(10_000)
  w.sockets[1].end(1006)
  await w.pass(500)
  assert.deepEqual(w.fresh, [false, true, false])
})

test('a refusal that opens first is never told as open', async t => {
  const w = world(t)
  await settle()
  w.sockets[0].open()
  await w.pass(1)
  w.sockets[0].end(3003, 'scope')
  await w.pass(100)
  assert.deepEqual(w.told, ['stop 3003 scope'])
})

test('open is told before the first message', async t => {
  const w = world(t)
  await settle()
  w.sockets[0].open()
  w.sockets[0].say('hello')
  await w.pass(100)
  assert.deepEqual(w.told, ['open', 'message hello'])
})

test('a dial that fails is tried again, unless it says stop', async t => {
  let error = new Error('offline')
  const w = world(t, async () => { throw error })
  await settle()
  error = Object.assign(new Error('log in'), { stop: true })
  await w.pass(500)
  await w.pass(1e9)
  assert.deepEqual(w.told, ['wait 1006 offline 500', 'stop 3000 log in'])
})

test('the network is back: no more waiting', async t => {
  const w = world(t)
  await settle()
  w.sockets[0].end(1006)
  for (const online of w.listeners) online()
  await settle()
  assert.equal(w.sockets.length, 2)
  await w.pass(1e9)
  assert.equal(w.sockets.length, 2, 'and no second attempt by the timer')
  for (const online of w.listeners) online()
  await settle()
  assert.equal(w.sockets.length, 2, 'a socket that is there is left alone')
})

test('close is for good', async t => {
  const w = world(t)
  await settle()
  w.sockets[0].open()
  w.line.close(1000)
  w.sockets[0].end(1006)
  await w.pass(1e9)
  assert.equal(w.sockets[0].closed, 1000)
  assert.deepEqual(w.told, [])
  assert.equal(w.listeners.size, 0)

  const slow = world(t)
  slow.line.close() // while it dials
  await settle()
  assert.equal(slow.sockets[0].closed, undefined, 'closed without a code: it is not open')
  assert.equal(slow.sockets[0].readyState, 2)
})
