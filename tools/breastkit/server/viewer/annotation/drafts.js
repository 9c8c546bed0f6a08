// Drafts: strokes that are not saved, kept in this browser so that a crash or a reload does not lose them.
import { readNrrd, writeNrrd } from './nrrd.js';

const DATABASE = 'breastkit-drafts';
const STORE = 'drafts';
// Of a series that nobody opens again.
const KEPT_FOR = 30 * 24 * 3600 * 1000;

const done = request => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

const opened = () => {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return done(request);
};

const within = async (mode, work) => {
  const database = await opened();
  try {
    return await done(work(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
};

// A browser is shared: drafts are of who is logged in, on this server.
const keyOf = (user, series) => `${window.location.host} ${user} ${series}`;

// Keeps what is drawn on a series: a label map with its place, the segments' names, the class.
export const keep = async (user, series, { volume, names, ofClass, version }) => {
  const label = await (await writeNrrd(volume)).arrayBuffer();
  const draft = { label, names, ofClass, version, kept: Date.now() };
  return within('readwrite', store => store.put(draft, keyOf(user, series)));
};

export const forget = (user, series) => within('readwrite', store => store.delete(keyOf(user, series)));

// The draft of a series, if there is one.
export const find = async (user, series) => {
  const draft = await within('readonly', store => store.get(keyOf(user, series)));
  return draft && { ...draft, volume: await readNrrd(draft.label) };
};

export const forgetOld = async () => {
  const keys = await within('readonly', store => store.getAllKeys());
  for (const key of keys) {
    const draft = await within('readonly', store => store.get(key));
    if (draft && Date.now() - draft.kept > KEPT_FOR) {
      await within('readwrite', store => store.delete(key));
    }
  }
};
