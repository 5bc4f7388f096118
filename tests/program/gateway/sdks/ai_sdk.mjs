// The npm package `ai`, with the providers of OpenAI and Anthropic.

import { anthropic } from "@ai-sdk/anthropic";
import { openai } from "@ai-sdk/openai";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { run } from "./scenarios.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const getWeather = tool({
  inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } } }),
  execute: async ({ city }) => (city === "Paris" ? "sunny" : "unknown"),
});

function scenariosOf(provider) {
  const chat = async (model = "any") => (await generateText({ model: provider(model), prompt: "hi" })).text;
  const stream = async (model = "any") => {
    let failure;
    const { textStream } = streamText({ model: provider(model), prompt: "hi", onError: ({ error }) => (failure = error) });
    let text = "";
    for await (const piece of textStream) text += piece;
    if (failure) throw failure;
    return text;
  };
  const tools = async (model = "any") => {
    const prompt = "What is the weather in Paris?";
    const options = { tools: { get_weather: getWeather }, stopWhen: stepCountIs(2) };
    return (await generateText({ model: provider(model), prompt, ...options })).text;
  };
  return { chat, stream, tools };
}

const named = (start, scenarios) => Object.fromEntries(Object.entries(scenarios).map(([name, run]) => [`${start}_${name}`, run]));

await run({
  ...named("openai", scenariosOf(openai)),
  ...named("openai_chat", scenariosOf(openai.chat)),
  ...named("anthropic", scenariosOf(anthropic)),
});
