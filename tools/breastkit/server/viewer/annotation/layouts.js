// Layouts: the phases of a dynamic study side by side, and views of ultrasound, as hanging protocols of the viewer's.
import * as server from './server.js';

export const PHASES = 'breastkit.phases';
export const VIEWS = 'breastkit.views';
export const PROTOCOLS = [PHASES, VIEWS, 'default'];
// The stages of the phases.
export const SLICES = 0;
export const PROJECTION = 1;
// Reading and subtracting a large study takes a while the first time; it is opened without then.
const PATIENCE = 30_000;
const NONE = { phases: [], subtraction: '', projection: '', doubts: [] };

const known = new Map();

// Asks the server for the layout of a study, so that it is known when the study is hung.
export const load = async study => {
  const late = new Promise(resolve => setTimeout(resolve, PATIENCE, NONE));
  known.set(study, await Promise.race([server.layoutOf(study), late]).catch(() => NONE));
};

export const layoutOf = study => known.get(study) || NONE;

// What a series is shown as: its parts in the layout of its study.
const partsOf = ({ StudyInstanceUID, SeriesInstanceUID }) => {
  const { phases, subtraction, projection } = layoutOf(StudyInstanceUID);
  const parts = { pre: phases[0], first: phases[1], last: phases[phases.length - 1], subtraction, projection };
  return Object.keys(parts).filter(name => parts[name] === SeriesInstanceUID);
};

// The series whose label is drawn when a series is shown: side by side all phases have that of one of them, the one
// that was asked for or the first after contrast.
export const labelledSeries = ({ StudyInstanceUID, SeriesInstanceUID }, shownAs) => {
  const { phases, subtraction, projection } = layoutOf(StudyInstanceUID);
  const isDerived = [subtraction, projection].includes(SeriesInstanceUID);
  const isBeside = shownAs === PHASES && phases.includes(SeriesInstanceUID);
  const asked = askedSeries();
  return isDerived || isBeside ? (phases.includes(asked) ? asked : phases[1]) : SeriesInstanceUID;
};

const askedSeries = () => new URLSearchParams(window.location.search).get('initialSeriesInstanceUID');

// Whether a study is hung side by side when it is opened: not if a series is asked for.
const opensWith = study => {
  if (askedSeries()) {
    return '';
  }
  if (layoutOf(study.StudyInstanceUID).phases.length > 1) {
    return PHASES;
  }
  const ultrasound = (study.series || []).filter(one => (one.Modality || one.instances?.[0]?.Modality) === 'US');
  return ultrasound.length > 1 ? VIEWS : '';
};

export const register = ({ hangingProtocolService }) => {
  hangingProtocolService.addCustomAttribute('breastkitOpens', 'Layout of the study', opensWith);
  hangingProtocolService.addCustomAttribute('breastkitPart', 'Part in the layout', partsOf);
};

const protocol = (id, name, displaySetSelectors, stages) => ({
  id,
  name,
  protocolMatchingRules: [{ attribute: 'breastkitOpens', weight: 1000, required: true, constraint: { equals: id } }],
  toolGroupIds: ['default'],
  displaySetSelectors,
  stages,
});

const synced = (type, id = type) => ({ type, id: `breastkit.${id}`, source: true, target: true });

const viewport = (id, syncGroups, { matchedDisplaySetsIndex = 0, ...options } = {}) => ({
  viewportOptions: {
    viewportType: 'stack', toolGroupId: 'default', initialImageOptions: { preset: 'middle' }, syncGroups, ...options,
  },
  displaySets: [{ id, matchedDisplaySetsIndex }],
});

const grid = (rows, columns) => ({ layoutType: 'grid', properties: { rows, columns } });

const part = name => ({
  seriesMatchingRules: [{ attribute: 'breastkitPart', required: true, constraint: { contains: name } }],
});

const PLACED = [synced('imageslice'), synced('zoompan')];
const SAME_WINDOW = [...PLACED, synced('voi')];
const PHASES_SHOWN = [viewport('pre', SAME_WINDOW), viewport('first', SAME_WINDOW)];
const LAST = viewport('last', SAME_WINDOW);
const MAXIMUM = viewport('projection', [synced('zoompan')]);

const phases = protocol(
  PHASES,
  'Dynamic breast MRI',
  Object.fromEntries(['pre', 'first', 'subtraction', 'projection', 'last'].map(name => [name, part(name)])),
  [
    { name: 'Phases', viewportStructure: grid(2, 2), viewports: [...PHASES_SHOWN, viewport('subtraction', PLACED), LAST] },
    { name: 'Projection', viewportStructure: grid(2, 2), viewports: [...PHASES_SHOWN, MAXIMUM, LAST] },
  ],
);

const ultrasoundViews = count => Array.from({ length: count }, (_, at) =>
  viewport('view', [synced('voi', 'views')], { matchedDisplaySetsIndex: at, initialImageOptions: { preset: 'first' } }));

const views = protocol(
  VIEWS,
  'Ultrasound views',
  { view: { seriesMatchingRules: [{ attribute: 'Modality', required: true, constraint: { equals: 'US' } }] } },
  [[2, 2], [1, 3], [1, 2]].map(([rows, columns]) => ({
    name: `${rows * columns} views`,
    stageActivation: { enabled: { minViewportsMatched: rows * columns } },
    viewportStructure: grid(rows, columns),
    viewports: ultrasoundViews(rows * columns),
  })),
);

export const protocols = [phases, views].map(one => ({ name: one.id, protocol: one }));
