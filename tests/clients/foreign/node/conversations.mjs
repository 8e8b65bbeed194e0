// The Conversations API through npm's openai: the conversation and its items, pages, and responses that continue it.
import OpenAI from 'openai';

const base = process.argv[2];
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'x', maxRetries: 0 });

async function check(name, work) {
  try {
    const found = await work();
    console.log(found === true ? `PASS ${name}` : `FAIL ${name}: ${JSON.stringify(found)?.slice(0, 300)}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${error?.name} ${String(error?.message).slice(0, 300)}`);
  }
}

const message = (content) => ({ type: 'message', role: 'user', content });
const same = (found, wanted) => JSON.stringify(found) === JSON.stringify(wanted) || found;

async function collected(pages) {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
}

async function statusOf(work) {
  try {
    await work();
  } catch (error) {
    return error.status;
  }
  return 200;
}

await check('create, retrieve, update, delete', async () => {
  const made = await client.conversations.create({ metadata: { topic: 'birds' }, items: [message('Hello')] });
  const read = await client.conversations.retrieve(made.id);
  const changed = await client.conversations.update(made.id, { metadata: { mood: 'good' } });
  const deleted = await client.conversations.delete(made.id);
  const gone = await statusOf(() => client.conversations.retrieve(made.id));
  return same(
    [made.object, read, changed.metadata, deleted, gone],
    [
      'conversation',
      made,
      { topic: 'birds', mood: 'good' },
      { id: made.id, object: 'conversation.deleted', deleted: true },
      404,
    ],
  );
});

await check('items: create, list in pages, retrieve, delete', async () => {
  const { id } = await client.conversations.create();
  const added = await client.conversations.items.create(id, { items: [0, 1, 2, 3, 4, 5, 6].map((n) => message(`text ${n}`)) });
  const page = await client.conversations.items.list(id, { limit: 3 });
  const all = await collected(client.conversations.items.list(id, { limit: 3, order: 'asc' }));
  const newest = await collected(client.conversations.items.list(id, { limit: 7 }));
  const [item] = added.data;
  const read = await client.conversations.items.retrieve(item.id, { conversation_id: id });
  const left = await client.conversations.items.delete(item.id, { conversation_id: id });
  const gone = await statusOf(() => client.conversations.items.retrieve(item.id, { conversation_id: id }));
  const texts = (items) => items.map((each) => each.content[0].text);
  return same(
    [added.data.length, page.has_more, texts(page.data), texts(all), texts(newest), read, left.id, gone],
    [
      7,
      true,
      ['text 6', 'text 5', 'text 4'],
      [0, 1, 2, 3, 4, 5, 6].map((n) => `text ${n}`),
      [6, 5, 4, 3, 2, 1, 0].map((n) => `text ${n}`),
      item,
      id,
      404,
    ],
  );
});

await check('limits', async () => {
  const { id } = await client.conversations.create();
  const pairs = Object.fromEntries([...Array(17).keys()].map((n) => [`k${n}`, 'v']));
  const found = [
    await statusOf(() => client.conversations.create({ metadata: pairs })),
    await statusOf(() => client.conversations.create({ items: Array(21).fill(message('x')) })),
    await statusOf(() => client.conversations.items.list(id, { limit: 101 })),
    await statusOf(() => client.conversations.items.list(id, { after: 'msg_unknown' })),
    await statusOf(() => client.conversations.retrieve('conv_unknown')),
  ];
  return same(found, [400, 400, 400, 404, 404]);
});

for (const model of ['glm', 'chorus', 'local']) {
  const answer = async (options, streamed) => {
    if (!streamed) return client.responses.create({ model, ...options });
    return client.responses.stream({ model, ...options }).finalResponse();
  };
  for (const streamed of [false, true]) {
    const how = streamed ? 'streamed' : 'whole';
    await check(`conversation ${how} ${model}`, async () => {
      const { id } = await client.conversations.create();
      const first = await answer({ input: 'How?', conversation: id }, streamed);
      const second = await answer({ input: 'And?', conversation: { id } }, streamed);
      const items = await collected(client.conversations.items.list(id, { order: 'asc', limit: 1 }));
      return same(
        [first.conversation.id, second.conversation.id, items.map((item) => item.role), items[3].content[0].text],
        [id, id, ['user', 'assistant', 'user', 'assistant'], second.output_text],
      );
    });
    await check(`previous response ${how} ${model}`, async () => {
      const first = await answer({ input: 'How?' }, streamed);
      const second = await answer({ input: 'And?', previous_response_id: first.id }, streamed);
      const led = await collected(client.responses.inputItems.list(second.id, { order: 'asc', limit: 2 }));
      const read = await client.responses.retrieve(second.id);
      await client.responses.delete(second.id);
      const gone = await statusOf(() => client.responses.retrieve(second.id));
      return same(
        [led.map((item) => item.role), read.previous_response_id, read.output_text, gone],
        [['user', 'assistant', 'user'], first.id, second.output_text, 404],
      );
    });
  }
}

const { id } = await client.conversations.create();
await check('both histories at once', async () => {
  const first = await client.responses.create({ model: 'glm', input: 'How?' });
  const both = { model: 'glm', input: 'And?', conversation: id, previous_response_id: first.id };
  return same(await statusOf(() => client.responses.create(both)), 400);
});

await check('session in chat completions', async () => {
  const ask = (content, more) => client.chat.completions.create({ model: 'glm', messages: [{ role: 'user', content }], ...more });
  const first = await ask('How?', { session: true });
  const second = await ask('And?', { session_id: first.session_id });
  const items = await collected(client.conversations.items.list(first.session_id, { order: 'asc' }));
  return same([second.session_id, items.length], [first.session_id, 4]);
});
