// What the panel shows, kept for as long as the mode is open: the labels, and the sections that work on them.
import { button, element } from './elements.js';
import { Hotkeys } from './hotkeys.js';
import { Labels } from './labels.js';
import { LayoutsSection } from './layouts_section.js';
import { ModelsSection } from './models_section.js';
import { NextSection } from './next_section.js';
import { OutlineSection } from './outline_section.js';
import { PromptsSection } from './prompts_section.js';
import { Viewer } from './viewer.js';

export class Annotation {
  constructor(managers) {
    const viewer = new Viewer(managers);
    this.viewer = viewer;
    this.labels = new Labels(viewer);
    viewer.labels = this.labels;
    this.layouts = new LayoutsSection(viewer);
    this.models = new ModelsSection(viewer);
    this.outline = new OutlineSection(viewer);
    this.prompts = new PromptsSection(viewer);
    this.next = new NextSection(viewer);
    this.sections = [this.layouts, this.models, this.prompts, this.outline, this.next];
    this.hotkeys = new Hotkeys(this.keys());
    const help = button('Keys (?)', () => this.hotkeys.toggle());
    const notice = element('p', { className: 'breastkit-note' }, 'For research, not for diagnosis.');
    this.place = element('div', { className: 'breastkit-panel' }, ...this.sections.map(one => one.place), help, notice);
    this.warn = event => this.labels.unsaved.length && event.preventDefault();
  }

  keys() {
    const { viewer, layouts, models, outline, next } = this;
    return [
      ['n', 'Next image', () => next.next()],
      ['g', 'Run the model', () => models.run()],
      ['k', 'Keep the candidate', () => models.candidates.say('keep')],
      ['x', 'Reject the candidate', () => models.candidates.say('reject')],
      ['b', 'Brush', () => outline.draw('Brush')],
      ['e', 'Eraser', () => outline.draw('Eraser')],
      ['[', 'Smaller brush', () => outline.grow(0.8)],
      [']', 'Larger brush', () => outline.grow(1.25)],
      ['u', 'Undo (also Ctrl+Z)', () => viewer.run('undo')],
      ['y', 'Redo (also Ctrl+Y)', () => viewer.run('redo')],
      ['s', 'Submit the label', () => outline.submit()],
      ['p', 'Phases side by side', () => layouts.toggle()],
      ['m', 'Maximum projection of the subtraction, and back', () => layouts.toggleProjection()],
    ];
  }

  start() {
    this.hotkeys.start();
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
    this.hotkeys.stop();
    this.labels.stop();
    this.prompts.stop();
  }

  render() {
    this.sections.forEach(section =>
      Promise.resolve(section.render()).catch(error => section.status.say(error.message, 'error')));
  }
}
