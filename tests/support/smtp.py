"""A real SMTP server that misbehaves on demand.

usage: smtp.py DIRECTORY PORT
Writes its port to DIRECTORY/port, and each accepted message to DIRECTORY/<n>.eml. Before each message it takes the
first line out of DIRECTORY/faults: "4xx", "5xx", "530", "slow", "break" (closes in mid-message), "lost" (accepts, then
closes without an answer), "held" (closes without an answer or the message, once there is DIRECTORY/release) or "ok". It
ends with its standard input.
"""
import asyncio
import os
import sys

from aiosmtpd.smtp import SMTP

directory = sys.argv[1]
count = len([name for name in os.listdir(directory) if name.endswith(".eml")])


def write(name, content):
    path = os.path.join(directory, name)
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.rename(path + ".new", path)


def next_fault():
    path = os.path.join(directory, "faults")
    try:
        with open(path, encoding="ascii") as file:
            faults = file.read().split()
    except FileNotFoundError:
        return ""
    write("faults", "\n".join(faults[1:]).encode())
    return faults[0] if faults else ""


def keep(content):
    global count
    count += 1
    write(f"{count}.eml", content)


class Handler:
    async def handle_DATA(self, server, session, envelope):
        fault = server.fault
        if fault == "4xx":
            return "451 try again later"
        if fault == "5xx":
            return "554 not here"
        if fault == "530":
            return "530 who are you?"
        if fault == "held":
            while not os.path.exists(os.path.join(directory, "release")):
                await asyncio.sleep(0.05)
            server.transport.abort()
            return "451 too late"
        if fault == "slow":
            await asyncio.sleep(600)
        keep(envelope.content)
        if fault == "lost":
            server.transport.abort()
        return "250 accepted"


class Server(SMTP):
    fault = ""

    async def smtp_DATA(self, arg):
        self.fault = next_fault()
        if self.fault == "break":
            await self.push("354 go on")
            await self._reader.readline()
            self.transport.abort()
            return
        await super().smtp_DATA(arg)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(Handler(), hostname="localhost"), "127.0.0.1", int(sys.argv[2]))
    write("port", str(server.sockets[0].getsockname()[1]).encode())
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
