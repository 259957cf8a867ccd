// The page: a chat and an event feed over two secured sockets, and buttons that ask the server to attack itself.
// Whatever came from somebody else reaches the document as text only.

import { Reconnecting } from './reconnect.js'

const byId = id => document.getElementById(id)

function el(tag, cls, ...content) {
  const e = document.createElement(tag)
  if (cls) e.className = cls
  e.append(...content)
  return e
}

// --- The token ---------------------------------------------------------------------------------------------------------

let current

// session promises the name and token of this visit. A caller whose token was refused passes the promise it had: whoever
// of the two sockets notices first fetches the new one for both.
function session(stale) {
  if (!current || current === stale || current.until < Date.now()) {
    const fresh = current = getJSON('/session').then(s => {
      fresh.until = Date.now() + (s.expires_in - 20) * 1000
      byId('me').textContent = s.name
      byId('transport').textContent = s.transport.split(', ').slice(0, 2).join(', ')
      byId('transport').title = s.transport
      return s
    })
    fresh.catch(() => { if (current === fresh) current = undefined })
  }
  return current
}

async function getJSON(url, options) {
  const answer = await fetch(url, options).catch(() => { throw new Error('server not reachable') })
  const body = answer.status === 204 ? {} : await answer.json()
  if (!answer.ok) throw new Error(body.error || `${url}: ${answer.status}`)
  return body
}

// --- Sockets -----------------------------------------------------------------------------------------------------------

const sentences = {
  1000: 'Closed normally.',
  1001: 'The server is going away, or the session reached its longest life.',
  1002: 'Something in between broke the protocol.',
  1003: 'This kind of message is not accepted here.',
  1005: 'Closed without a code.',
  1006: 'No close frame: the network broke, or the handshake was refused. Browsers do not say which.',
  1007: 'The text was not valid UTF-8.',
  1008: 'A rule was broken: too fast, or a message the chat does not take.',
  1009: 'The message was too big.',
  1011: 'The server had a problem of its own.',
  1012: 'The server restarts.',
  1013: 'The server is full; try again later.',
  3000: 'The token is no longer good.',
  3003: 'This identity may not do that.',
  3008: 'Nothing was heard for too long.',
}
const explain = code => sentences[code] || 'Closed by the application.'

// A line is a socket that comes back (reconnect.js) and what the page shows of it.
class Line {
  constructor(path, stateId, closedId, onMessage) {
    this.state = byId(stateId)
    this.notice = byId(closedId)
    this.socket = new Reconnecting({
      dial: async fresh => {
        this.show('wait', 'connecting')
        const { token } = await (this.pass = session(fresh ? this.pass : undefined))
        return new WebSocket(`wss://${location.host}${path}`, ['bearer', token, 'chat'])
      },
      open: () => {
        this.notice.hidden = true
        this.show('open', 'connected')
        this.onOpen?.()
      },
      message: e => onMessage(JSON.parse(e.data)),
      wait: ({ code, reason, pause }) => {
        this.show('wait', `${code}${reason ? ' ' + reason : ''}, again in ${Math.max(1, Math.round(pause / 1000))} s`)
        this.state.title = explain(code)
      },
      stop: ({ code, reason }) => this.stopped(code, reason),
    })
  }

  get open() { return this.socket.socket?.readyState === WebSocket.OPEN }

  send(value) { this.socket.socket.send(JSON.stringify(value)) }

  // stopped leaves it to the visitor: it would only end the same way again.
  stopped(code, reason) {
    this.show('stop', 'closed')
    const again = el('button', '', 'Connect again')
    again.type = 'button'
    again.onclick = () => this.socket.connect(code === 3000 || code === 3003)
    this.notice.replaceChildren(el('span', '', el('b', '', `${code} ${reason}`.trim()), el('br'), explain(code)), again)
    this.notice.hidden = false
  }

  show(state, text) {
    this.state.dataset.state = state
    this.state.textContent = text
    this.state.title = ''
  }
}

// keepEnd appends, forgets the oldest beyond most, and stays at the end unless the reader has scrolled up.
function keepEnd(list, item, most) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60
  list.append(item)
  while (list.children.length > most) list.firstChild.remove()
  if (atEnd) list.scrollTop = list.scrollHeight
}

// --- Chat --------------------------------------------------------------------------------------------------------------

const log = byId('chat-log')
let lastFrom = ''

function hear({ kind, from, text, at }) {
  if (kind !== 'said') {
    lastFrom = ''
    return keepEnd(log, el('li', 'came', `${from} ${kind}`), 300)
  }
  const mine = from === byId('me').textContent
  const item = el('li', 'said', el('p', 'who', el('b', '', mine ? 'you' : from), ' ' + clock(at)), el('p', 'text', text))
  item.classList.toggle('mine', mine)
  item.classList.toggle('again', from === lastFrom)
  lastFrom = from
  keepEnd(log, item, 300)
}

const chat = new Line('/ws', 'chat-state', 'chat-closed', hear)
chat.onOpen = () => { log.replaceChildren(); lastFrom = '' } // the server tells the recent lines again

byId('chat-form').onsubmit = e => {
  e.preventDefault()
  const input = byId('chat-input')
  if (!chat.open || !input.value.trim()) return
  chat.send({ text: input.value })
  input.value = ''
}

function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })
}

// --- Security events ---------------------------------------------------------------------------------------------------

const normalEnds = new Set(['done', 'peer', 'lifetime', 'restart', 'draining'])

// label is the word and the colour of an event; never the colour alone.
function label(e) {
  switch (e.kind) {
    case 'handshake.refused': return [e.reason === 'banned' ? 'bad' : 'warn', 'refused']
    case 'session.opened': return ['ok', 'opened']
    case 'session.closed': return normalEnds.has(e.reason) ? ['', 'closed'] : ['warn', 'ended']
    case 'session.renewed': case 'unbanned': return ['ok', e.kind.replace('session.', '')]
    case 'banned': case 'revoked': return ['bad', e.kind]
    case 'message.refused': return ['warn', 'message']
  }
  if (/failed|down|dropped|unavailable/.test(e.kind)) return ['bad', 'trouble']
  return ['note', e.kind.split('.').pop()]
}

function addEvent(e) {
  const list = byId('events')
  const same = [e.kind, e.reason, e.status, e.close_code, e.path, e.client_ip].join('|')
  const newest = list.firstChild
  if (e.kind === 'handshake.refused' && newest?.dataset.same === same) return countUp(newest, e)

  const [color, word] = label(e)
  const facts = [
    e.kind.startsWith('session.') && e.reason && e.subject, e.status && `HTTP ${e.status}`, e.close_code && `close ${e.close_code}`,
    e.path, e.client_ip,
  ]
  const title = e.kind === 'banned' ? `banned after ${e.reason}` : e.reason || e.subject || e.error || e.kind
  const what = el('p', 'what', el('b', '', title))
  for (const fact of facts) if (fact) what.append(el('span', '', fact))
  what.append(el('span', 'times'))
  const detail = [e.seen && `saw ${e.seen}`, e.wanted && `wanted ${e.wanted}`, e.hint].filter(Boolean).join(', ')
  if (detail) what.append(el('small', '', detail))
  const item = el('li', 'event', el('time', '', clock(e.time)), el('b', `tag ${color}`, word), what)
  item.dataset.kind = e.kind
  item.dataset.same = same
  item.title = [e.kind, e.check && `check: ${e.check}`, e.error].filter(Boolean).join('\n')
  if (Date.now() - new Date(e.time) < 3000) item.classList.add('new')
  list.prepend(item)
  while (list.children.length > 300) list.lastChild.remove()
}

// countUp folds a row of equal refusals into one line: a guesser must not push everything else out of sight.
function countUp(item, e) {
  item.dataset.count = Number(item.dataset.count || 1) + 1
  item.querySelector('.times').textContent = `${item.dataset.count} times`
  item.querySelector('time').textContent = clock(e.time)
}

const feed = new Line('/events', 'events-state', 'events-closed', addEvent)
feed.onOpen = () => byId('events').replaceChildren()

// --- Attacks -----------------------------------------------------------------------------------------------------------

const buttons = [...document.querySelectorAll('[data-attack]')]

for (const button of buttons) button.onclick = async () => {
  for (const b of buttons) { b.disabled = true; b.removeAttribute('aria-current') }
  button.setAttribute('aria-busy', 'true')
  try {
    showOutcome(await getJSON('/attack?name=' + encodeURIComponent(button.dataset.attack), { method: 'POST' }))
  } catch (err) {
    showResult(el('p', '', String(err.message)))
  }
  button.removeAttribute('aria-busy')
  button.setAttribute('aria-current', 'true')
  for (const b of buttons) b.disabled = false
  button.focus({ preventScroll: true })
}

function showOutcome(o) {
  const closed = o.close_code
  const headline = closed ? `Session closed: ${o.public}` : o.banned ? 'Refused: banned' : `Refused: ${o.public || 'handshake'}`
  const verdict = el('div', 'verdict', el('p', 'code' + (o.banned ? ' bad' : ''), String(closed || o.status)), el('h3', '', headline), el('p', '', o.story))
  const facts = el('dl', 'facts')
  const fact = (name, value) => value && facts.append(el('div', '', el('dt', '', name), el('dd', '', value)))
  fact('Stopped by', o.option)
  fact('The event says', o.reason)
  if (o.banned) showBan(o.retry_after)
  byId('attack-said').textContent = `${closed || o.status}. ${headline}. Stopped by ${o.option}.`
  showResult(verdict, facts, ...o.steps.map((s, i) => showStep(s, i + 1, o)))
}

// showStep opens the last step, which decided, and folds what led to it into a line each.
function showStep(s, n, o) {
  const last = n === o.steps.length
  const step = el('div', 'step',
    el('div', '', el('h4', '', `Sent from ${o.from}`), marked(s.sent, line => line === s.mark)),
    el('div', 'answered', el('h4', '', 'The guard answered'), marked(s.answered, (line, i) => i === 0)))
  if (last) {
    if (s.note) step.prepend(el('p', 'note', s.note))
    return step
  }
  const before = el('details', 'before', el('summary', '', `${n}. ${s.note} `, el('span', '', s.answered.split('\n')[0].replace('HTTP/1.1 ', ''))), step)
  return before
}

function marked(text, isMark) {
  const pre = el('pre')
  text.split('\n').forEach((line, i) => {
    if (i > 0) pre.append('\n')
    pre.append(isMark(line, i) ? el('mark', '', line) : line)
  })
  return pre
}

function showResult(...content) {
  const result = byId('attack-result')
  result.replaceChildren(...content)
  result.hidden = false
  result.scrollTop = 0
  if (matchMedia('(max-width: 999px)').matches) result.scrollIntoView({ block: 'start', behavior: 'smooth' })
}

let banTimer

function showBan(seconds) {
  const until = Date.now() + seconds * 1000
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000)
    byId('ban').hidden = left <= 0
    byId('ban-left').textContent = left
    if (left <= 0) clearInterval(banTimer)
  }
  clearInterval(banTimer)
  banTimer = setInterval(tick, 1000)
  tick()
}

byId('unban').onclick = async () => {
  try { await getJSON('/unban', { method: 'POST' }) } catch (err) { return showResult(el('p', '', String(err.message))) }
  clearInterval(banTimer)
  byId('ban').hidden = true
}
