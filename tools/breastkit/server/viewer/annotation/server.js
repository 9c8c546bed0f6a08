// Requests to the annotation server. What it refuses with becomes an Error whose message is its sentence.

// Where the server is: whatever stands before the viewer's own path.
export const address = () => `${window.location.href.split('/ohif')[0]}/`;

const sentenceOf = async answer => {
  const { detail } = await answer.json().catch(() => ({}));
  return typeof detail === 'string' ? detail : `The server answers ${answer.status}; try again, or ask who runs it.`;
};

const asked = async (path, { query = {}, ...options } = {}) => {
  const url = new URL(path, address());
  Object.entries(query).forEach(([name, value]) => url.searchParams.set(name, value));
  const answer = await fetch(url, options).catch(() => {
    throw new Error('The server cannot be reached; look whether it runs, then try again.');
  });
  if (!answer.ok) {
    throw new Error(await sentenceOf(answer));
  }
  return answer;
};

const json = async (path, options) => (await asked(path, options)).json();
const posted = (path, body) =>
  json(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

// What there is: models, trainers, strategies, how many images have labels. A label of number 0 is never drawn.
export const info = async () => {
  const told = await json('info/');
  Object.values(told.models).forEach(model => {
    model.labels = Object.fromEntries(Object.entries(model.labels).filter(([, number]) => number));
  });
  return told;
};

// How a study is hung: its phases, and the subtraction that the server makes.
export const layoutOf = study => json('datastore/layout', { query: { study } });

// The versions of a series' label, the oldest first.
export const versionsOf = series => json('datastore/label/versions', { query: { label: series } });

// A version of a series' label, as NRRD.
export const labelOf = async (series, version) => {
  const query = { label: series, version, extension: '.nrrd' };
  return (await asked('datastore/label', { query })).arrayBuffer();
};

// Saves a label and returns what the server says of it.
export const saveLabel = (series, params, nrrd) => {
  const body = new FormData();
  body.append('params', JSON.stringify(params));
  body.append('label', nrrd, 'label.nrrd');
  return json('datastore/label', { method: 'PUT', query: { image: series }, body });
};

// What readers said of the candidates of a series, and of each model's.
export const verdictsOf = series => json('datastore/candidates', { query: { image: series } });

// Keeps or rejects a candidate.
export const sayOf = (series, candidate) => json('datastore/candidates', {
  method: 'PUT', query: { image: series }, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(candidate),
});

// Runs a model on a series, after prompts where it follows any. Returns what it says, and its mask as NRRD; models that
// answer with boxes have none.
export const run = async (model, series, prompts = {}) => {
  const body = new FormData();
  body.append('params', JSON.stringify({ ...prompts, result_extension: '.nrrd' }));
  const answer = await asked(`infer/${model}`, { method: 'POST', query: { image: series, output: 'all' }, body });
  const parts = await answer.formData();
  const image = parts.get('image');
  const mask = image.name.endsWith('.nrrd') ? await image.arrayBuffer() : undefined;
  return { says: JSON.parse(await textOf(parts.get('params'))), mask };
};

// Who is logged in; empty where nobody has to.
export const user = async () => (await json('auth/token/valid').catch(() => ({}))).username || '';

const textOf = async part => (typeof part === 'string' ? part : part.text());

// The image to annotate next, by a strategy; empty when all have labels.
export const nextSample = strategy => posted(`activelearning/${strategy}`, {});

export const train = model => posted(`train/${model}`, {});
export const stopTraining = () => json('train/', { method: 'DELETE' });
export const training = () => json('train/');
