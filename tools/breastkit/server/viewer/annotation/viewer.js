// What the extension uses of OHIF, by name: its services and commands, and the Cornerstone it draws with.

export class Viewer {
  constructor({ servicesManager, commandsManager, extensionManager }) {
    this.services = servicesManager.services;
    this.commands = commandsManager;
    const { exports } = extensionManager.getModuleEntry('@ohif/extension-cornerstone.utilityModule.common');
    const { cornerstone, cornerstoneTools } = exports.getCornerstoneLibraries();
    this.cornerstone = cornerstone;
    this.tools = cornerstoneTools;
  }

  run(command, options = {}) {
    return this.commands.run(command, options);
  }

  // The hanging protocol that is shown.
  get protocol() {
    return this.services.hangingProtocolService.getState().protocolId;
  }

  // The study that is shown, and its series of ultrasound.
  get shownStudy() {
    const shown = this.services.displaySetService.getActiveDisplaySets();
    const ultrasound = shown.filter(one => one.Modality === 'US').map(one => one.SeriesInstanceUID);
    return { study: shown[0]?.StudyInstanceUID, ultrasound: [...new Set(ultrasound)] };
  }

  get isOneUp() {
    return this.services.viewportGridService.getState().viewports.size === 1;
  }

  // The viewport that is used.
  get viewport() {
    const { viewportGridService, cornerstoneViewportService } = this.services;
    return cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId());
  }

  // Shows a series of MR in one window, that of its middle: those in the headers jump from slice to slice.
  keepWindow(viewportId, { displaySetInstanceUID, imageIds, Modality }) {
    this.windows ??= new Map();
    const shown = this.services.cornerstoneViewportService.getCornerstoneViewport(viewportId);
    if (Modality !== 'MR' || !shown?.setProperties || this.windows.get(viewportId) === displaySetInstanceUID) {
      return;
    }
    const middle = imageIds[Math.floor(imageIds.length / 2)];
    const { windowCenter, windowWidth } = this.cornerstone.metaData.get('voiLutModule', middle) || {};
    const [center, width] = [windowCenter, windowWidth].map(one => Number(Array.isArray(one) ? one[0] : one));
    if (Number.isFinite(center) && width > 0) {
      shown.setProperties({ voiRange: { lower: center - width / 2, upper: center + width / 2 } });
      shown.render();
      this.windows.set(viewportId, displaySetInstanceUID);
    }
  }

  // Makes tools that mark places ready in the viewport that is used: `name` is ours, `of` the one they are like.
  offerTools(all) {
    const { viewportGridService, cornerstoneViewportService } = this.services;
    const viewportId = viewportGridService.getActiveViewportId();
    const { id } = cornerstoneViewportService.getRenderingEngine();
    const group = this.tools.ToolGroupManager.getToolGroupForViewport(viewportId, id);
    all.filter(({ name }) => !group.hasTool(name)).forEach(({ name, of }) =>
      group.addToolInstance(name, of, { getTextLines: () => [] }));
  }

  // Turns to a slice of the series, by its place in the order of the display set.
  showSlice(imageIndex) {
    this.cornerstone.utilities.jumpToSlice(this.viewport.element, { imageIndex });
  }

  // Turns to the slice nearest to a place in the patient (LPS, millimetres).
  showPlace(place) {
    const away = imageId => {
      const { imagePositionPatient: corner, rowCosines: x, columnCosines: y } =
        this.cornerstone.metaData.get('imagePlaneModule', imageId);
      const normal = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];
      return Math.abs(normal.reduce((sum, one, axis) => sum + one * (place[axis] - corner[axis]), 0));
    };
    const all = this.viewport.getImageIds().map(away);
    this.showSlice(all.indexOf(Math.min(...all)));
  }

  // Opens a series of a study in this mode.
  open(study, series) {
    const address = new URL(window.location.href);
    address.search = new URLSearchParams({ StudyInstanceUIDs: study, initialSeriesInstanceUID: series });
    window.location.assign(address);
  }
}
