"""Runs Autobahn's cases against an echo server and judges the results. Called by `run`, which builds the server."""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

from kosoku import FailureError, run_fuzzingclient

GROUPS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
CASES_IN_GROUPS = 301
# Messages, and fragmented messages, of 1 MiB and more.
LARGE = [f"9.{group}.{case}" for group in (1, 2) for case in (3, 4, 5, 6)] + [
    f"9.{group}.*" for group in (3, 4)
]
LIMIT_S = {"quick": 170, "full": 900}
REPORT = pathlib.Path("target/autobahn/report.json")
# Autobahn's largest message is 16 MiB; the cases send thousands of small ones as fast as they can.
SERVER_OPTIONS = ["--max-message", "33554432", "--commands-per-second", "1000000"]


def main() -> int:
    args = arguments()
    with contextlib.ExitStack() as stack:
        server = None
        url = args.url
        if url is None:
            port = free_port()
            server = stack.enter_context(started(args.server, port))
            url = f"ws://127.0.0.1:{port}/echo"
        began = time.monotonic()
        results = asyncio.run(run(url, args.part))
        seconds = time.monotonic() - began
        died = server is not None and server.poll() is not None

    write_report(results)
    failed = [result for result in results if not result.passed]
    for result in results:
        if result.passed and not exact(result):
            print(f"note    {line(result)}")
    for result in failed:
        print(f"FAILED  {line(result)}\n{indented(details(result))}")
    print(f"{len(results)} cases in {seconds:.1f} s, report in {REPORT}")

    problems = len(failed)
    if args.part == "full" and len(results) != CASES_IN_GROUPS:
        print(f"FAILED  {CASES_IN_GROUPS} cases were expected, {len(results)} ran")
        problems += 1
    elif not results:
        print("FAILED  no case ran")
        problems += 1
    if died:
        print(f"FAILED  the server ended during the run, with status {server.returncode}")
        problems += 1
    print(f"{len(results) - len(failed)} passed, {problems} failed")
    return 1 if problems else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/autobahn/run")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--quick", dest="part", action="store_const", const="quick", default="full")
    part.add_argument("--full", dest="part", action="store_const", const="full")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--url", help="WebSocket address of an echo server that is running")
    target.add_argument("--server", help="server binary to start")
    return parser.parse_args()


async def run(url: str, part: str) -> list:
    excluded = LARGE if part == "quick" else None
    try:
        return await asyncio.wait_for(run_fuzzingclient(url, GROUPS, excluded), LIMIT_S[part])
    except FailureError as failure:
        return failure.results
    except asyncio.TimeoutError:
        sys.exit(f"error: the cases were not done after {LIMIT_S[part]} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def started(binary: str, port: int):
    """The server, listening; ended when the block is left."""
    server = subprocess.Popen([binary, "--listen", f"127.0.0.1:{port}", *SERVER_OPTIONS], stdin=subprocess.DEVNULL)
    try:
        wait_until_listening(server, port)
        yield server
    finally:
        if server.poll() is None:
            server.terminate()
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_until_listening(server: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"error: the server ended at once, with status {server.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    sys.exit("error: the server does not listen after 15 s")


def exact(result) -> bool:
    return result.behavior.value == "OK" and result.behavior_close.value == "OK"


def line(result) -> str:
    return f"{result.case_id:8} {result.behavior.value}, close {result.behavior_close.value}"


def details(result) -> str:
    return "\n".join(
        [
            clipped(result.description),
            f"expected: {clipped(result.expectation)}",
            f"messages: {clipped(result.result)} {clipped(result.received)}",
            f"close:    {clipped(result.result_close)} (code {result.remote_close_code})",
        ]
    )


def clipped(value, most: int = 400) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def indented(text: str) -> str:
    return "\n".join(f"        {part}" for part in text.splitlines())


def write_report(results: list) -> None:
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    report = [
        {
            "case": result.case_id,
            "passed": result.passed,
            "behavior": result.behavior.value,
            "close": result.behavior_close.value,
            "close_code": result.remote_close_code,
            "duration_ms": result.duration,
            "result": result.result,
            "result_close": result.result_close,
        }
        for result in results
    ]
    REPORT.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The runner's own threads sometimes abort the interpreter while it winds down, when all is judged and written.
    os._exit(status)
