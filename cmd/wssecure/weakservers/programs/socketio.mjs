// socket.io with what is written against the first CORS error: the polling fallback is then open to every site, with
// cookies. The WebSocket asks nobody's Origin in any case. It ends with its standard input.
import { createServer } from 'node:http'
import { Server } from 'socket.io'

const server = createServer()
new Server(server, { cors: { origin: true, credentials: true } }).on('connection', socket => {
  socket.on('message', text => socket.send(text))
})
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })))
process.stdin.resume().on('end', () => process.exit())
