// View: the phases of the study side by side, or the views of ultrasound.
import { button, element } from './elements.js';
import { layoutOf, PHASES, PROJECTION, SLICES, VIEWS } from './layouts.js';

export class LayoutsSection {
  constructor(viewer) {
    this.viewer = viewer;
    this.phasesButton = button('Phases', () => this.show(PHASES, SLICES));
    this.projectionButton = button('Projection', () => this.show(PHASES, PROJECTION));
    this.viewsButton = button('Views', () => this.show(VIEWS));
    this.oneButton = button('One series', () => viewer.run('toggleOneUp'));
    this.doubts = element('p', { className: 'breastkit-note' });
    this.buttons = [this.phasesButton, this.projectionButton, this.viewsButton, this.oneButton];
    this.place = element('section', { 'aria-label': 'View' }, element('h2', {}, 'View'),
      element('div', { className: 'breastkit-buttons' }, ...this.buttons), this.doubts);
  }

  render() {
    const { study, ultrasound } = this.viewer.shownStudy;
    const { phases, projection, doubts } = layoutOf(study);
    this.phasesButton.hidden = phases.length < 2;
    this.projectionButton.hidden = !projection;
    this.viewsButton.hidden = ultrasound.length < 2;
    this.place.hidden = this.phasesButton.hidden && this.viewsButton.hidden;
    this.oneButton.setAttribute('aria-pressed', this.viewer.isOneUp);
    this.doubts.textContent = phases.length ? doubts.join(' ') : '';
  }

  // Side by side as the study allows it.
  toggle() {
    if (!this.phasesButton.hidden) {
      this.show(PHASES, SLICES);
    } else if (!this.viewsButton.hidden) {
      this.show(VIEWS);
    }
  }

  show(protocolId, stageIndex = 0) {
    this.viewer.run('setHangingProtocol', { protocolId, stageIndex });
  }

  // From slices to the projection and back.
  toggleProjection() {
    if (this.projectionButton.hidden) {
      return;
    }
    const { protocolId, stageIndex } = this.viewer.services.hangingProtocolService.getState();
    const isProjected = protocolId === PHASES && stageIndex === PROJECTION;
    this.show(PHASES, isProjected ? SLICES : PROJECTION);
  }
}
