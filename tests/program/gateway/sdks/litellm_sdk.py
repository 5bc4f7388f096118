"""LiteLLM, with the models of OpenAI, Anthropic and Google."""

import json

import litellm
import scenarios

litellm.suppress_debug_info = True
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}


def of(provider):
    def ask(model, **more):
        messages = more.pop("messages", [{"role": "user", "content": "hi"}])
        return litellm.completion(model=f"{provider}/{model}", messages=messages, **more)

    def chat(model="any"):
        return ask(model).choices[0].message.content

    def stream(model="any"):
        return "".join(chunk.choices[0].delta.content or "" for chunk in ask(model, stream=True))

    def tools(model="any"):
        messages = [{"role": "user", "content": "What is the weather in Paris?"}]
        message = ask(model, messages=messages, tools=[TOOL]).choices[0].message
        (call,) = message.tool_calls
        result = scenarios.weather(**json.loads(call.function.arguments))
        messages += [message, {"role": "tool", "tool_call_id": call.id, "content": result}]
        return ask(model, messages=messages, tools=[TOOL]).choices[0].message.content

    return chat, stream, tools


openai_chat, openai_stream, openai_tools = of("openai")
anthropic_chat, anthropic_stream, anthropic_tools = of("anthropic")
gemini_chat, gemini_stream, gemini_tools = of("gemini")

scenarios.run(globals())
