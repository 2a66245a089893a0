// The Vercel AI SDK with its two providers that speak chat completions.

import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, isStepCount, Output, streamText, tool } from 'ai';
import { z } from 'zod';
import { API_KEY, BASE_URL, describe, serve } from './scenario_runner.mjs';

const compatible = createOpenAICompatible({
  name: 'patchbay',
  apiKey: API_KEY,
  baseURL: BASE_URL,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const plain = createOpenAICompatible({ name: 'patchbay', apiKey: API_KEY, baseURL: BASE_URL });
const official = createOpenAI({ apiKey: API_KEY, baseURL: BASE_URL });

const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==';
const Visit = z.object({ city: z.string(), days: z.number().int().min(1), companions: z.array(z.string()) });
const tools = {
  get_weather: tool({
    description: 'How the weather is in a city.',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `${city}: sunny`,
  }),
  get_time: tool({
    description: 'What time it is in a city.',
    inputSchema: z.object({ city: z.string(), zone: z.string().optional() }),
    execute: async ({ city }) => ({ city, time: 'noon' }),
  }),
};
const calls = (steps) =>
  steps.flatMap((step) => step.toolCalls.map((call) => [call.toolCallId, call.toolName, call.input]));

/** The same scenarios for both providers: `make` turns a model name into a model. */
function scenariosOf(make) {
  const once = (model, more) => ({ model: make(model), maxRetries: 0, ...more });
  const looping = (model) =>
    once(model, { prompt: 'In parallel, please: how is Paris?', tools, stopWhen: isStepCount(4) });

  return {
    chat: async (model) => {
      const result = await generateText(
        once(model, { instructions: 'Be kind.', prompt: 'Hello there!', maxOutputTokens: 64 }),
      );
      return {
        text: result.text,
        finish: result.finishReason,
        usage: result.usage,
        id: result.response.id,
        model: result.response.modelId,
      };
    },
    chat_stream: async (model) => {
      const result = streamText(once(model, { prompt: 'Hello there!' }));
      const texts = [];
      for await (const text of result.textStream) texts.push(text);
      return { texts, finish: await result.finishReason, usage: await result.usage };
    },
    tool_loop: async (model) => {
      const result = await generateText(looping(model));
      return { text: result.text, calls: calls(result.steps), steps: result.steps.length };
    },
    tool_loop_stream: async (model) => {
      const result = streamText(looping(model));
      const kinds = new Set();
      for await (const part of result.fullStream) kinds.add(part.type);
      const steps = await result.steps;
      return { text: await result.text, calls: calls(steps), steps: steps.length, kinds: [...kinds] };
    },
    no_arguments: async (model) => {
      const look_around = tool({ inputSchema: z.object({}), execute: async () => 'a wall' });
      const result = streamText(
        once(model, { prompt: 'Where am I?', tools: { look_around }, stopWhen: isStepCount(4) }),
      );
      const text = await result.text;
      return { text, calls: calls(await result.steps).map(([, name, input]) => [name, input]) };
    },
    forced_tool: async (model) => {
      const choice = { type: 'tool', toolName: 'get_time' };
      const result = await generateText(once(model, { prompt: 'Paris', tools, toolChoice: choice }));
      return result.toolCalls.map((call) => call.toolName);
    },
    structured: async (model) => {
      const output = Output.object({ schema: Visit });
      return (await generateText(once(model, { prompt: 'A trip to Rome', output }))).output;
    },
    structured_stream: async (model) => {
      const output = Output.object({ schema: Visit });
      const result = streamText(once(model, { prompt: 'A trip to Rome', output }));
      let parts = 0;
      for await (const _ of result.partialOutputStream) parts += 1;
      return { parts, output: await result.output };
    },
    image: async (model) => {
      const content = [
        { type: 'text', text: 'What is it?' },
        { type: 'file', data: PIXEL, mediaType: 'image/png' },
      ];
      return (await generateText(once(model, { messages: [{ role: 'user', content }] }))).text;
    },
    broken_stream: async (model) => {
      let text = '';
      let error = null;
      const result = streamText(once(model, { prompt: 'Hello there!', onError: () => {} }));
      for await (const part of result.fullStream) {
        if (part.type === 'text-delta') text += part.text;
        if (part.type === 'error') error = part.error;
      }
      return { text, error: error && (error.constructor === Object ? error : describe(error)) };
    },
  };
}

const reasoning = {
  reasoning_loop: async (model) => {
    const result = await generateText({
      ...reasoningRequest(model),
      stopWhen: isStepCount(4),
    });
    return {
      text: result.text,
      reasoning: result.steps.map((step) => step.reasoningText ?? null),
      calls: calls(result.steps),
      usage: result.usage,
    };
  },
  reasoning_stream: async (model) => {
    const result = streamText({ ...reasoningRequest(model), stopWhen: isStepCount(4) });
    let seen = '';
    for await (const part of result.fullStream) if (part.type === 'reasoning-delta') seen += part.text;
    return { text: await result.text, reasoning: seen };
  },
};
const reasoningRequest = (model) => ({
  model: compatible(model),
  maxRetries: 0,
  prompt: 'How is the weather in Paris?',
  tools,
  providerOptions: { patchbay: { reasoningEffort: 'low' } },
});

const prefixed = (prefix, scenarios) =>
  Object.fromEntries(Object.entries(scenarios).map(([name, run]) => [`${prefix}_${name}`, run]));

await serve('ai', {
  ...prefixed('compatible', { ...scenariosOf(compatible), ...reasoning }),
  ...prefixed('official', scenariosOf(official.chat)),
  compatible_json: async (model) => {
    const output = Output.object({ schema: Visit });
    const request = { model: plain(model), maxRetries: 0, prompt: 'A trip to Rome, as JSON', output };
    return (await generateText(request)).output;
  },
});
