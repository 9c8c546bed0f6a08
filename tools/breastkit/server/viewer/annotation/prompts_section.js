// Point at it: clicks that add and remove, and a box; a model outlines what they mean.
import { button, choice, element, offer, Status } from './elements.js';
import { fitting } from './labels.js';
import { readNrrd } from './nrrd.js';
import * as server from './server.js';
import { voxelOf } from './slices.js';

// What each button draws with: tools of Cornerstone under names of ours, so that nothing counts them as measurements.
const TOOLS = {
  Add: { name: 'BreastkitAdd', of: 'Probe', kind: 'foreground', colour: 'rgb(90, 220, 120)' },
  Remove: { name: 'BreastkitRemove', of: 'Probe', kind: 'background', colour: 'rgb(255, 110, 100)' },
  Box: { name: 'BreastkitBox', of: 'RectangleROI', kind: 'roi', colour: 'rgb(90, 206, 230)' },
};

export class PromptsSection {
  constructor(viewer) {
    this.viewer = viewer;
    this.status = new Status();
    // What was pointed at, by label: a series has its own.
    this.known = new Map();
    this.model = choice('Model', () => this.render());
    this.tools = Object.fromEntries(Object.keys(TOOLS).map(name => [name, button(name, () => this.take(name))]));
    this.undoButton = button('Undo click', () => this.undo());
    this.clearButton = button('Clear clicks', () => this.clear());
    const buttons = (...all) => element('div', { className: 'breastkit-buttons' }, ...all);
    this.place = element('section', { 'aria-label': 'Point' }, element('h2', {}, 'Point at it'), this.model.row,
      buttons(...Object.values(this.tools)), buttons(this.undoButton, this.clearButton), this.status.place);
  }

  async render() {
    const { displaySet } = this.viewer.labels.active();
    const { models } = await this.viewer.labels.information();
    this.offered = (displaySet ? fitting(models, displaySet.Modality) : []).filter(one => one.type === 'deepedit');
    offer(this.model.select, this.offered.map(one => [one.name, one.name]));
    this.place.hidden = !this.offered.length;
    const label = this.viewer.labels.shown;
    Object.values(this.tools).forEach(one => { one.disabled = !label; });
    const isEmpty = !label || !this._given(label).prompts.length;
    this.undoButton.disabled = isEmpty;
    this.clearButton.disabled = isEmpty;
  }

  start() {
    const { cornerstone, tools } = this.viewer;
    this.follow = event => this._drawn(event.detail.annotation);
    cornerstone.eventTarget.addEventListener(tools.Enums.Events.ANNOTATION_COMPLETED, this.follow);
  }

  stop() {
    const { cornerstone, tools } = this.viewer;
    cornerstone.eventTarget.removeEventListener(tools.Enums.Events.ANNOTATION_COMPLETED, this.follow);
    this.known.clear();
  }

  get chosen() {
    return this.offered?.find(one => one.name === this.model.select.value);
  }

  // Chooses what the next clicks mean, or lays it aside.
  take(name) {
    this.tool = this.tool === name ? undefined : name;
    this.viewer.offerTools(Object.values(TOOLS));
    this.viewer.run('setToolActiveToolbar', { toolName: TOOLS[this.tool]?.name || 'WindowLevel' });
    Object.entries(this.tools).forEach(([one, shown]) => shown.setAttribute('aria-pressed', one === this.tool));
  }

  async undo() {
    const label = this.viewer.labels.shown;
    const { prompts } = this._given(label);
    this._forget(prompts.splice(-1));
    await this._answer(label);
  }

  // Takes the marks away; what is outlined stays.
  clear() {
    const label = this.viewer.labels.shown;
    this._forget(this._given(label).prompts);
    this.known.delete(label);
    this.status.say('The clicks are gone; the outline stays.', 'done');
    this.render();
  }

  _given(label) {
    if (!this.known.has(label)) {
      this.known.set(label, { prompts: [] });
    }
    return this.known.get(label);
  }

  _forget(prompts) {
    prompts.forEach(({ mark }) => this.viewer.tools.annotation.state.removeAnnotation(mark));
    this.viewer.viewport?.render();
  }

  async _drawn({ annotationUID, metadata, data }) {
    const [name, { kind }] = Object.entries(TOOLS).find(([, one]) => one.name === metadata.toolName) || [undefined, {}];
    const label = this.viewer.labels.shown;
    if (!name || !label) {
      return;
    }
    this.viewer.tools.annotation.config.style.setAnnotationStyles(annotationUID, { color: TOOLS[name].colour });
    const voxels = data.handles.points.map(point =>
      voxelOf(this.viewer.cornerstone, label.displaySet.imageIds, metadata.referencedImageId, point));
    const { prompts } = this._given(label);
    if (kind === 'roi') {
      this._forget(prompts.filter(one => one.kind === 'roi'));
      prompts.splice(0, prompts.length, ...prompts.filter(one => one.kind !== 'roi'));
    }
    prompts.push({ kind, voxels, mark: annotationUID });
    await this._answer(label);
  }

  // Asks for an answer to all that was pointed at; whatever is added meanwhile is asked for right after.
  async _answer(label) {
    const given = this._given(label);
    if (given.isAsking) {
      given.isStale = true;
      return;
    }
    given.isAsking = true;
    do {
      given.isStale = false;
      await this.status.during('Outlining …', () => this._outline(label, given));
    } while (given.isStale);
    given.isAsking = false;
    this.render();
  }

  async _outline(label, given) {
    const model = this.chosen;
    const prompts = [...given.prompts];
    given.before ??= label.state();
    if (!prompts.length) {
      label.restore(given.before);
      this.known.delete(label);
      return 'All clicks are undone; the label is as it was before them.';
    }
    const { mask } = await server.run(model.name, label.series, sent(prompts)).catch(error => {
      // What cannot be followed is not kept, so that the next click is not refused for it.
      this._forget(given.prompts.splice(prompts.length - 1, 1));
      throw error;
    });
    const [[name, number]] = Object.entries(model.labels);
    given.target ??= label.segmentFor(name);
    const drawn = label.add(await readNrrd(mask), new Map([[number, given.target]]),
      { replaced: [given.target], model: model.name });
    label.choose(given.target);
    const count = drawn.get(given.target) || 0;
    return `${name}: ${count} voxels after ${prompts.length} ${prompts.length === 1 ? 'prompt' : 'prompts'}; not saved yet.`;
  }
}

// As MONAI Label's clients send what was pointed at.
const sent = prompts => {
  const points = kind => prompts.filter(one => one.kind === kind).flatMap(one => one.voxels);
  const box = points('roi');
  const roi = [0, 1, 2].flatMap(axis => {
    const along = box.map(voxel => voxel[axis]);
    return [Math.min(...along), Math.max(...along)];
  });
  return { foreground: points('foreground'), background: points('background'), ...(box.length ? { roi } : {}) };
};
