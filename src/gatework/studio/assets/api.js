// Questions to the server. Everything that comes back is data; nothing is ever run.

async function ask(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  const error = new Error(`${told.error || response.status}. Expected: ${told.expected || "?"}`);
  error.status = response.status;
  throw error;
}

const post = (path, body, signal) => ask(path, {
  method: "POST", body: JSON.stringify(body), signal,
  headers: { "content-type": "application/json" },
}).then(r => r.json());

export const models = () => ask("/api/models").then(r => r.json());
export const characters = text => post("/api/characters", { text });
export const sequences = find => ask(`/api/sequences?find=${encodeURIComponent(find)}`).then(r => r.json());
export const sequence = (number, first) =>
  ask(`/api/sequence?sequence=${number}&first=${first}`).then(r => r.json());
export const begin = (model, asked, hold) => post("/api/readings", { model, ...asked, hold });
export const progress = key => ask(`/api/readings/${key}`).then(r => r.json());
export const step = (key, at) => ask(`/api/readings/${key}/step?at=${at}`).then(r => r.json());
export const cell = (model, hold) => post("/api/cell", { model, hold });
export const passages = (model, layer, value, unit) =>
  post("/api/passages", { model, layer, value, unit });
export const unit = (key, layer, value, number, from, to) =>
  ask(`/api/readings/${key}/unit?layer=${layer}&value=${encodeURIComponent(value)}`
    + `&unit=${number}&from=${from}&to=${to}`)
    .then(r => r.json());

const floats = async path => new Float32Array(await (await ask(path)).arrayBuffer());

export const costs = (key, from) => floats(`/api/readings/${key}/costs?from=${from}`);
export const curves = (number, first) => floats(`/api/curves?sequence=${number}&first=${first}`);

export async function tile(key, layer, value, level, number) {
  const query = `layer=${layer}&value=${encodeURIComponent(value)}&level=${level}&tile=${number}`;
  const response = await ask(`/api/readings/${key}/tile?${query}`);
  const shape = ["x-units", "x-columns"].map(name => Number(response.headers.get(name)));
  return { units: shape[0], columns: shape[1], codes: new Uint8Array(await response.arrayBuffer()) };
}
