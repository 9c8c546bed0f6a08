// What the panel shows, kept for as long as the mode is open: the labels, and the sections that work on them.
import { element } from './elements.js';
import { Labels } from './labels.js';
import { ModelsSection } from './models_section.js';
import { NextSection } from './next_section.js';
import { OutlineSection } from './outline_section.js';
import { PromptsSection } from './prompts_section.js';
import { Viewer } from './viewer.js';

export class Annotation {
  constructor(managers) {
    const viewer = new Viewer(managers);
    this.labels = new Labels(viewer);
    viewer.labels = this.labels;
    this.models = new ModelsSection(viewer);
    this.outline = new OutlineSection(viewer);
    this.prompts = new PromptsSection(viewer);
    this.next = new NextSection(viewer);
    this.sections = [this.models, this.prompts, this.outline, this.next];
    const notice = element('p', { className: 'breastkit-note' }, 'For research, not for diagnosis.');
    this.place = element('div', { className: 'breastkit-panel' }, ...this.sections.map(one => one.place), notice);
    this.warn = event => this.labels.unsaved.length && event.preventDefault();
  }

  start() {
    window.addEventListener('beforeunload', this.warn);
    this.labels.listen(() => this.render());
    this.labels.onSaved = () => this.next.count();
    this.labels.start();
    this.prompts.start();
    // Nothing can be pressed before there is something to work on.
    this.render();
    this.next.begin();
  }

  stop() {
    window.removeEventListener('beforeunload', this.warn);
    this.labels.stop();
    this.prompts.stop();
  }

  render() {
    this.sections.forEach(section =>
      Promise.resolve(section.render()).catch(error => section.status.say(error.message, 'error')));
  }
}
