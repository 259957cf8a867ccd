// A client over ws that means harm. Its one argument is {url, host, origin, token, attack}; each line that it prints is
// {open: extensions}, {message: text} or {close: code, reason}, and with the last it ends.
import WebSocket from 'ws'

const { url, host, origin, token, attack } = JSON.parse(process.argv[2])

const times = (n, act) => { for (let i = 0; i < n; i++) act(i) }
const every = (ms, act) => { const timer = setInterval(act, ms); socket.on('close', () => clearInterval(timer)) }

// frame is one that ws would not send: masked with zeros, unless mask is false.
function frame(first, payload, { mask = true, length } = {}) {
  const head = length ?? [payload.length]
  head[0] |= mask ? 0x80 : 0
  return Buffer.concat([Buffer.from([first, ...head]), mask ? Buffer.alloc(4) : Buffer.alloc(0), Buffer.from(payload)])
}
const raw = (...args) => socket._socket.write(frame(...args))

// deaf to the guard's close frame: ws would answer it.
const neverCloses = () => { socket._sender.close = () => {} }

const attacks = {
  'ping flood': () => times(1000, () => socket.ping('x'.repeat(125))),
  'pong flood': () => times(1000, () => socket.pong()),
  'fragments': () => times(2000, () => socket.send('x', { fin: false })),
  'empty fragments': () => times(2000, () => socket.send('', { fin: false })),
  'oversize': () => socket.send(Buffer.alloc(3 << 20)),
  'oversize in fragments': () => times(100, () => socket.send(Buffer.alloc(1 << 10), { fin: false })),
  'message flood': () => times(1000, () => socket.send('x')),
  'drip': () => {
    socket._socket.write(frame(0x82, [], { length: [126, 0x80, 0] }))
    every(50, () => socket._socket.write('x'))
  },

  'close code': code => raw(0x88, [code >> 8, code & 0xff]),
  'close of one byte': () => raw(0x88, [3]),
  'unmasked': () => socket.send('x', { mask: false }),
  'unmasked ping': () => raw(0x89, [], { mask: false }),
  'reserved bit': () => raw(0xa1, [120]),
  'reserved opcode': () => raw(0x83, [120]),
  'ping in parts': () => raw(0x09, []),
  'long ping': () => raw(0x89, Buffer.alloc(126), { length: [126, 0, 126] }),
  'continuation alone': () => raw(0x80, [120]),
  'message inside a message': () => { raw(0x01, [120]); raw(0x81, [120]) },
  'length not shortest': () => raw(0x81, [120], { length: [126, 0, 1] }),
  'length with the top bit': () => raw(0x82, [], { length: [127, 0x80, 0, 0, 0, 0, 0, 0, 1] }),
  'not UTF-8': () => socket.send(Buffer.from([0xc3, 0x28]), { binary: false }),

  'compressed though declined': () => raw(0xc1, [0xaa, 0x04, 0x00]),
  'deflate bomb': () => socket.send(Buffer.alloc(64 << 20), { compress: true }),

  'answers no ping': () => {},
  'never closes': neverCloses,
  'never closes, inside a frame': () => { neverCloses(); socket._socket.write(frame(0x82, [], { length: [126, 0x10, 0] })) },
  'never closes, sends on': () => { neverCloses(); every(20, () => { try { socket._socket.write(frame(0x81, [120])) } catch {} }) },

  'compression offered': () => {
    socket.send('x'.repeat(1000))
    socket.once('message', () => socket.close(1000, 'done'))
  },
}

const say = line => console.log(JSON.stringify(line))
const socket = new WebSocket(url, {
  origin, servername: host, headers: { Host: host, Authorization: 'Bearer ' + token },
  rejectUnauthorized: false, // the certificate is not what is attacked
  perMessageDeflate: true,
  autoPong: attack !== 'answers no ping',
})
socket.on('open', () => {
  say({ open: socket.extensions })
  const [, name, argument] = attack.match(/^(.*?)(?: (\d+))?$/)
  attacks[name](Number(argument))
})
socket.on('message', data => say({ message: String(data).slice(0, 100) }))
socket.on('unexpected-response', (request, response) => { say({ close: response.statusCode, reason: 'no handshake' }); process.exit() })
socket.on('error', () => {}) // a connection that is cut
socket.on('close', (code, reason) => { say({ close: code, reason: String(reason) }); process.exit() })
