"""Runs the scenarios that the arguments name, such as `chat` or `chat=MODEL`, and prints how each ended."""

import io
import json
import sys
import time


def run(scenarios):
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        started = time.monotonic()
        try:
            end = {"said": scenarios[name](*([value] if value else []))}
        except Exception as error:
            end = {"error": type(error).__name__, "status": getattr(error, "status_code", None), "message": str(error)}
        end.update(scenario=argument, seconds=time.monotonic() - started)
        print(json.dumps(end), flush=True)


def weather(city):
    return "sunny" if city == "Paris" else "unknown"


def file_of(length):
    return io.BytesIO(b"x" * int(length))
