// Candidates: what a detector found, as a list with scores, sizes and sides. A press jumps there; what a reader keeps or
// rejects is stored, and shown again when the candidate is found again.
import { button, element } from './elements.js';
import * as server from './server.js';

const distance = (one, other) => Math.hypot(...one.map((value, axis) => value - other[axis]));

export class Candidates {
  constructor(viewer) {
    this.viewer = viewer;
    this.place = element('ol', { className: 'breastkit-candidates', 'aria-label': 'Candidates' });
    this.trust = element('p', { className: 'breastkit-note' });
    this.shown = [];
  }

  // Lists boxes as the server answers with them: center and size in millimetres (LPS), the likeliest first.
  async show(label, model, { box = [], label_scores: scores = [], lesions = [], sides = [] }) {
    this.label = label;
    this.model = model;
    this.shown = box.map(([x, y, z, ...size], at) => ({
      center: [x, y, z], size, score: scores[at], name: lesions[at]?.name || `candidate ${at + 1}`, side: sides[at] || '',
    }));
    this.chosen = 0;
    this._take(await server.verdictsOf(label.series));
  }

  clear() {
    this.shown = [];
    this.trust.textContent = '';
    this._render();
  }

  // Says something of the candidate that is chosen, and turns to the next.
  async say(verdict) {
    const { center, size, score } = this.shown[this.chosen] || {};
    if (!center) {
      return;
    }
    try {
      this._take(await server.sayOf(this.label.series, { model: this.model, center, size, score, verdict }));
    } catch (error) {
      this.trust.textContent = error.message;
      return;
    }
    if (verdict === 'reject') {
      this.label.erase({ center, size }, this.model);
    }
    this.choose(Math.min(this.chosen + 1, this.shown.length - 1));
  }

  choose(at) {
    this.chosen = at;
    this._render();
    if (this.shown[at]) {
      this.viewer.showPlace(this.shown[at].center);
    }
  }

  _take({ candidates, by_model: counts }) {
    this.shown.forEach(one => {
      const isHere = other => other.model === this.model
        && distance(one.center, other.center) <= Math.max(1, Math.min(...one.size, ...other.size) / 2);
      one.verdict = candidates.find(isHere)?.verdict;
    });
    const { keep = 0, reject = 0 } = counts[this.model] || {};
    this.trust.textContent = keep + reject
      ? `Of ${keep + reject} candidates of ${this.model} that were looked at here, ${keep} were kept.` : '';
    this._render();
  }

  _render() {
    this.place.replaceChildren(...this.shown.map((one, at) => this._row(one, at)));
  }

  _row({ center, size, score, name, side, verdict }, at) {
    const millimetres = size.map(one => one.toFixed(0)).join(' × ');
    const told = [`${name}: score ${score.toFixed(2)}`, `${millimetres} mm`, side].filter(Boolean).join(', ');
    const judged = (text, kind) => button(text, () => {
      this.chosen = at;
      this.say(kind);
    }, { 'aria-pressed': verdict === kind, 'aria-label': `${text} ${name}` });
    return element('li', { 'aria-current': at === this.chosen }, button(told, () => this.choose(at)),
      element('div', { className: 'breastkit-buttons' }, judged('Keep', 'keep'), judged('Reject', 'reject')));
  }
}
