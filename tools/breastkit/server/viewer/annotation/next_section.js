// Next: the image to annotate next, and training models on what is saved.
import { button, choice, element, offer, Status } from './elements.js';
import { fitting } from './labels.js';
import * as server from './server.js';

const ASKED_EVERY = 2000;

export class NextSection {
  constructor(viewer) {
    this.viewer = viewer;
    this.status = new Status();
    this.progress = new Status();
    this.strategy = choice('Choose by', () => {});
    this.trainer = choice('Train', () => this.render());
    this.nextButton = button('Next image', () => this.next());
    this.trainButton = button('Update model', () => this.train());
    this.stopButton = button('Stop', () => this.stopTraining(), { hidden: true });
    this.done = element('p', { className: 'breastkit-note' });
    const buttons = (...all) => element('div', { className: 'breastkit-buttons' }, ...all);
    this.place = element('section', { 'aria-label': 'Next' }, element('h2', {}, 'Next'), this.done, this.strategy.row,
      buttons(this.nextButton), this.status.place, this.trainer.row, buttons(this.trainButton, this.stopButton),
      this.progress.place);
  }

  async render() {
    const { displaySet } = this.viewer.labels.active();
    const { strategies, trainers, models } = await this.viewer.labels.information();
    offer(this.strategy.select, Object.keys(strategies).map(name => [name, name]));
    const own = displaySet ? fitting(models, displaySet.Modality).filter(one => one.name in trainers) : [];
    offer(this.trainer.select, own.map(one => [one.name, one.name]));
    this.trainButton.disabled = this.isTraining || !own.length;
  }

  begin() {
    this.count();
    this.watch();
  }

  // Says how far everybody is.
  async count() {
    const { datastore } = await server.info();
    this.done.textContent = `${datastore.completed} of ${datastore.total} images have a label.`;
  }

  async next() {
    if (this.viewer.labels.unsaved.length && !this.leaves) {
      this.leaves = true;
      this.status.say('This label is not saved: submit it first, or press “Next image” again to leave it.', 'error');
      return;
    }
    await this.status.during('Looking for the next image …', async () => {
      const found = await server.nextSample(this.strategy.select.value);
      if (!found.id) {
        return 'All images have a label.';
      }
      this.viewer.open(found.StudyInstanceUID, found.SeriesInstanceUID);
      return `Opening ${found.PatientID || 'the next image'} …`;
    });
  }

  async train() {
    const model = this.trainer.select.value;
    this._trains(true);
    await this.progress.during(`Training of ${model} begins …`, async () => {
      await server.train(model);
      return this._watch();
    });
    this._trains(false);
  }

  // Follows a training that runs already, whoever started it.
  async watch() {
    const state = await server.training();
    if (state.status === 'RUNNING') {
      this._trains(true);
      await this.progress.during('Training …', () => this._watch());
      this._trains(false);
    }
  }

  async stopTraining() {
    await server.stopTraining().catch(error => this.progress.say(error.message, 'error'));
  }

  async _watch() {
    for (;;) {
      const { status, model, says, epoch, total_epochs: total } = await server.training();
      if (status !== 'RUNNING') {
        if (status === 'ERROR') {
          throw new Error(`${model}: ${says}`);
        }
        return `${model}: ${says}`;
      }
      this.progress.say(`${model} is trained: epoch ${epoch} of ${total} …`, 'busy');
      await new Promise(resolve => setTimeout(resolve, ASKED_EVERY));
    }
  }

  _trains(isTraining) {
    this.isTraining = isTraining;
    this.stopButton.hidden = !isTraining;
    this.render();
  }
}
