// Runs scenarios inside node and reports what the client saw, one JSON object per scenario.
//
//     BASE_URL=http://127.0.0.1:8000/api/v1 MODEL=gpt-4o-mini node openai_node.mjs chat

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

export const BASE_URL = process.env.BASE_URL;
export const API_KEY = process.env.API_KEY ?? 'any-token';

/** The class of an error and what the SDKs hang on it. */
export function describe(error) {
  const seen = { class: error.constructor.name, text: error.message };
  for (const name of ['status', 'statusCode', 'code', 'param', 'type', 'requestID', 'isRetryable']) {
    if (error[name] !== undefined) seen[name] = error[name];
  }
  const headers = error.headers ?? error.responseHeaders;
  if (headers) seen.headers = headers instanceof Headers ? Object.fromEntries(headers) : headers;
  return seen;
}

async function run(scenarios, name, model) {
  try {
    return { seen: (await scenarios[name](model)) ?? null };
  } catch (error) {
    return { raised: describe(error), traceback: `${error.stack}\n${error.responseBody ?? ''}` };
  }
}

/** Runs the scenarios named as arguments, else those that standard input asks for, line by line. */
export async function serve(packageName, scenarios) {
  const names = process.argv.slice(2);
  for (const name of names) {
    console.log(JSON.stringify(await run(scenarios, name, process.env.MODEL), null, 2));
  }
  if (names.length) return;
  const place = new URL(`./node_modules/${packageName}/package.json`, import.meta.url);
  const metadata = JSON.parse(readFileSync(place, 'utf8'));
  console.log(JSON.stringify({ ready: `${packageName} ${metadata.version}` }));
  for await (const line of createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    console.log(JSON.stringify(await run(scenarios, asked.scenario, asked.model)));
  }
}
