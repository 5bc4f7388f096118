"""The Python SDK of OpenAI."""

import asyncio
import json
from collections import Counter

import openai
import scenarios

client = openai.OpenAI()
TOOL = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


def chat(model="any"):
    return client.responses.create(model=model, input="hi").output_text


def stream(model="any"):
    with client.responses.stream(model=model, input="hi") as events:
        return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def tools(model="any"):
    messages, tools = [QUESTION], [{"type": "function", **TOOL}]
    response = client.responses.create(model=model, input=messages, tools=tools)
    call = response.output[0]
    result = scenarios.weather(**json.loads(call.arguments))
    messages += [call, {"type": "function_call_output", "call_id": call.call_id, "output": result}]
    return client.responses.create(model=model, input=messages, tools=tools).output_text


def chat_completions(model="any"):
    completion = client.chat.completions.create(model=model, messages=[QUESTION])
    return completion.choices[0].message.content


def stream_chat_completions(model="any"):
    chunks = client.chat.completions.create(model=model, messages=[QUESTION], stream=True)
    return "".join(chunk.choices[0].delta.content for chunk in chunks)


def tools_in_chat_completions(model="any"):
    messages, tools = [QUESTION], [{"type": "function", "function": TOOL}]
    message = client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0].message
    (call,) = message.tool_calls
    result = scenarios.weather(**json.loads(call.function.arguments))
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": result}]
    return client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0].message.content


def upload(length):
    file = client.files.create(file=("file", scenarios.file_of(length)), purpose="user_data")
    return f"{file.bytes >> 20} MiB to {file.filename}"


def at_once(model="any"):
    async def all():
        async with openai.AsyncOpenAI() as client:
            one = lambda: client.responses.create(model=model, input="hi")
            return await asyncio.gather(*(one() for _ in range(200)))

    return str(dict(Counter(response.output_text for response in asyncio.run(all()))))


scenarios.run(globals())
