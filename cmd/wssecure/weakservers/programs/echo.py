# The first example of websockets, with the size limit off, as is written against the first message too big. It ends with its
# standard input.
import asyncio
import json
import sys

import websockets


async def echo(websocket):
    try:
        async for message in websocket:
            await websocket.send(message)
    except websockets.ConnectionClosed:
        pass


async def main():
    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
        print(json.dumps({"port": server.sockets[0].getsockname()[1], "version": websockets.__version__}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
