"""The Python SDK of Google."""

import scenarios
from google import genai
from google.genai import types

client = genai.Client()


def chat(model="any"):
    return client.models.generate_content(model=model, contents="hi").text


def stream(model="any"):
    return "".join(part.text or "" for part in client.models.generate_content_stream(model=model, contents="hi"))


def get_weather(city: str) -> str:
    """Tells the weather in a city."""
    return scenarios.weather(city)


def tools(model="any"):
    config = types.GenerateContentConfig(tools=[get_weather])
    return client.models.generate_content(model=model, contents="What is the weather in Paris?", config=config).text


scenarios.run(globals())
