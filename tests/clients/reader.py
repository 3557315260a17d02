"""Reads event streams with httpx-sse and does what the HTML standard asks of a reader: comes back, and says where it stopped.

usage: reader.py --http VERSION [--certificate PEM] URL...

Writes a line of JSON for each response (`open`) and for each event. Ends when its standard input does.
"""

import argparse
import asyncio
import json
import ssl
import sys

import httpx
from httpx_sse import aconnect_sse


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", choices=["1.1", "2"], required=True)
    parser.add_argument("--certificate")
    parser.add_argument("urls", nargs="+")
    arguments = parser.parse_args()

    trust = ssl.create_default_context(cafile=arguments.certificate) if arguments.certificate else True
    timeout = httpx.Timeout(10, read=None)
    http2 = arguments.http == "2"
    async with httpx.AsyncClient(http1=not http2, http2=http2, verify=trust, timeout=timeout) as client:
        streams = [read(client, index, url) for index, url in enumerate(arguments.urls)]
        reading = asyncio.gather(*streams)
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await asyncio.wait([reading, ended], return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        reading.cancel()


async def read(client: httpx.AsyncClient, stream: int, url: str) -> None:
    last, retry = "", 1.0
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        try:
            async with aconnect_sse(client, "GET", url, headers=headers) as source:
                if source.response.status_code < 500:
                    source.response.raise_for_status()
                    say(stream=stream, open=source.response.http_version)
                    async for event in source.aiter_sse():
                        if event.retry is not None:
                            retry = event.retry / 1000
                        last = event.id or last
                        # The library hands over blocks without data, such as comments, which the standard does not.
                        if event.data:
                            say(stream=stream, id=event.id, event=event.event, data=event.data)
        except httpx.TransportError:
            pass
        await asyncio.sleep(retry)


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


asyncio.run(main())
