// The first example of ws: whoever connects is served, and a message may have 100 MiB. It ends with its standard input.
import { WebSocketServer } from 'ws'

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 }, () => console.log(JSON.stringify({ port: server.address().port })))
server.on('connection', socket => {
  socket.on('error', () => {})
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
})
process.stdin.resume().on('end', () => process.exit())
