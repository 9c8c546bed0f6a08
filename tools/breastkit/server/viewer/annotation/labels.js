// Which series are shown, and the label of each: loaded when it is opened, kept while others are shown.
import { Label } from './label.js';
import { readNrrd } from './nrrd.js';
import * as server from './server.js';

const ANNOTATED = ['MR', 'US', 'CT'];

// Models that read images of a modality, those that outline first; pictures are ultrasound's.
export const fitting = (models, modality) => Object.entries(models)
  .filter(([, model]) => model.modality === modality && (model.dimension === 2) === (modality === 'US'))
  .map(([name, model]) => ({ name, ...model }))
  .sort((one, other) => Number(other.type === 'segmentation') - Number(one.type === 'segmentation'));

export class Labels {
  constructor(viewer) {
    this.viewer = viewer;
    this.known = new Map();
    this.listeners = new Set();
    this.problem = '';
  }

  // Follows the viewports until it is stopped.
  start() {
    const { viewportGridService: grid, cornerstoneViewportService: viewports, segmentationService } =
      this.viewer.services;
    const changed = () => this.changed();
    const follow = () => this.follow();
    this.subscriptions = [
      grid.subscribe(grid.EVENTS.ACTIVE_VIEWPORT_ID_CHANGED, follow),
      grid.subscribe(grid.EVENTS.GRID_STATE_CHANGED, follow),
      viewports.subscribe(viewports.EVENTS.VIEWPORT_DATA_CHANGED, follow),
      segmentationService.subscribe(segmentationService.EVENTS.SEGMENTATION_DATA_MODIFIED, changed),
      segmentationService.subscribe(segmentationService.EVENTS.SEGMENTATION_MODIFIED, changed),
      segmentationService.subscribe(segmentationService.EVENTS.SEGMENTATION_REMOVED, follow),
    ];
    this.follow();
  }

  stop() {
    this.subscriptions?.forEach(one => one.unsubscribe());
    this.known.clear();
    this.listeners.clear();
  }

  // Calls back whenever another series is shown or a label changes.
  listen(callback) {
    this.listeners.add(callback);
  }

  changed() {
    this.listeners.forEach(callback => callback());
  }

  // The viewport that is used, and what it shows.
  active() {
    const { viewportGridService: grid, displaySetService } = this.viewer.services;
    const viewportId = grid.getActiveViewportId();
    const uids = grid.getDisplaySetsUIDsForViewport(viewportId) || [];
    const displaySet = uids.map(uid => displaySetService.getDisplaySetByUID(uid))
      .find(one => one && ANNOTATED.includes(one.Modality) && one.imageIds?.length);
    return { viewportId, displaySet };
  }

  // The label of the series that is shown, once it is there.
  get shown() {
    const { displaySet } = this.active();
    const found = displaySet && this.known.get(displaySet.SeriesInstanceUID);
    return found?.isThere ? found : undefined;
  }

  get unsaved() {
    return [...this.known.values()].filter(label => label.isThere && label.isChanged);
  }

  async follow() {
    const { viewportId, displaySet } = this.active();
    const { cornerstoneViewportService } = this.viewer.services;
    if (!displaySet || !cornerstoneViewportService.getCornerstoneViewport(viewportId)) {
      return;
    }
    try {
      const label = await this._open(displaySet);
      await label.showIn(viewportId);
      this.problem = '';
    } catch (error) {
      this.problem = `The saved label is not shown: ${error.message}`;
    }
    this.changed();
  }

  // The label of a series, with what is saved of it.
  _open(displaySet) {
    const series = displaySet.SeriesInstanceUID;
    const known = this.known.get(series);
    if (!known || (known.isLoaded && !known.isThere)) {
      const label = new Label(this.viewer, displaySet, {});
      this.known.set(series, label);
      label.opening = this._load(label).catch(error => {
        this.known.delete(series);
        throw error;
      });
    }
    return this.known.get(series).opening;
  }

  async _load(label) {
    const { models } = await this.information();
    const own = fitting(models, label.displaySet.Modality);
    own.forEach(model => Object.entries(model.label_colors).forEach(([name, colour]) => {
      label.colours[name] ??= colour;
    }));
    const versions = await server.versionsOf(label.series);
    const saved = versions[versions.length - 1];
    const names = { ...(saved?.labels || {}) };
    own.flatMap(model => Object.keys(model.labels)).forEach(name => {
      names[name] ??= 1 + Math.max(0, ...Object.values(names));
    });
    await label.create(names);
    if (saved) {
      const volume = await readNrrd(await server.labelOf(label.series, saved.version));
      label.load(volume, { version: saved.version, ofClass: saved.class || '' });
    }
    label.isLoaded = true;
    return label;
  }

  // What the server offers, asked once.
  information() {
    this._information ??= server.info().catch(error => {
      this._information = undefined;
      throw error;
    });
    return this._information;
  }
}
