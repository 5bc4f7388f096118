"""The SDK of OpenAI at a provider's own host."""

import os

import openai

client = openai.OpenAI(base_url="https://api.acme.test/v1", api_key=os.environ["X_API_KEY"])
print(client.models.with_raw_response.list().text, end="")
