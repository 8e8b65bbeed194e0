// The client of MCP for TypeScript, from npm: over HTTP at BASE/mcp, and over stdio with a command.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [base, command, ...args] = process.argv.slice(2);

async function check(name, work) {
  try {
    const found = await work();
    console.log(found === true ? `PASS ${name}` : `FAIL ${name}: ${JSON.stringify(found)?.slice(0, 300)}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${error?.name} ${String(error?.message).slice(0, 300)}`);
  }
}

const call = (client, name, given = {}, options = {}) =>
  client.callTool({ name, arguments: given }, undefined, options);

async function checkTools(kind, client) {
  await check(`${kind} list`, async () => {
    const names = (await client.listTools()).tools.map((tool) => tool.name);
    return ['ask', 'list_models', 'memory_get'].every((name) => names.includes(name)) || names;
  });
  await check(`${kind} memory`, async () => {
    await call(client, 'memory_upsert', { notes: { language: '中文', gone: null } });
    const { structuredContent } = await call(client, 'memory_get');
    return (structuredContent.user_id === 'ann' && structuredContent.notes.language === '中文') || structuredContent;
  });
  await check(`${kind} ask`, async () => {
    const said = [];
    const options = { onprogress: (progress) => said.push(progress.message) };
    const reply = await call(client, 'ask', { question: 'How?', model: 'chorus' }, options);
    return (reply.structuredContent.answer.length > 0 && said.length > 1) || [reply, said];
  });
  await check(`${kind} error`, async () => {
    const reply = await call(client, 'ask', { question: 'How?', model: 'nope' });
    return (reply.isError && reply.content[0].text.includes('model_not_found')) || reply;
  });
}

const http = new Client({ name: 'checks', version: '1' });
const requestInit = { headers: { 'X-User-ID': 'ann' } };
await http.connect(new StreamableHTTPClientTransport(new URL(`${base}/mcp`), { requestInit }));
await checkTools('http', http);
await check('http cancel', async () => {
  const leaving = new AbortController();
  const options = { signal: leaving.signal, onprogress: (progress) => progress.message.includes('answering') && leaving.abort() };
  return call(http, 'ask', { question: 'Hang', model: 'glm' }, options).then(() => 'answered', () => true);
});
await http.close();

const stdio = new Client({ name: 'checks', version: '1' });
await stdio.connect(new StdioClientTransport({ command, args, env: { ...process.env } }));
await checkTools('stdio', stdio);
await check('stdio close', async () => {
  await stdio.close();
  return true;
});
