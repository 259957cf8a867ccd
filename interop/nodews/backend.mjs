// An echo over ws, to stand behind the guard's proxy. An ordinary request for a path is told how many sockets are open there.
// It ends with its standard input.
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

const open = new Map()
const count = (path, n) => open.set(path, (open.get(path) ?? 0) + n)

const server = createServer((request, response) => response.end(String(open.get(request.url) ?? 0)))
new WebSocketServer({ server }).on('connection', (socket, request) => {
  count(request.url, 1)
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
  socket.on('error', () => {}) // a session that the guard has cut inside a frame
  socket.on('close', () => count(request.url, -1))
})
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })))
process.stdin.resume().on('end', () => process.exit())
