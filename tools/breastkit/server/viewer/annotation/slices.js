// A label map of the viewer, slice by slice as it is shown, and as one array that has its place in the patient.

const scaled = (vector, factor) => Array.from(vector, one => one * factor);
const minus = (one, other) => Array.from(one, (value, axis) => value - other[axis]);
const dot = (one, other) => Array.from(one).reduce((sum, value, axis) => sum + value * other[axis], 0);
const cross = (x, y) => [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];

// The slices of a label map, in the order they are shown; `voxels` is what is drawn, and writing there draws.
export const slicesOf = (cornerstone, labelmap) =>
  labelmap.imageIds.map(imageId => {
    const image = cornerstone.cache.getImage(imageId);
    const plane = cornerstone.metaData.get('imagePlaneModule', image.referencedImageId) || {};
    const { modality } = cornerstone.metaData.get('generalSeriesModule', image.referencedImageId) || {};
    const { columns, rows } = image;
    // Ultrasound has no place in the patient, and the server counts its pixels.
    const hasPlace = modality !== 'US' && plane.imagePositionPatient && plane.rowCosines;
    return { columns, rows, plane: hasPlace ? plane : undefined, voxels: image.voxelManager.getScalarData() };
  });

// Where slices lie: millimetres, to the patient's left, back and head.
export const placeOf = slices => {
  const { plane } = slices[0];
  if (!plane) {
    return { origin: [0, 0, 0], directions: [[1, 0, 0], [0, 1, 0], [0, 0, 1]] };
  }
  const { rowCosines: x, columnCosines: y, imagePositionPatient: first } = plane;
  const last = slices[slices.length - 1].plane.imagePositionPatient;
  const step = slices.length > 1
    ? scaled(minus(last, first), 1 / (slices.length - 1))
    : scaled(cross(x, y), plane.sliceThickness || 1);
  return {
    origin: Array.from(first),
    directions: [scaled(x, plane.columnPixelSpacing), scaled(y, plane.rowPixelSpacing), step],
  };
};

// The voxel [column, row, slice] of a place on an image of a series, as the server counts it: slices that have a place in
// the patient along their normal, others in the order they are shown.
export const voxelOf = (cornerstone, imageIds, imageId, world) => {
  const [column, row] = cornerstone.utilities.worldToImageCoords(imageId, world).map(Math.round);
  const { modality } = cornerstone.metaData.get('generalSeriesModule', imageId) || {};
  const plane = one => cornerstone.metaData.get('imagePlaneModule', one) || {};
  const { imagePositionPatient: here, rowCosines: x, columnCosines: y } = plane(imageId);
  if (modality === 'US' || !here || !x) {
    return [column, row, imageIds.indexOf(imageId)];
  }
  const along = one => dot(plane(one).imagePositionPatient, cross(x, y));
  return [column, row, imageIds.filter(one => along(one) < along(imageId)).length];
};

// All that is drawn as one array, with its place.
export const asVolume = slices => {
  const [{ columns, rows }] = slices;
  const voxels = new Uint8Array(columns * rows * slices.length);
  slices.forEach((slice, position) => voxels.set(slice.voxels, position * columns * rows));
  return { sizes: [columns, rows, slices.length], ...placeOf(slices), voxels };
};

// For each slice the part of a volume that lies there; the server's order need not be the one that is shown.
export const partsOf = (volume, slices) => {
  const { sizes: [columns, rows, count], origin, directions: [, , step], voxels } = volume;
  if (columns !== slices[0].columns || rows !== slices[0].rows || count !== slices.length) {
    throw new Error('The label is of another size than the series that is shown; open its own series.');
  }
  return slices.map(({ plane }, position) => {
    const at = plane && count > 1
      ? Math.round(dot(minus(plane.imagePositionPatient, origin), step) / dot(step, step))
      : position;
    return voxels.subarray(at * columns * rows, (at + 1) * columns * rows);
  });
};

// How many voxels of each number there are, and the slice that shows most of it.
export const countsOf = slices => {
  const found = new Map();
  slices.forEach(({ voxels }, position) => {
    const here = new Map();
    voxels.forEach(number => number && here.set(number, (here.get(number) || 0) + 1));
    here.forEach((count, number) => {
      const { voxels: before = 0, most = 0, slice = position } = found.get(number) || {};
      found.set(number, {
        voxels: before + count, most: Math.max(most, count), slice: count > most ? position : slice,
      });
    });
  });
  return found;
};

// Tells for each pixel of a slice whether it lies in a box: center in millimetres, size along the axes of the image.
export const insideBox = (slices, { center, size }) => {
  const { directions } = placeOf(slices);
  const axes = directions.map(one => scaled(one, 1 / Math.hypot(...one)));
  const steps = directions.map(one => Math.hypot(...one));
  return slices.map(({ plane, columns }) => {
    const corner = axes.map(axis => dot(minus(plane.imagePositionPatient, center), axis));
    const isIn = (place, axis) => Math.abs(place) <= size[axis] / 2 + steps[axis] / 2;
    const isHere = isIn(corner[2], 2);
    return at => isHere && isIn(corner[0] + (at % columns) * steps[0], 0)
      && isIn(corner[1] + Math.floor(at / columns) * steps[1], 1);
  });
};
