// Prints the keys of an entry of `GET /v1/health/service/NAME` as HashiCorp's own double of the API answers it.
// The double is a template literal; it is filled in here with the dullest values.
import { readFileSync } from "node:fs";

const template = readFileSync("node_modules/@hashicorp/consul-api-double/v1/health/service/_", "utf8");
const special = { number: () => 5, boolean: () => true, randomize: (list) => list[0] };
const fake = new Proxy(() => "x", {
  get: (_, name) => special[name] ?? (name === Symbol.toPrimitive ? () => "x" : fake),
});
const scope = {
  fake,
  env: (name, value) => (name.endsWith("_COUNT") ? 1 : value),
  range: (count) => Array.from({ length: Number(count) }, (_, i) => i),
  location: { pathname: "/v1/health/service/llm-glm", search: {} },
};
const text = new Function(...Object.keys(scope), `return \`${template}\``)(...Object.values(scope));
const [entry] = JSON.parse(text);
const keys = (table) => Object.keys(table).sort();
console.log(JSON.stringify({ Entry: keys(entry), Node: keys(entry.Node), Service: keys(entry.Service), Check: keys(entry.Checks[0]) }));
