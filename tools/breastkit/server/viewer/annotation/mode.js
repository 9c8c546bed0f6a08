// The mode "Breast annotation": OHIF's own mode for segmentations, with our panel first and our layouts.
import { load, PROTOCOLS } from './layouts.js';

const ID = 'breastkit-annotation';
const MODALITIES = ['MR', 'US', 'CT'];
const PANEL = 'breastkit.panelModule.annotation';
const LABEL_TOOLS = '@ohif/extension-cornerstone.panelModule.panelSegmentationWithToolsLabelMap';

// Before anything of a study is asked for, as what the server makes of it is among its series then.
const init = ({ studyInstanceUIDs }) => Promise.all(studyInstanceUIDs.map(load));

export default {
  id: ID,

  async modeFactory({ loadModules }) {
    const [{ modeInstance: segmentation }, { modeInstance: basic }] =
      await loadModules(['@ohif/mode-segmentation', '@ohif/mode-basic']);
    const [route] = segmentation.routes;
    const { layoutInstance } = route;
    const props = { ...layoutInstance.props, rightPanels: [PANEL, LABEL_TOOLS] };
    return {
      ...segmentation,
      id: ID,
      routeName: 'annotate',
      displayName: 'Breast annotation',
      hide: false,
      // That of the mode for segmentations turns to its own panel as soon as there is a segmentation.
      onModeEnter: basic.onModeEnter,
      modeModalities: MODALITIES,
      hangingProtocol: PROTOCOLS,
      routes: [{ ...route, path: 'annotate', layoutInstance: { ...layoutInstance, props }, init }],
    };
  },
};
