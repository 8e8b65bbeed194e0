// openai, ollama, and Vercel's ai SDK with its two OpenAI providers (whose Zod schemas are strict), from npm.
import OpenAI from 'openai';
import { Ollama } from 'ollama';
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
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
    for await (const chunk of await client.chat.completions.create(options)) text += chunk.choices[0]?.delta?.content ?? '';
    return right(text);
  });
  await check(`openai runTools ${model}`, async () => {
    const weather = {
      name: 'weather',
      parameters: { type: 'object', properties: { city: { type: 'string' } } },
      parse: JSON.parse,
      function: ({ city }) => `rain in ${city}`,
    };
    const options = { model, messages, stream: true, tools: [{ type: 'function', function: weather }] };
    const final = await client.chat.completions.runTools(options).finalContent();
    return final === 'It rains in Paris.' || final;
  });
  await check(`openai responses ${model}`, async () => {
    const final = await client.responses.stream({ model, input: 'How?' }).finalResponse();
    return right(final.output_text);
  });
  await check(`openai cancel ${model}`, async () => {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    for await (const _ of stream) break;
    return stream.controller.signal.aborted;
  });

  const ollama = new Ollama({ host: base });
  await check(`ollama chat streamed ${model}`, async () => {
    let text = '';
    for await (const part of await ollama.chat({ model, messages, stream: true })) text += part.message.content;
    return right(text);
  });
  await check(`ollama generate ${model}`, async () => right((await ollama.generate({ model, prompt: 'How?' })).response));

  const strict = createOpenAI({ baseURL: `${base}/v1`, apiKey: 'x' });
  const compatible = createOpenAICompatible({ name: 'chorus', baseURL: `${base}/v1`, apiKey: 'x', includeUsage: true });
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
      const reply = await generateObject({ ...common, schema: z.object({ n: z.number() }), prompt: 'As JSON: n?' });
      return reply.object.n === 7 || reply.object;
    });
    await check(`${id} second turn`, async () => {
      const first = await generateText({ ...common, prompt: 'How?' });
      const history = [...messages, ...first.response.messages, { role: 'user', content: 'And?' }];
      return right((await generateText({ ...common, messages: history })).text);
    });
    await check(`${id} unknown model`, async () => {
      try {
        await generateText({ model: provider('nope'), prompt: 'x', maxRetries });
        return 'no error';
      } catch (error) {
        return (error.statusCode === 404 && error.message.includes("model 'nope' not found")) || error.message;
      }
    });
  }
}
