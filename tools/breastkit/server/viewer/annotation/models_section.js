// Models: run one on the series that is shown; what it finds becomes segments of the label.
import { Candidates } from './candidates.js';
import { button, choice, element, offer, Status } from './elements.js';
import { fitting } from './labels.js';
import { readNrrd } from './nrrd.js';
import * as server from './server.js';

export class ModelsSection {
  constructor(viewer) {
    this.viewer = viewer;
    this.status = new Status();
    this.candidates = new Candidates(viewer);
    this.model = choice('Model', () => this.render());
    this.about = element('p', { className: 'breastkit-note' });
    this.runButton = button('Run', () => this.run());
    this.question = element('div', { className: 'breastkit-question', hidden: true });
    this.place = element('section', { 'aria-label': 'Models' }, element('h2', {}, 'Models'),
      this.model.row, this.about, element('div', { className: 'breastkit-buttons' }, this.runButton), this.question,
      this.status.place, this.candidates.place, this.candidates.trust);
  }

  async render() {
    const { displaySet } = this.viewer.labels.active();
    const { models } = await this.viewer.labels.information();
    this.offered = displaySet ? fitting(models, displaySet.Modality) : [];
    offer(this.model.select, this.offered.map(one => [one.name, one.name]));
    this.about.textContent = this.chosen?.description || 'No model reads what is shown.';
    this.runButton.disabled = this.isBusy || !this.chosen || !this.viewer.labels.shown;
  }

  get chosen() {
    return this.offered?.find(one => one.name === this.model.select.value);
  }

  async run() {
    const label = this.viewer.labels.shown;
    const model = this.chosen;
    if (this.isBusy || !label || !model) {
      return;
    }
    this.isBusy = true;
    this.render();
    this.candidates.clear();
    await this.status.during(`${model.name} is running, or waits for its turn …`, async () => {
      const { says, mask } = await server.run(model.name, label.series);
      if (says.box) {
        await this.candidates.show(label, model.name, says);
      }
      return mask ? this._draw(label, model, await readNrrd(mask)) : this._list(model, says);
    });
    this.isBusy = false;
    this.render();
  }

  async _draw(label, model, volume) {
    const numbers = new Set(volume.voxels);
    const found = Object.entries(model.labels).filter(([, number]) => numbers.has(number));
    if (!found.length) {
      return `${model.name} found nothing here; the label is as it was.`;
    }
    const counts = label.counts();
    const there = found.map(([name]) => name).filter(name => counts.has(label.numberOf(name)));
    const how = there.length ? await this._ask(there) : 'add';
    if (how === 'discard') {
      return `What ${model.name} found was not taken; the label is as it was.`;
    }
    const nameOf = name => (how === 'add' ? label.freeName(name) : name);
    const targets = new Map(found.map(([name, number]) => [number, label.segmentFor(nameOf(name))]));
    const replaced = how === 'replace' ? [...targets.values()] : [];
    const drawn = label.add(volume, targets, { replaced, model: model.name });
    if (!drawn.size) {
      return `${model.name} found only what is drawn already; the label is as it was.`;
    }
    this._show(label, drawn);
    const named = label.segments().filter(one => drawn.has(one.number));
    const parts = named.map(({ name, number }) => `${name} (${label.amount(drawn.get(number))})`);
    return `${model.name} drew ${parts.join(' and ')}; not saved yet.`;
  }

  // Turns to the slice that shows most of what was found, and chooses its segment to be corrected.
  _show(label, drawn) {
    const [target] = drawn.keys();
    label.choose(target);
    this.viewer.showSlice(label.counts().get(target).slice);
  }

  // Something of the name is drawn already: it is never written over unasked.
  _ask(names) {
    return new Promise(resolve => {
      const answer = how => () => {
        this.question.hidden = true;
        this.question.replaceChildren();
        resolve(how);
      };
      const text = names.map(name => `“${name}”`).join(' and ');
      const choices = [
        button('Add beside it', answer('add')), button('Replace it', answer('replace')),
        button('Discard', answer('discard')),
      ];
      this.question.replaceChildren(element('p', {}, `${text} is drawn already.`),
        element('div', { className: 'breastkit-buttons' }, ...choices));
      this.question.hidden = false;
      choices[0].focus();
    });
  }

  _list(model, says) {
    const count = says.box?.length || 0;
    return count ? `${model.name} found ${count} candidates, the likeliest first.` : `${model.name} found nothing here.`;
  }
}
