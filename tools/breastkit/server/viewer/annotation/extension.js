// The extension: one panel, beside those that the viewer has.
import { Annotation } from './annotation.js';
import { panelOf } from './elements.js';
import { protocols, register } from './layouts.js';

// That of the mode that is open. The panel comes and goes with its tab; what is drawn must not.
let annotation;

const fill = managers => place => {
  if (!annotation) {
    annotation = new Annotation(managers);
    annotation.start();
  }
  place.replaceChildren(annotation.place);
};

export default {
  id: 'breastkit',

  preRegistration: ({ servicesManager }) => register(servicesManager.services),

  getHangingProtocolModule: () => protocols,

  getPanelModule: managers => [
    {
      name: 'annotation',
      iconName: 'tab-segmentation',
      iconLabel: 'Annotate',
      label: 'Annotate',
      component: panelOf(fill(managers)),
    },
  ],

  onModeExit() {
    annotation?.stop();
    annotation = undefined;
  },
};
