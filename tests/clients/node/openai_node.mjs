// openai-node: plain calls, its stream helper, its tool runner, its parsers and its errors.

import OpenAI from 'openai';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { API_KEY, BASE_URL, describe, serve } from './scenario_runner.mjs';

const client = new OpenAI({ apiKey: API_KEY, baseURL: BASE_URL, maxRetries: 0, timeout: 20_000 });
const patient = new OpenAI({ apiKey: API_KEY, baseURL: BASE_URL, maxRetries: 2, timeout: 20_000 });

const hello = [{ role: 'user', content: 'Hello there!' }];
const paris = [{ role: 'user', content: 'In parallel, please: how is Paris?' }];
const properties = { city: { type: 'string' }, zone: { type: 'string' } };
const tools = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      parameters: { type: 'object', properties: { city: properties.city }, required: ['city'] },
    },
  },
  {
    type: 'function',
    function: {
      name: 'get_time',
      parameters: { type: 'object', properties, required: ['city', 'zone'] },
    },
  },
];
const answers = (message) =>
  (message.tool_calls ?? []).map((call) => ({
    role: 'tool',
    tool_call_id: call.id,
    content: `${call.function.name} of ${JSON.parse(call.function.arguments).city}: fine`,
  }));
const named = (message) =>
  (message.tool_calls ?? []).map((call) => [
    call.id,
    call.function.name,
    JSON.parse(call.function.arguments),
  ]);
const Visit = z.object({ city: z.string(), days: z.number().int().min(1), companions: z.array(z.string()) });

async function chat(model) {
  const { data, response, request_id } = await client.chat.completions
    .create({ model, messages: hello, temperature: 0.5, max_tokens: 100 })
    .withResponse();
  return { completion: data, headers: Object.fromEntries(response.headers), request_id };
}

async function chat_stream(model) {
  const chunks = [];
  const stream = await client.chat.completions.create({
    model,
    messages: hello,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

async function tool_loop(model) {
  const first = await client.chat.completions.create({ model, messages: paris, tools });
  const message = first.choices[0].message;
  const messages = [...paris, message, ...answers(message)];
  const second = await client.chat.completions.create({ model, messages, tools });
  return {
    finish: first.choices[0].finish_reason,
    calls: named(message),
    content: second.choices[0].message.content,
  };
}

async function tool_loop_stream(model) {
  const done = [];
  const stream = client.chat.completions.stream({ model, messages: paris, tools });
  stream.on('tool_calls.function.arguments.done', (event) =>
    done.push([event.index, event.name, JSON.parse(event.arguments)]),
  );
  const first = await stream.finalChatCompletion();
  const message = first.choices[0].message;
  const messages = [...paris, message, ...answers(message)];
  let joined = '';
  const again = client.chat.completions.stream({ model, messages, tools });
  again.on('content.delta', (event) => (joined += event.delta));
  const second = await again.finalChatCompletion();
  return {
    finish: first.choices[0].finish_reason,
    calls: named(message),
    done,
    content: second.choices[0].message.content,
    joined,
  };
}

function runnable(called) {
  const made = (name, parameters) => ({
    type: 'function',
    function: {
      name,
      parameters,
      parse: JSON.parse,
      function: (given) => {
        called.push([name, given]);
        return `${name} of ${given.city}: fine`;
      },
    },
  });
  return tools.map((tool) => made(tool.function.name, tool.function.parameters));
}

async function tool_runner(model) {
  const called = [];
  const runner = client.chat.completions.runTools({ model, messages: paris, tools: runnable(called) });
  return { content: await runner.finalContent(), called, usage: await runner.totalUsage() };
}

async function tool_runner_stream(model) {
  const called = [];
  let text = '';
  const runner = client.chat.completions.runTools({
    model,
    messages: paris,
    tools: runnable(called),
    stream: true,
  });
  runner.on('content', (delta) => (text += delta));
  return { content: await runner.finalContent(), called, text };
}

async function parse(model) {
  const completion = await client.chat.completions.parse({
    model,
    messages: [{ role: 'user', content: 'A trip to Rome' }],
    response_format: zodResponseFormat(Visit, 'visit'),
  });
  return completion.choices[0].message.parsed;
}

async function parse_tool(model) {
  const completion = await client.chat.completions.parse({
    model,
    messages: [{ role: 'user', content: 'A trip to Rome' }],
    tools: [zodFunction({ name: 'plan', parameters: Visit })],
    tool_choice: 'required',
  });
  const [call] = completion.choices[0].message.tool_calls;
  return [call.function.name, call.function.parsed_arguments];
}

async function thinking_loop(model) {
  const request = { model, tools: tools.slice(0, 1), reasoning_effort: 'low' };
  const messages = [{ role: 'user', content: 'How is the weather in Paris?' }];
  const first = await client.chat.completions.create({ ...request, messages });
  const message = first.choices[0].message;
  messages.push(message, ...answers(message));
  const second = await client.chat.completions.create({ ...request, messages });
  return {
    reasoning: message.reasoning_content,
    blocks: message.thinking_blocks,
    content: second.choices[0].message.content,
  };
}

async function broken_stream(model) {
  let content = '';
  const stream = await client.chat.completions.create({ model, messages: hello, stream: true });
  try {
    for await (const chunk of stream) content += chunk.choices[0]?.delta?.content ?? '';
  } catch (error) {
    return { content, error: describe(error), is_api_error: error instanceof OpenAI.APIError };
  }
  return { content, error: null };
}

async function broken_helper(model) {
  let content = '';
  const stream = client.chat.completions.stream({ model, messages: hello });
  stream.on('content', (delta) => (content += delta));
  try {
    await stream.finalChatCompletion();
  } catch (error) {
    return { content, error: describe(error) };
  }
  return { content, error: null };
}

/** With the SDK's own two retries, as most programs have them. */
async function retried(model) {
  const completion = await patient.chat.completions.create({ model, messages: hello });
  return completion.choices[0].message.content;
}

/** Leaves in the middle of a stream. */
async function abandoned(model) {
  const stream = await client.chat.completions.create({ model, messages: hello, stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta?.content) {
      stream.controller.abort();
      return chunk.choices[0].delta.content;
    }
  }
}

async function models(model) {
  const listed = [];
  for await (const row of client.models.list()) listed.push(row.id);
  return { listed, retrieved: await client.models.retrieve(model) };
}

await serve('openai', {
  chat,
  chat_stream,
  tool_loop,
  tool_loop_stream,
  tool_runner,
  tool_runner_stream,
  parse,
  parse_tool,
  thinking_loop,
  broken_stream,
  broken_helper,
  retried,
  abandoned,
  models,
});
