// Keys for what a reader does a hundred times; "?" lists them. Those of the viewer's own stay as they are.
import { button, element } from './elements.js';

export class Hotkeys {
  // Of pairs: key, what it does in words, what it does.
  constructor(keys) {
    this.actions = new Map(keys.map(([key, , act]) => [key, act]));
    this.actions.set('?', () => this.toggle());
    const rows = [...keys, ['?', 'Show or hide this list']].map(([key, text]) =>
      element('tr', {}, element('td', {}, element('kbd', {}, key)), element('td', {}, text)));
    this.help = element('dialog', { className: 'breastkit-keys', 'aria-label': 'Keys' }, element('h2', {}, 'Keys'),
      element('table', {}, ...rows), element('p', { className: 'breastkit-note' },
        'A double click shows one series of several, and again all of them.'), button('Close', () => this.toggle()));
    this.listener = event => this._pressed(event);
  }

  start() {
    document.body.append(this.help);
    window.addEventListener('keydown', this.listener, { capture: true });
  }

  stop() {
    window.removeEventListener('keydown', this.listener, { capture: true });
    this.help.remove();
  }

  toggle() {
    if (this.help.open) {
      this.help.close();
    } else {
      this.help.showModal();
    }
  }

  // Before the viewer hears of it, so that a key does one thing; what is typed into a field is text.
  _pressed(event) {
    const name = event.ctrlKey || event.metaKey ? `Ctrl+${event.key.toUpperCase()}` : event.key;
    const isTyped = event.target.closest?.('input, select, textarea, [contenteditable=true]');
    const act = this.actions.get(name);
    if (!act || isTyped || event.altKey || (this.help.open && name !== '?')) {
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
    act();
  }
}
