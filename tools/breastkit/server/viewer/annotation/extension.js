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

// The viewer looks for the place of every measurement of a report, and fails at one without any, as the volume of a
// breast is: it would draw none of the others either.
const withPlace = ({ measurement }) =>
  measurement.coords.length ? measurement : { ...measurement, coords: [{}] };

export default {
  id: 'breastkit',

  preRegistration: ({ servicesManager }) => register(servicesManager.services),

  getHangingProtocolModule: () => protocols,

  getCustomizationModule: () => [{ name: 'default', value: { onBeforeSRAddMeasurement: withPlace } }],

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
