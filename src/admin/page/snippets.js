// What to paste into a terminal or a program. Each lists the models, which every upstream has.

/** For a shell: as it is where nothing in it means something there. */
const word = (text) => (/^[\w.:/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** For Python, whose texts are written like those of JSON. */
const python = (text) => JSON.stringify(text);

const SNIPPETS = {
  curl: (address, key) => `curl ${word(`${address}/v1/models`)} \\\n  -H ${word(`Authorization: Bearer ${key}`)}`,

  OpenAI: (address, key) => `from openai import OpenAI

client = OpenAI(
    base_url=${python(`${address}/v1`)},
    api_key=${python(key)},
)
for model in client.models.list():
    print(model.id)`,

  Anthropic: (address, key) => `from anthropic import Anthropic

client = Anthropic(
    base_url=${python(address)},
    api_key=${python(key)},
)
for model in client.models.list():
    print(model.id)`,

  Gemini: (address, key) => `from google import genai

client = genai.Client(
    api_key=${python(key)},
    http_options={"base_url": ${python(address)}},
)
for model in client.models.list():
    print(model.name)`,
};

export const CLIENTS = Object.keys(SNIPPETS);

export const snippet = (client, address, key) => SNIPPETS[client](address.replace(/\/+$/, ""), key);

/** Where the gateway is called from here: its first address; where that is every address, the name that this page was reached by. */
export function ownAddress(config, status) {
  const scheme = config.config.proxy?.tls ? "https" : "http";
  const addresses = status.listeners.filter(({ serves }) => serves === "gateway").map(({ address }) => address);
  const address = addresses.find((one) => !one.startsWith("[")) ?? addresses[0] ?? "127.0.0.1:8045";
  return `${scheme}://${address.replace(/^(0\.0\.0\.0|\[::\]):/, `${location.hostname}:`)}`;
}
