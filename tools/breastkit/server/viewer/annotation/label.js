// The label of one series: its segments, what is drawn of them, and whether all of that is saved.
import { asVolume, countsOf, insideBox, partsOf, placeOf, slicesOf } from './slices.js';

const BY_HAND = [[44, 160, 144], [31, 119, 180], [188, 189, 34], [148, 103, 189], [227, 119, 194], [140, 86, 75]];
const DIFFERENCE = [
  { label: 'only in that version', colour: [230, 60, 60, 255] },
  { label: 'only here', colour: [60, 200, 90, 255] },
  { label: 'another segment here', colour: [240, 200, 60, 255] },
];
const LARGEST_NUMBER = 255;

export class Label {
  // Of a display set of the viewer; `colours` are those of the models' labels, by name.
  constructor(viewer, displaySet, colours) {
    this.viewer = viewer;
    this.displaySet = displaySet;
    this.series = displaySet.SeriesInstanceUID;
    this.id = `label of ${this.series}`;
    this.differenceId = `difference of ${this.series}`;
    this.versions = [];
    this.colours = colours;
    this.version = 0;
    this.ofClass = '';
    // Which model drew a segment first, by its number.
    this.drawnBy = new Map();
    // What it looked like then.
    this.untouched = new Map();
  }

  // Makes the empty label, with segments of these names by number.
  async create(names) {
    const { segmentationService } = this.viewer.services;
    const segments = Object.fromEntries(Object.entries(names).map(([name, number], position) =>
      [number, { segmentIndex: number, label: name, active: position === 0 }]));
    const label = `Label of ${this.displaySet.SeriesDescription || this.displaySet.Modality}`;
    await segmentationService.createLabelmapForDisplaySet(this.displaySet, { segmentationId: this.id, label, segments });
    this.saved(0, this.state());
  }

  // Whether it is in the viewer still: its other panel can remove it.
  get isThere() {
    return Boolean(this.isLoaded && this.viewer.services.segmentationService.getSegmentation(this.id));
  }

  // What can be lost: the voxels, and the class.
  state() {
    return { slices: this.slices().map(({ voxels }) => Uint8Array.from(voxels)), ofClass: this.ofClass };
  }

  // The label is saved as it was in a state; what was drawn meanwhile is not.
  saved(version, state) {
    this.version = version;
    if (version && !this.versions.includes(version)) {
      this.versions.push(version);
    }
    this.savedState = state;
  }

  get isChanged() {
    const { slices, ofClass } = this.savedState;
    const differs = ({ voxels }, position) => voxels.some((number, at) => number !== slices[position][at]);
    return this.ofClass !== ofClass || this.slices().some(differs);
  }

  // Shows the label in a viewport, to be drawn on there.
  async showIn(viewportId) {
    const { segmentationService } = this.viewer.services;
    await this._represent(viewportId, this.id);
    segmentationService.setActiveSegmentation(viewportId, this.id);
    this.segments().forEach(({ number, name }) =>
      segmentationService.setSegmentColor(viewportId, this.id, number, this.colourOf(name, number)));
  }

  async _represent(viewportId, segmentationId) {
    const { segmentationService } = this.viewer.services;
    const type = this.viewer.tools.Enums.SegmentationRepresentations.Labelmap;
    if (!segmentationService.getSegmentationRepresentations(viewportId, { segmentationId }).length) {
      await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId, type });
    }
  }

  segments() {
    const { segments = {} } = this.viewer.services.segmentationService.getSegmentation(this.id) || {};
    return Object.values(segments).filter(Boolean)
      .map(({ segmentIndex, label, active }) => ({ number: segmentIndex, name: label, isChosen: Boolean(active) }));
  }

  // A name has one colour, whenever and wherever it is shown; further ones of a kind are told apart.
  colourOf(name, number) {
    const own = this.colours[name];
    return [...(own || BY_HAND[number % BY_HAND.length]), 255];
  }

  numberOf(name) {
    return this.segments().find(one => one.name === name)?.number;
  }

  // A name like this one under which nothing is drawn yet: "lesion", "lesion 2", …
  freeName(name) {
    const counts = this.counts();
    const isFree = one => !counts.has(this.numberOf(one));
    for (let number = 1; ; number += 1) {
      const one = number === 1 ? name : `${name} ${number}`;
      if (isFree(one)) {
        return one;
      }
    }
  }

  // The number of the segment of a name, which is made where it is missing.
  segmentFor(name) {
    const known = this.numberOf(name);
    if (known !== undefined) {
      return known;
    }
    const taken = new Set(this.segments().map(one => one.number));
    const number = Array.from({ length: LARGEST_NUMBER }, (_, at) => at + 1).find(one => !taken.has(one));
    const color = this.colourOf(name, number);
    this.viewer.services.segmentationService.addSegment(this.id, { segmentIndex: number, label: name, color });
    return number;
  }

  choose(number) {
    this.viewer.services.segmentationService.setActiveSegment(this.id, number);
  }

  slices() {
    const { Labelmap } = this.viewer.tools.segmentation.state.getSegmentation(this.id).representationData;
    return slicesOf(this.viewer.cornerstone, Labelmap);
  }

  // Voxels by number of the segment, and the slice that shows most of each.
  counts() {
    return countsOf(this.slices());
  }

  volume() {
    return asVolume(this.slices());
  }

  // How much a number of voxels is, in words.
  amount(voxels) {
    const slices = this.slices();
    const { directions } = placeOf(slices);
    const millilitres = voxels * directions.reduce((product, one) => product * Math.hypot(...one), 1) / 1000;
    return slices[0].plane && slices.length > 1 ? `${voxels} voxels, ${millilitres.toPrecision(3)} ml` : `${voxels} pixels`;
  }

  // Takes the saved label map in place of what is drawn.
  load(volume, { version, ofClass }) {
    const slices = this.slices();
    partsOf(volume, slices).forEach((part, position) => slices[position].voxels.set(part));
    this.ofClass = ofClass;
    this.saved(version, this.state());
    this._redraw();
  }

  // Draws what was drawn in a state, as one step that can be undone.
  restore({ slices }) {
    this._draw(this.slices(), (_, position, at) => slices[position][at]);
  }

  // Draws what a model found as segments, one for each of its labels; `targets` are their numbers here. What covers
  // more than what is found gives way to it, as a breast does to a lesion; smaller segments stay. Returns how many voxels
  // each segment got.
  add(volume, targets, { replaced = [], model }) {
    const slices = this.slices();
    const parts = partsOf(volume, slices);
    const before = this.counts();
    const found = countsOf(parts.map(voxels => ({ voxels })));
    const drawn = new Map();
    this._draw(slices, (number, position, at) => {
      const mine = parts[position][at];
      const target = targets.get(mine);
      const kept = replaced.includes(number) ? 0 : number;
      const isFree = !kept || kept === target || (before.get(kept)?.voxels || 0) > (found.get(mine)?.voxels || 0);
      if (!target || !isFree) {
        return kept;
      }
      drawn.set(target, (drawn.get(target) || 0) + 1);
      return target;
    });
    drawn.forEach((_, target) => {
      this.drawnBy.set(target, model);
      this.untouched.set(target, this._shapeOf(target));
    });
    return drawn;
  }

  // Whether somebody changed what a model drew as a segment.
  isCorrected(number) {
    return this.untouched.get(number) !== this._shapeOf(number);
  }

  // A number that changes when a segment's voxels do.
  _shapeOf(number) {
    let shape = 0;
    this.slices().forEach(({ voxels }, position) => voxels.forEach((one, at) => {
      if (one === number) {
        shape = (Math.imul(shape, 31) + at + position * voxels.length + 1) | 0;
      }
    }));
    return shape;
  }

  // Overlays what differs from a saved version and says how much, in the order of `DIFFERENCE`.
  async compare(viewportId, volume, version) {
    const { segmentationService } = this.viewer.services;
    this.stopComparing();
    const segments = Object.fromEntries(DIFFERENCE.map(({ label }, at) => [at + 1, { segmentIndex: at + 1, label }]));
    await segmentationService.createLabelmapForDisplaySet(this.displaySet,
      { segmentationId: this.differenceId, label: `Difference from version ${version}`, segments });
    const drawn = this.slices();
    const parts = partsOf(volume, drawn);
    const { Labelmap } = this.viewer.tools.segmentation.state.getSegmentation(this.differenceId).representationData;
    const differing = slicesOf(this.viewer.cornerstone, Labelmap);
    differing.forEach(({ voxels }, position) => voxels.set(parts[position].map((before, at) => {
      const now = drawn[position].voxels[at];
      return before === now ? 0 : !now ? 1 : !before ? 2 : 3;
    })));
    await this._represent(viewportId, this.differenceId);
    DIFFERENCE.forEach(({ colour }, at) =>
      segmentationService.setSegmentColor(viewportId, this.differenceId, at + 1, colour));
    // What is drawn next is drawn on the label.
    segmentationService.setActiveSegmentation(viewportId, this.id);
    this.viewer.tools.segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(this.differenceId);
    const counts = countsOf(differing);
    return DIFFERENCE.map((_, at) => counts.get(at + 1)?.voxels || 0);
  }

  stopComparing() {
    const { segmentationService } = this.viewer.services;
    if (segmentationService.getSegmentation(this.differenceId)) {
      segmentationService.remove(this.differenceId);
    }
  }

  // Takes out what a model drew in a box; what somebody drew there stays.
  erase(box, model) {
    const slices = this.slices();
    if (!slices[0].plane) {
      return;
    }
    const inside = insideBox(slices, box);
    this._draw(slices, (number, position, at) =>
      (this.drawnBy.get(number) === model && inside[position](at) ? 0 : number));
  }

  // What is drawn, its segments and class, as a draft keeps it.
  draft() {
    const names = Object.fromEntries(this.segments().map(({ name, number }) => [name, number]));
    return { volume: this.volume(), names, ofClass: this.ofClass, version: this.version };
  }

  // Draws a draft in place of what is there, as one step that can be undone.
  restoreDraft({ volume, names, ofClass }) {
    const slices = this.slices();
    const parts = partsOf(volume, slices);
    const targets = new Map(Object.entries(names).map(([name, number]) => [number, this.segmentFor(name)]));
    this.ofClass = ofClass;
    this._draw(slices, (_, position, at) => targets.get(parts[position][at]) || 0);
  }

  // Changes voxels, as one step that can be undone.
  _draw(slices, numberOf) {
    const steps = [];
    slices.forEach(({ voxels }, position) => {
      const after = Uint8Array.from(voxels, (number, at) => numberOf(number, position, at));
      if (after.some((number, at) => number !== voxels[at])) {
        steps.push({ voxels, before: Uint8Array.from(voxels), after });
      }
    });
    const restoreMemo = isUndone => {
      steps.forEach(({ voxels, before, after }) => voxels.set(isUndone ? before : after));
      this._redraw();
    };
    if (steps.length) {
      restoreMemo(false);
      this.viewer.cornerstone.utilities.HistoryMemo.DefaultHistoryMemo.push({ restoreMemo });
    }
  }

  _redraw() {
    this.viewer.tools.segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(this.id);
  }
}
