"""The Python SDK of Anthropic."""

import asyncio
from collections import Counter

import anthropic
import scenarios

client = anthropic.Anthropic()
TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
HI = {"max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}


def chat(model="any"):
    return client.messages.create(model=model, **HI).content[0].text


def stream(model="any"):
    with client.messages.stream(model=model, **HI) as stream:
        return "".join(stream.text_stream)


def tools(model="any"):
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    ask = lambda: client.messages.create(model=model, max_tokens=100, messages=messages, tools=[TOOL]).content
    content = ask()
    call = content[0]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": scenarios.weather(**call.input)}
    messages += [{"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    return ask()[0].text


def upload(length):
    file = client.beta.files.upload(file=("file", scenarios.file_of(length), "text/plain"))
    return f"{file.size_bytes >> 20} MiB to {file.filename}"


def at_once(model="any"):
    async def all():
        async with anthropic.AsyncAnthropic() as client:
            one = lambda: client.messages.create(model=model, **HI)
            return await asyncio.gather(*(one() for _ in range(200)))

    return str(dict(Counter(message.content[0].text for message in asyncio.run(all()))))


scenarios.run(globals())
