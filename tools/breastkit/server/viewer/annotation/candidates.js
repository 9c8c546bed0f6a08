// Candidates: what a detector found, as a list with scores; a press jumps there.
import { button, element } from './elements.js';

export class Candidates {
  constructor(viewer) {
    this.viewer = viewer;
    this.place = element('ol', { className: 'breastkit-candidates', 'aria-label': 'Candidates' });
  }

  // Lists boxes as the server answers with them: center and size in millimetres (LPS), the likeliest first.
  show({ box = [], label_scores: scores = [], lesions = [] }) {
    this.place.replaceChildren(...box.map((one, at) => this._row(one, scores[at], lesions[at]?.name || `candidate ${at + 1}`)));
  }

  clear() {
    this.place.replaceChildren();
  }

  _row([x, y, z, ...size], score, name) {
    const millimetres = size.map(one => one.toFixed(0)).join(' × ');
    const told = `${name}: score ${score.toFixed(2)}, ${millimetres} mm`;
    return element('li', {}, button(told, () => this.viewer.showPlace([x, y, z])));
  }
}
