// A WebSocket that comes back: after a pause that doubles, with jitter, so that a thousand pages do not return in the same
// second; and one that stays away when the server says that coming back is no use. Copy it: it needs nothing else.
//
//   const line = new Reconnecting({
//     dial: async fresh => new WebSocket(url, ['bearer', await token(fresh)]), // for each attempt
//     open() {}, message(event) {}, wait({ code, reason, pause }) {}, stop({ code, reason }) {}, // each may be left out
//   })
//   line.socket.send('hello')
//
// fresh says that the token of the last attempt may be what was wrong: get another. When there is none to be had, since
// the visitor must log in, dial throws an error with stop = true; any other error is one more reason to try later.

const shortestPause = 500 // ms, then doubling
const longestPause = 30_000
const stayed = 5_000 // a session of this length was a good one: the next pause is short again

// What a page does after each close code; see the table in the README of wssecure.
const later = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, 3008])

export function after(code) {
  if (code === 3000) return 'token'
  return later.has(code) ? 'later' : 'stop'
}

export class Reconnecting {
  #on
  #failures = 0
  #attempt = 0
  #fresh = false
  #timer

  constructor(on) {
    this.#on = on
    globalThis.addEventListener?.('online', this.#online)
    this.connect()
  }

  #online = () => { if (this.#timer !== undefined) this.connect() }

  // connect does not wait any longer; after a stop it tries once more. An open socket it leaves alone.
  async connect(fresh = this.#fresh) {
    if (this.socket?.readyState <= 1) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    const attempt = ++this.#attempt
    let socket
    try {
      socket = await this.#on.dial(fresh)
    } catch (e) {
      if (attempt !== this.#attempt) return
      return e.stop ? this.#stop(3000, e.message) : this.#wait(1006, e.message)
    }
    if (attempt !== this.#attempt) return socket.close()
    this.#follow(socket, fresh)
  }

  #follow(socket, fresh) {
    this.socket = socket
    let since, told = false
    // A server that refuses with a close code opens first: for a moment nothing is told.
    const open = () => {
      if (told || socket.readyState !== 1) return
      told = true
      this.#on.open?.()
    }
    socket.onopen = () => {
      since = Date.now()
      setTimeout(open, 50)
    }
    socket.onmessage = event => {
      open()
      this.#on.message?.(event)
    }
    socket.onclose = ({ code, reason }) => {
      const wasGood = since !== undefined && Date.now() - since >= stayed
      if (wasGood) this.#failures = 0
      const next = after(code)
      // Another token than the one just fetched would be refused as well.
      if (next === 'stop' || next === 'token' && fresh && !wasGood) return this.#stop(code, reason)
      // Of an HTTP refusal a page learns 1006 alone: it may have been the token.
      this.#fresh = next === 'token' || since === undefined
      this.#wait(code, reason)
    }
  }

  #wait(code, reason) {
    const ceiling = Math.min(longestPause, shortestPause * 2 ** this.#failures++)
    const pause = ceiling / 2 + Math.random() * ceiling / 2
    this.#timer = setTimeout(() => this.connect(), pause)
    this.#on.wait?.({ code, reason, pause })
  }

  #stop(code, reason) {
    this.#failures = 0
    this.#fresh = false
    this.#on.stop?.({ code, reason })
  }

  // close ends it for good.
  close(code = 1000, reason = '') {
    globalThis.removeEventListener?.('online', this.#online)
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#attempt++
    if (!this.socket) return
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null
    this.socket.close(code, reason)
  }
}
