// Which series are shown, and the label of each: loaded when it is opened, kept while others are shown.
import * as drafts from './drafts.js';
import { Label } from './label.js';
import { labelledSeries } from './layouts.js';
import { readNrrd } from './nrrd.js';
import * as server from './server.js';

// Milliseconds after a stroke until it is kept as a draft.
const DRAFT_AFTER = 700;
const ANNOTATED = ['MR', 'US', 'CT'];

const isImage = one => one && ANNOTATED.includes(one.Modality) && one.imageIds?.length;

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
    const drawn = () => {
      this.strokes = (this.strokes || 0) + 1;
      this.changed();
      clearTimeout(this.drafting);
      this.drafting = setTimeout(() => this.keepDrafts(), DRAFT_AFTER);
    };
    this.user = server.user();
    drafts.forgetOld().catch(() => {});
    const follow = () => this.follow();
    this.subscriptions = [
      grid.subscribe(grid.EVENTS.ACTIVE_VIEWPORT_ID_CHANGED, follow),
      grid.subscribe(grid.EVENTS.GRID_STATE_CHANGED, follow),
      viewports.subscribe(viewports.EVENTS.VIEWPORT_DATA_CHANGED, follow),
      segmentationService.subscribe(segmentationService.EVENTS.SEGMENTATION_DATA_MODIFIED, drawn),
      segmentationService.subscribe(segmentationService.EVENTS.SEGMENTATION_MODIFIED, changed),
      segmentationService.subscribe(segmentationService.EVENTS.SEGMENTATION_REMOVED, follow),
    ];
    this.follow();
  }

  stop() {
    clearTimeout(this.drafting);
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

  // The viewport that is used, and the series whose label is drawn there.
  active() {
    const viewportId = this.viewer.services.viewportGridService.getActiveViewportId();
    return { viewportId, displaySet: this._labelledIn(viewportId) };
  }

  _imageIn(viewportId) {
    const { viewportGridService: grid, displaySetService } = this.viewer.services;
    return (grid.getDisplaySetsUIDsForViewport(viewportId) || [])
      .map(uid => displaySetService.getDisplaySetByUID(uid)).find(isImage);
  }

  // Phases that stand side by side share one label, and a subtraction has that of its phase.
  _labelledIn(viewportId) {
    const shown = this._imageIn(viewportId);
    const series = shown && labelledSeries(shown, this.viewer.protocol);
    return series && this.viewer.services.displaySetService.getDisplaySetsForSeries(series).find(isImage);
  }

  // Keeps what is not saved in this browser. Where it keeps nothing, as in a private window, work goes on without.
  async keepDrafts() {
    const user = await this.user;
    const { strokes } = this;
    for (const label of this.known.values()) {
      if (label.isThere && label.isChanged) {
        label.hasDraft = await drafts.keep(user, label.series, label.draft()).then(() => true, () => false);
      } else if (label.isThere && label.hasDraft && !label.draftFound) {
        await drafts.forget(user, label.series).catch(() => {});
        label.hasDraft = false;
      }
    }
    this.keptStrokes = strokes;
    this.changed();
  }

  // Whether all that is drawn of a label and not saved is kept in this browser.
  isKept(label) {
    return Boolean(label.hasDraft && this.keptStrokes === this.strokes);
  }

  // Takes the draft that was found when a label was opened, or leaves it for good.
  async settleDraft(label, isTaken) {
    const { draftFound } = label;
    label.draftFound = undefined;
    if (isTaken) {
      label.restoreDraft(draftFound);
    } else {
      await drafts.forget(await this.user, label.series).catch(() => {});
    }
    this.changed();
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
    const { cornerstoneViewportService: viewports, viewportGridService: grid } = this.viewer.services;
    if (!displaySet || !viewports.getCornerstoneViewport(viewportId)) {
      return;
    }
    try {
      const label = await this._open(displaySet);
      for (const id of grid.getState().viewports.keys()) {
        const image = this._imageIn(id);
        if (image) {
          this.viewer.keepWindow(id, image);
        }
        // A viewport of another phase takes no label: the viewer draws it only over the series' own images.
        if (viewports.getCornerstoneViewport(id) && image === displaySet) {
          await label.showIn(id);
        }
      }
      this._useItsViewport(label, viewportId);
      this.problem = '';
    } catch (error) {
      this.problem = `The saved label is not shown: ${error.message}`;
    }
    this.changed();
  }

  // Of phases side by side, the one whose label is drawn is used first: only there it is seen.
  _useItsViewport(label, viewportId) {
    const { viewportGridService: grid } = this.viewer.services;
    const own = [...grid.getState().viewports.keys()].find(id => this._imageIn(id) === label.displaySet);
    if (own && own !== viewportId && !label.wasUsed) {
      grid.setActiveViewportId(own);
    }
    label.wasUsed = true;
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
    label.versions = versions.map(one => one.version);
    const names = { ...(saved?.labels || {}) };
    own.flatMap(model => Object.keys(model.labels)).forEach(name => {
      names[name] ??= 1 + Math.max(0, ...Object.values(names));
    });
    await label.create(names);
    if (saved) {
      const volume = await readNrrd(await server.labelOf(label.series, saved.version));
      label.load(volume, { version: saved.version, ofClass: saved.class || '' });
    }
    label.draftFound = await drafts.find(await this.user, label.series).catch(() => undefined);
    label.hasDraft = Boolean(label.draftFound);
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
