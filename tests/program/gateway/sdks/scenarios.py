"""Runs the scenarios that the arguments name, such as `chat` or `chat=MODEL`, and prints how each ended."""

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


def pattern(bytes):
    """A file of so many bytes, which no memory holds twice."""
    import tempfile

    file = tempfile.TemporaryFile()
    piece = b"x" * (1 << 20)
    for _ in range(int(bytes) >> 20):
        file.write(piece)
    file.seek(0)
    return file
