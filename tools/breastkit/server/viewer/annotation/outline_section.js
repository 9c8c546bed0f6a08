// Outline: choose a segment, draw, and save the label.
import { button, choice, element, offer, Status } from './elements.js';
import { readNrrd, writeNrrd } from './nrrd.js';
import * as server from './server.js';

const TOOLS = { Brush: 'CircularBrush', Eraser: 'CircularEraser' };
const CLASSES = ['normal', 'benign', 'malignant'];
const NOTHING = 'There is nothing here';

export class OutlineSection {
  constructor(viewer) {
    this.viewer = viewer;
    this.status = new Status();
    this.series = element('p', { className: 'breastkit-note' });
    this.segment = choice('Segment', number => viewer.labels.shown?.choose(Number(number)));
    this.tools = Object.fromEntries(Object.keys(TOOLS).map(name => [name, button(name, () => this.draw(name))]));
    this.size = element('input', { type: 'number', min: 1, max: 99, value: 8, 'aria-label': 'Size' });
    this.size.onchange = () => this._resize();
    this.ofClass = choice('Class', value => this._setClass(value));
    this.history = [button('Undo', () => viewer.run('undo')), button('Redo', () => viewer.run('redo'))];
    this.submitButton = button('Submit label', () => this.submit());
    this.emptyButton = button(NOTHING, () => this.submit({ nothing: true }));
    this.compared = choice('Compare', version => this.compare(Number(version)));
    this.draft = element('div', { className: 'breastkit-question', hidden: true });
    offer(this.ofClass.select, [['', 'not said'], ...CLASSES.map(one => [one, one])]);
    const buttons = (...all) => element('div', { className: 'breastkit-buttons' }, ...all);
    this.place = element('section', { 'aria-label': 'Outline' }, element('h2', {}, 'Outline'), this.series,
      this.draft,
      this.segment.row, buttons(...Object.values(this.tools)),
      element('label', { className: 'breastkit-row' }, element('span', {}, 'Size'), this.size),
      buttons(...this.history), this.ofClass.row, buttons(this.submitButton, this.emptyButton), this.compared.row,
      this.status.place);
  }

  render() {
    const { displaySet } = this.viewer.labels.active();
    const label = this.viewer.labels.shown;
    this.series.textContent = label ? this._told(label) : this._whyNot(displaySet);
    this._offerDraft(label);
    const segments = label?.segments() || [];
    const chosen = segments.find(one => one.isChosen);
    offer(this.segment.select, segments.map(one => [one.number, one.name]), chosen?.number);
    const versions = (label?.versions || []).map(one => [one, `with version ${one}`]);
    offer(this.compared.select, [['', 'with no version'], ...versions]);
    this.compared.row.hidden = !versions.length;
    this.ofClass.select.value = label?.ofClass || '';
    [this.submitButton, this.emptyButton, ...Object.values(this.tools)].forEach(one => {
      one.disabled = !label || this.isSaving;
    });
  }

  // Strokes that were not saved when the page went away: nobody but the reader knows whether they are wanted.
  _offerDraft(label) {
    const draft = label?.draftFound;
    this.draft.hidden = !draft;
    if (!draft || this.offered === draft) {
      return;
    }
    this.offered = draft;
    const settle = isTaken => () => this.viewer.labels.settleDraft(label, isTaken);
    const later = draft.version === label.version ? '' : ' A version was saved since.';
    this.draft.replaceChildren(
      element('p', {}, `Strokes of ${new Date(draft.kept).toLocaleString()} were not saved.${later}`),
      element('div', { className: 'breastkit-buttons' }, button('Take them', settle(true)),
        button('Drop them', settle(false))));
  }

  // Overlays what is drawn with a saved version of it.
  async compare(version) {
    const label = this.viewer.labels.shown;
    if (!label || !version) {
      label?.stopComparing();
      return;
    }
    await this.status.during('Comparing …', async () => {
      const volume = await readNrrd(await server.labelOf(label.series, version));
      const differing = await label.compare(this.viewer.labels.active().viewportId, volume, version);
      const [there, here, other] = differing.map(voxels => label.amount(voxels));
      return differing.some(Boolean)
        ? `Red is in version ${version} alone (${there}), green is drawn here alone (${here}), yellow is of another ` +
          `segment here (${other}).`
        : `What is drawn is what version ${version} has.`;
    });
  }

  // Makes brush and eraser larger or smaller.
  grow(factor) {
    this.size.value = Math.min(99, Math.max(1, Math.round(Number(this.size.value) * factor + Math.sign(factor - 1))));
    this._resize();
  }

  // Chooses a tool, or lays it aside.
  draw(name) {
    this.tool = this.tool === name ? undefined : name;
    this.viewer.run('setToolActiveToolbar', { toolName: TOOLS[this.tool] || 'WindowLevel' });
    Object.entries(this.tools).forEach(([one, shown]) => shown.setAttribute('aria-pressed', one === this.tool));
    this._resize();
  }

  async submit({ nothing = false } = {}) {
    const label = this.viewer.labels.shown;
    if (!label || this.isSaving) {
      return;
    }
    const counts = label.counts();
    if (!counts.size && !nothing) {
      this.status.say(`Nothing is drawn; if there is nothing to draw, press “${NOTHING}”.`, 'error');
      return;
    }
    if (counts.size && nothing) {
      this.status.say('Something is drawn: undo or erase it first, or press “Submit label”.', 'error');
      return;
    }
    this.isSaving = true;
    this.render();
    await this.status.during('Saving …', () => this._save(label, counts, nothing));
    this.isSaving = false;
    this.viewer.labels.changed();
    this.viewer.labels.onSaved?.();
  }

  async _save(label, counts, nothing) {
    const drawn = label.segments().filter(one => counts.has(one.number));
    const { models } = await this.viewer.labels.information();
    const madeBy = (number, model = label.drawnBy.get(number)) =>
      (model ? { model, weights: models[model]?.version, corrected: label.isCorrected(number) } : {});
    const params = {
      label_info: drawn.map(({ name, number }) => ({ name, idx: number, ...madeBy(number) })),
      ...(label.ofClass ? { class: label.ofClass } : {}),
      ...(nothing ? { nothing } : {}),
    };
    const state = label.state();
    const { version } = await server.saveLabel(label.series, params, await writeNrrd(label.volume()));
    label.saved(version, state);
    label.draftFound = undefined;
    await this.viewer.labels.keepDrafts();
    const parts = drawn.map(({ name, number }) => `${name} ${label.amount(counts.get(number).voxels)}`);
    return `Saved as version ${version} of ${this._named(label)}: ${parts.join(', ') || 'nothing there'}.`;
  }

  _named({ displaySet }) {
    const { PatientID } = displaySet.instances?.[0] || {};
    return [PatientID, displaySet.SeriesDescription].filter(Boolean).join(', ') || 'this series';
  }

  _told(label) {
    const unsaved = `changes are not saved${this.viewer.labels.isKept(label) ? ', but kept in this browser' : ''}`;
    const state = label.isChanged ? unsaved : label.version ? `version ${label.version} is saved` : 'no label yet';
    return `${this._named(label)}: ${state}.`;
  }

  _whyNot(displaySet) {
    return this.viewer.labels.problem || (displaySet ? 'The label is being opened …' : 'Choose a series to outline.');
  }

  _setClass(value) {
    const label = this.viewer.labels.shown;
    if (label) {
      label.ofClass = value;
      this.viewer.labels.changed();
    }
  }

  _resize() {
    const value = Math.min(99, Math.max(0.5, Number(this.size.value) || 1));
    this.viewer.run('setBrushSize', { value });
  }
}
