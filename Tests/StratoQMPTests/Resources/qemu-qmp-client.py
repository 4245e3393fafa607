"""Drives a QMP server with QEMU's own client library, and ends it. Says "all done" if everything was as expected."""

import asyncio
import contextlib
import sys

from qemu.qmp import QMPClient, ExecuteError


async def main(path):
    client = QMPClient("test")
    await client.connect(path)
    print("greeting:", client.greeting._raw if client.greeting else None)
    with client.listener() as events:
        print("status:", await client.execute("query-status"))
        names = [entry["name"] for entry in await client.execute("query-commands")]
        print("commands:", " ".join(names))
        questions = [name for name in names if name.startswith("query-")]
        for name in questions:
            print(f"{name}:", await client.execute(name))
        print("text:", repr(await client.execute("human-monitor-command", {"command-line": "info status"})))
        for command, event in [
            ("stop", "STOP"),
            ("cont", "RESUME"),
            ("system_powerdown", "POWERDOWN"),
            ("system_reset", "RESET"),
        ]:
            await client.execute(command)
            message = await asyncio.wait_for(events.get(), 20)
            print("event:", message)
            assert message["event"] == event, message
        try:
            await client.execute("query-nothing")
            raise AssertionError("an unknown command was carried out")
        except ExecuteError as error:
            print("error:", error.error_class, error)
            assert error.error_class == "CommandNotFound"
        answers = await asyncio.gather(*(client.execute("query-status") for _ in range(100)))
        assert len(answers) == 100 and all(answer["running"] for answer in answers)
        await client.execute("quit")
        message = await asyncio.wait_for(events.get(), 20)
        print("event:", message)
        assert message["event"] == "SHUTDOWN" and message["data"]["reason"] == "host-qmp-quit", message
    # The server hangs up by itself, which the library reports unless it was faster.
    with contextlib.suppress(EOFError):
        await client.disconnect()
    print("all done")


asyncio.run(main(sys.argv[1]))
