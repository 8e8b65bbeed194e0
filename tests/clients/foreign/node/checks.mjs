// openai, ollama, and Vercel's ai SDK with its two OpenAI providers (whose Zod schemas are strict), from npm.
import OpenAI, { toFile } from 'openai';
import { Ollama } from 'ollama';
import { APICallError, generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { z } from 'zod';

const base = process.argv[2];
globalThis.AI_SDK_LOG_WARNINGS = false;

async function check(name, work) {
  try {
    const found = await work();
    console.log(found === true ? `PASS ${name}` : `FAIL ${name}: ${JSON.stringify(found)?.slice(0, 300)}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${error?.name} ${String(error?.message).slice(0, 300)}`);
  }
}

async function textOf(stream) {
  let text = '';
  for await (const piece of stream) text += piece;
  return text;
}

const right = (text) => text.includes('好🙂') || text;
const maxRetries = 0;
const cityOnly = { type: 'object', properties: { city: { type: 'string' } } };
const number = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'], additionalProperties: false };

// What makes the upstream stop in mid-answer; the test looks whether it saw who left.
const hanging = (model) => (model === 'chorus' ? 'Hang at the end' : 'Hang');

async function refusalOf(work) {
  try {
    await work();
  } catch (error) {
    return error;
  }
  return null;
}

for (const model of ['glm', 'chorus', 'local']) {
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'x', maxRetries });
  const messages = [{ role: 'user', content: 'How?' }];
  await check(`openai chat ${model}`, async () => {
    const reply = await client.chat.completions.create({ model, messages });
    return right(reply.choices[0].message.content);
  });
  await check(`openai chat streamed ${model}`, async () => {
    const options = { model, messages, stream: true, stream_options: { include_usage: true } };
    let text = '';
    let usage;
    for await (const chunk of await client.chat.completions.create(options)) {
      text += chunk.choices[0]?.delta?.content ?? '';
      usage = chunk.usage ?? usage;
    }
    return usage?.total_tokens > 0 ? right(text) : 'no usage';
  });
  await check(`openai batch ${model}`, async () => {
    const url = '/v1/chat/completions';
    const line = (id, body) => JSON.stringify({ custom_id: id, method: 'POST', url, body }) + '\n';
    const lines = line('a', { model, messages }) + line('b', { model: 'nope', messages });
    const uploaded = await client.files.create({ file: await toFile(Buffer.from(lines), 'in.jsonl'), purpose: 'batch' });
    const file = await client.files.waitForProcessing(uploaded.id);
    let batch = await client.batches.create({ input_file_id: file.id, endpoint: url, completion_window: '24h' });
    while (batch.completed_at == null) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      batch = await client.batches.retrieve(batch.id);
    }
    const content = async (id) => JSON.parse(await (await client.files.content(id)).text());
    const [output, failed] = [await content(batch.output_file_id), await content(batch.error_file_id)];
    if (output.custom_id !== 'a' || failed.custom_id !== 'b' || batch.request_counts.total !== 2) return batch;
    const listed = [];
    for await (const each of client.batches.list({ limit: 1 })) listed.push(each.id);
    for (const id of [file.id, batch.output_file_id, batch.error_file_id]) await client.files.delete(id);
    return listed[0] === batch.id ? right(output.response.body.choices[0].message.content) : listed;
  });
  await check(`openai runTools ${model}`, async () => {
    const weather = {
      name: 'weather',
      parameters: cityOnly,
      parse: JSON.parse,
      function: ({ city }) => `rain in ${city}`,
    };
    const options = { model, messages, stream: true, tools: [{ type: 'function', function: weather }] };
    const final = await client.chat.completions.runTools(options).finalContent();
    return final === 'It rains in Paris.' || final;
  });
  await check(`openai schema ${model}`, async () => {
    const response_format = { type: 'json_schema', json_schema: { name: 'number', strict: true, schema: number } };
    const reply = await client.chat.completions.parse({ model, messages, response_format });
    return reply.choices[0].message.parsed?.n === 7 || reply;
  });
  await check(`openai responses ${model}`, async () => {
    const final = await client.responses.stream({ model, input: 'How?' }).finalResponse();
    return final.usage.total_tokens > 0 ? right(final.output_text) : final.usage;
  });
  await check(`openai cancel ${model}`, async () => {
    const asked = [{ role: 'user', content: hanging(model) }];
    const stream = await client.chat.completions.create({ model, messages: asked, stream: true });
    for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
    return stream.controller.signal.aborted;
  });
  await check(`openai errors ${model}`, async () => {
    const ask = (options) => refusalOf(() => client.chat.completions.create({ model, messages, ...options }));
    const refused = [{ role: 'user', content: 'Refuse with 429' }];
    const found = [await ask({ model: 'nope' }), await ask({ temperature: 9 }), await ask({ messages: refused })];
    const last = model === 'chorus' ? OpenAI.InternalServerError : OpenAI.RateLimitError; // two workers, not one model
    const wanted = [OpenAI.NotFoundError, OpenAI.BadRequestError, last];
    return wanted.every((kind, place) => found[place] instanceof kind && found[place].requestID) || found.map(String);
  });

  const ollama = new Ollama({ host: base });
  await check(`ollama chat streamed ${model}`, async () => {
    let text = '';
    let last;
    for await (const part of await ollama.chat({ model, messages, stream: true })) {
      text += part.message.content;
      last = part;
    }
    return last.done && last.eval_count > 0 ? right(text) : last;
  });
  await check(`ollama tools ${model}`, async () => {
    const tools = [{ type: 'function', function: { name: 'weather', description: 'The weather', parameters: cityOnly } }];
    const asked = (await ollama.chat({ model, messages, tools })).message;
    const result = { role: 'tool', tool_name: 'weather', content: 'rain' };
    const reply = await ollama.chat({ model, messages: [...messages, asked, result], tools });
    const { city } = asked.tool_calls[0].function.arguments;
    return (city === 'Paris' && reply.message.content === 'It rains in Paris.') || reply;
  });
  await check(`ollama schema ${model}`, async () => {
    const reply = await ollama.chat({ model, messages, format: number });
    return JSON.parse(reply.message.content).n === 7 || reply;
  });
  await check(`ollama cancel ${model}`, async () => {
    const stream = await ollama.chat({ model, messages: [{ role: 'user', content: hanging(model) }], stream: true });
    const error = await refusalOf(async () => {
      for await (const _ of stream) stream.abort();
    });
    return error?.name === 'AbortError' || String(error);
  });
  await check(`ollama errors ${model}`, async () => {
    const unknown = await refusalOf(() => ollama.chat({ model: 'nope', messages }));
    const wrong = await refusalOf(() => ollama.chat({ model, messages, options: { temperature: 'hot' } }));
    const codes = [unknown.status_code, wrong.status_code];
    return (String(codes) === '404,400' && unknown.name === 'ResponseError') || [unknown, wrong].map(String);
  });
  await check(`ollama generate ${model}`, async () => right((await ollama.generate({ model, prompt: 'How?' })).response));

  const strict = createOpenAI({ baseURL: `${base}/v1`, apiKey: 'x' });
  const compatible = createOpenAICompatible({
    name: 'chorus',
    baseURL: `${base}/v1`,
    apiKey: 'x',
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
  const weather = tool({
    description: 'The weather',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `rain in ${city}`,
  });
  const providers = { responses: strict, chat: strict.chat, compatible };
  for (const [name, provider] of Object.entries(providers)) {
    const id = `ai ${name} ${model}`;
    const common = { model: provider(model), maxRetries };
    await check(`${id} text`, async () => {
      const reply = await generateText({ ...common, prompt: 'How?' });
      return reply.usage.totalTokens > 0 ? right(reply.text) : reply.usage;
    });
    await check(`${id} streamed`, async () => {
      const errors = [];
      const stream = streamText({ ...common, prompt: 'How?', onError: ({ error }) => errors.push(String(error)) });
      const text = await textOf(stream.textStream);
      return errors.length ? errors : right(text);
    });
    await check(`${id} tools`, async () => {
      const reply = await generateText({ ...common, prompt: 'Rain?', tools: { weather }, stopWhen: stepCountIs(3) });
      return (reply.text === 'It rains in Paris.' && reply.steps.length === 2) || reply.text;
    });
    await check(`${id} tools streamed`, async () => {
      const stream = streamText({ ...common, prompt: 'Rain?', tools: { weather }, stopWhen: stepCountIs(3) });
      const text = await textOf(stream.textStream);
      return text === 'It rains in Paris.' || text;
    });
    await check(`${id} object`, async () => {
      const reply = await generateObject({ ...common, schema: z.object({ n: z.number() }), prompt: 'n?' });
      return reply.object.n === 7 || reply.object;
    });
    await check(`${id} second turn`, async () => {
      const first = await generateText({ ...common, prompt: 'How?' });
      const history = [...messages, ...first.response.messages, { role: 'user', content: 'And?' }];
      return right((await generateText({ ...common, messages: history })).text);
    });
    await check(`${id} unknown model`, async () => {
      const error = await refusalOf(() => generateText({ model: provider('nope'), prompt: 'x', maxRetries }));
      const known = APICallError.isInstance(error) && error.statusCode === 404;
      return (known && error.message.includes("model 'nope' not found")) || String(error);
    });
    await check(`${id} cancel`, async () => {
      const leaving = new AbortController();
      const stream = streamText({ ...common, prompt: hanging(model), abortSignal: leaving.signal });
      const kinds = [];
      for await (const part of stream.fullStream) {
        kinds.push(part.type);
        if (part.type === 'text-delta') leaving.abort();
      }
      return kinds.at(-1) === 'abort' || kinds;
    });
  }
}
