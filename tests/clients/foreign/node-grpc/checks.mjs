// A client of an inference worker, made from the proto: `checks.mjs FOLDER_OF_PROTOS ADDRESS MODEL`. Prints what it saw.
import grpc from '@grpc/grpc-js'
import loader from '@grpc/proto-loader'

const [protos, address, model] = process.argv.slice(2)
const definition = loader.loadSync('chorus/worker/v1/inference.proto', { includeDirs: [protos], keepCase: true, enums: String })
const { Worker } = grpc.loadPackageDefinition(definition).chorus.worker.v1
const client = new Worker(address, grpc.credentials.createInsecure())

const read = (call, onText = () => {}) =>
  new Promise((resolve) => {
    const seen = { texts: [], finish: null, usage: null, code: null, details: '' }
    call.on('data', (message) => {
      if (message.text) seen.texts.push(message.text)
      if (message.finish_reason !== 'FINISH_REASON_UNSPECIFIED') seen.finish = message.finish_reason
      if (message.usage) seen.usage = message.usage
      onText(seen)
    })
    call.on('error', (error) => resolve({ ...seen, code: error.code, details: error.details }))
    call.on('status', (status) => resolve({ ...seen, code: status.code, details: status.details }))
  })

const turn = { role: 'user', parts: [{ text: 'hello there, 世界' }] }
const answer = await read(client.Generate({ model, conversation: { messages: [turn] }, sampling: { temperature: 0.5 } }))
const short = await read(client.Generate({ prompt: 'one two three', sampling: { max_tokens: 2 } }))
const long = client.Generate({ model, prompt: 'word '.repeat(10000) })
const cancelled = await read(long, () => long.cancel())
const late = await read(client.Generate({ model, prompt: 'word '.repeat(10000) }, { deadline: Date.now() + 300 }))
const other = await read(client.Generate({ model: 'another', prompt: 'a' }))
const empty = await read(client.Generate({ model }))
const embedded = await new Promise((resolve) => client.Embed({ model, inputs: ['a'] }, (error) => resolve(error?.code)))
console.log(JSON.stringify({ answer, short, cancelled: cancelled.code, late: late.code, other, empty, embedded }))
client.close()
