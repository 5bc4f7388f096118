"""LangChain, with the models of OpenAI and Anthropic."""

import scenarios
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def get_weather(city: str) -> str:
    """Tells the weather in a city."""
    return scenarios.weather(city)


def of(make):
    def chat(model="any"):
        return make(model=model).invoke("hi").text

    def stream(model="any"):
        return "".join(part.text for part in make(model=model).stream("hi"))

    def tools(model="any"):
        bound = make(model=model).bind_tools([get_weather])
        messages = [HumanMessage("What is the weather in Paris?")]
        messages.append(bound.invoke(messages))
        messages += [get_weather.invoke(call) for call in messages[-1].tool_calls]
        return bound.invoke(messages).text

    return chat, stream, tools


openai_chat, openai_stream, openai_tools = of(ChatOpenAI)
anthropic_chat, anthropic_stream, anthropic_tools = of(ChatAnthropic)

scenarios.run(globals())
