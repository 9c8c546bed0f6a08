// What the annotation server adds to OHIF's MONAI Label mode: brush, eraser and "Submit label" in its panel, and
// outlines that stay with their series. breastkit.server.viewer.ohif loads it with the viewer and puts the calls into its
// sources.
(() => {
  'use strict';

  // The panel calls its one segmentation so.
  const SEGMENTATION = '1';
  const BRUSHES = { Brush: 'CircularBrush', Eraser: 'CircularEraser' };
  const CLASSES = ['normal', 'benign', 'malignant'];

  const labelmap = () => {
    const found = window.cornerstoneTools.segmentation.state.getSegmentation(SEGMENTATION);
    return found ? found.representationData.Labelmap : undefined;
  };

  const seriesOfLabels = () => {
    const { referencedImageIds } = labelmap() || {};
    return referencedImageIds
      ? window.cornerstone.metaData.get('generalSeriesModule', referencedImageIds[0]).seriesInstanceUID
      : undefined;
  };

  const volumeOfLabels = () => {
    const { volumeId } = labelmap() || {};
    return volumeId ? window.cornerstone.cache.getVolume(volumeId) : undefined;
  };

  const scaled = (vector, factor) => Array.from(vector, one => one * factor);
  const minus = (one, other) => Array.from(one, (value, axis) => value - other[axis]);
  const dot = (one, other) => Array.from(one).reduce((sum, value, axis) => sum + value * other[axis], 0);

  const normalOf = ({ rowCosines: x, columnCosines: y }) =>
    [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];

  // Labels of an image that is shown picture by picture, one array a picture, in the order they are shown.
  const slicesOfLabels = () => {
    const { imageIds } = labelmap();
    return imageIds.map(one => {
      const image = window.cornerstone.cache.getImage(one);
      const plane = window.cornerstone.metaData.get('imagePlaneModule', image.referencedImageId) || {};
      const { modality } = window.cornerstone.metaData.get('generalSeriesModule', image.referencedImageId) || {};
      const { columns, rows } = image;
      const voxels = image.voxelManager.getScalarData();
      return { columns, rows, plane, modality, corner: plane.imagePositionPatient, voxels };
    });
  };

  // Copies of the slices of labels that are shown as a volume.
  const slicesOfVolume = volume => {
    const [columns, rows, count] = volume.dimensions;
    const step = scaled(volume.direction.slice(6, 9), volume.spacing[2]);
    const all = volume.voxelManager.getCompleteScalarDataArray();
    return Array.from({ length: count }, (_, position) => ({
      columns,
      rows,
      corner: Array.from(volume.origin, (value, axis) => value + position * step[axis]),
      voxels: Uint8Array.from(all.slice(position * columns * rows, (position + 1) * columns * rows)),
    }));
  };

  // Where the slices lie: millimetres, to the patient's left, back and head. Ultrasound has no place in the patient, and
  // the server counts its pixels.
  const placeOfSlices = slices => {
    const { plane, modality, corner } = slices[0];
    if (modality === 'US' || !corner || !plane.rowCosines) {
      return { origin: [0, 0, 0], directions: [[1, 0, 0], [0, 1, 0], [0, 0, 1]] };
    }
    const [x, y] = [plane.rowCosines, plane.columnCosines];
    const normal = normalOf(plane);
    const last = slices[slices.length - 1].corner;
    const step = slices.length > 1
      ? scaled(minus(last, corner), 1 / (slices.length - 1))
      : scaled(normal, plane.sliceThickness || 1);
    return {
      origin: Array.from(corner),
      directions: [scaled(x, plane.columnPixelSpacing), scaled(y, plane.rowPixelSpacing), step],
    };
  };

  const labelsAsDrawn = () => {
    const volume = volumeOfLabels();
    if (volume) {
      const [columns, rows, slices] = volume.dimensions;
      return {
        sizes: [columns, rows, slices],
        origin: Array.from(volume.origin),
        directions: [0, 1, 2].map(one => scaled(volume.direction.slice(3 * one, 3 * one + 3), volume.spacing[one])),
        voxels: Uint8Array.from(volume.voxelManager.getCompleteScalarDataArray()),
      };
    }
    const slices = slicesOfLabels();
    const { columns, rows } = slices[0];
    const voxels = new Uint8Array(columns * rows * slices.length);
    slices.forEach((slice, position) => voxels.set(slice.voxels, position * columns * rows));
    return { sizes: [columns, rows, slices.length], ...placeOfSlices(slices), voxels };
  };

  const nrrdOf = async ({ sizes, origin, directions, voxels }) => {
    const header = [
      'NRRD0004',
      'type: uint8',
      'dimension: 3',
      'space: left-posterior-superior',
      `sizes: ${sizes.join(' ')}`,
      `space directions: ${directions.map(one => `(${one.join(',')})`).join(' ')}`,
      'kinds: domain domain domain',
      'encoding: gzip',
      `space origin: (${origin.join(',')})`,
    ];
    const packed = new Blob([voxels]).stream().pipeThrough(new CompressionStream('gzip'));
    return new Blob([`${header.join('\n')}\n\n`, await new Response(packed).blob()]);
  };

  const tell = (panel, message, type) =>
    panel.notification.show({ title: 'MONAI Label', message, type, duration: type === 'error' ? 10000 : 4000 });

  const fitting = (models, displaySet) =>
    Object.keys(models).filter(one => (models[one].dimension === 2) === (displaySet.Modality === 'US'));

  // The segments of the models that read the open image, those of models to run first.
  const segmentsFor = panel => {
    const { initialSegs, data } = panel.state.info;
    const models = fitting(data.models, panel.getActiveViewportInfo().displaySet).map(one => data.models[one]);
    const runs = model => Number(model.type === 'segmentation');
    const names = models.sort((one, other) => runs(other) - runs(one)).flatMap(one => Object.keys(one.labels));
    return [...new Set(names)].map(name => Object.values(initialSegs).find(one => one.label === name)).filter(Boolean);
  };

  const startSegmentation = async panel => {
    const { segmentationService } = panel.props.servicesManager.services;
    const segments = panel.state.info.initialSegs;
    if (labelmap()) {
      segmentationService.remove(SEGMENTATION);
    }
    const config = { label: 'Segmentations', segments };
    await panel.props.commandsManager.runCommand('loadSegmentationsForViewport', {
      segmentations: [{ segmentationId: SEGMENTATION, representation: { type: 'Labelmap' }, config }],
    });
    const { viewport } = panel.getActiveViewportInfo();
    Object.values(segments).forEach(one =>
      segmentationService.setSegmentColor(viewport.viewportId, SEGMENTATION, one.segmentIndex, one.color)
    );
  };

  const submit = async (panel, ofClass) => {
    const { info } = panel.state;
    const labels = labelsAsDrawn();
    const drawn = new Set(labels.voxels);
    const named = Object.values(info.initialSegs)
      .filter(one => drawn.has(one.segmentIndex))
      .map(one => ({ name: one.label, idx: one.segmentIndex }));
    const form = new FormData();
    form.append('params', JSON.stringify({ label_info: named, ...(ofClass ? { class: ofClass } : {}) }));
    form.append('label', await nrrdOf(labels), 'label.nrrd');
    const address = new URL('datastore/label', breastkit.address());
    address.searchParams.set('image', seriesOfLabels());
    const answer = await fetch(address, { method: 'PUT', body: form });
    if (!answer.ok) {
      throw new Error((await answer.json().catch(() => ({}))).detail || `The server answers ${answer.status}.`);
    }
    const response = await panel.client().info();
    panel.setState({ info: { ...info, data: response.data } });
    return (await answer.json()).version;
  };

  // Tools to correct a label and to save it. The panel calls it with React, as a component.
  const LabelTools = ({ react, panel }) => {
    const h = react.createElement;
    const { commandsManager, servicesManager } = panel.props;
    const segments = segmentsFor(panel);
    const [segment, setSegment] = react.useState(segments.length ? segments[0].segmentIndex : 0);
    const [tool, setTool] = react.useState('');
    const [size, setSize] = react.useState(8);
    const [ofClass, setClass] = react.useState('');
    const [saving, setSaving] = react.useState(false);

    react.useEffect(() => {
      if (labelmap()) {
        servicesManager.services.segmentationService.setActiveSegment(SEGMENTATION, segment);
      }
      commandsManager.runCommand('setBrushSize', { value: size, toolNames: Object.values(BRUSHES) });
    }, [segment, size, tool]);
    const choose = name => {
      const next = name === tool ? '' : name;
      commandsManager.runCommand('setToolActiveToolbar', { toolName: BRUSHES[next] || 'WindowLevel' });
      setTool(next);
    };
    const onSubmit = async () => {
      setSaving(true);
      try {
        tell(panel, `Label saved, version ${await submit(panel, ofClass)}`, 'success');
      } catch (error) {
        tell(panel, `The label is not saved: ${error.message}`, 'error');
      } finally {
        setSaving(false);
      }
    };

    const row = (name, control) =>
      h('label', { key: name, style: { display: 'flex', alignItems: 'center', margin: '.4em 0', color: 'white' } },
        h('span', { style: { flex: '0 0 5em' } }, name), control);
    const choice = (name, value, onChange, options) =>
      h('select', {
        className: 'actionInput', 'aria-label': name, value, onChange: event => onChange(event.target.value) },
        options.map(([key, name]) => h('option', { key, value: key }, name)));
    const button = (name, options) =>
      h('button', { ...options, key: name, className: 'actionInput', style: {
        flex: 1, cursor: 'pointer', backgroundColor: options['aria-pressed'] ? '#00a4d9' : 'lightgray' } }, name);
    return h('div', { id: 'breastkitLabelTools', style: { fontSize: 'smaller', padding: '.6em 0' } },
      row('Segment', choice('Segment', segment, one => setSegment(Number(one)),
        segments.map(one => [one.segmentIndex, one.label]))),
      h('div', { style: { display: 'flex', gap: '.5em' } },
        Object.keys(BRUSHES).map(one => button(one, { onClick: () => choose(one), 'aria-pressed': tool === one }))),
      row('Size', h('input', { className: 'actionInput', type: 'number', min: 1, max: 99, value: size,
        onChange: event => setSize(Math.max(1, Number(event.target.value))) })),
      row('Class', choice('Class', ofClass, setClass, [['', 'not said'], ...CLASSES.map(one => [one, one])])),
      h('div', { style: { display: 'flex' } },
        button(saving ? 'Saving …' : 'Submit label', { onClick: onSubmit, disabled: saving })));
  };

  const breastkit = {
    LabelTools,

    // Where the server is: whatever stands before the viewer's own path.
    address: () => `${window.location.href.split('/ohif')[0]}/`,

    // The colour that a model gives a label.
    colourOf: (models, label) => {
      const colour = Object.values(models).map(one => (one.label_colors || {})[label]).find(Boolean);
      return colour && [...colour, 255];
    },

    // Slices of labels as the export of a segmentation numbers them: from the far end of the image's normal, in
    // whatever order they are shown. Otherwise it mirrors what is drawn.
    asExported: slices => {
      const planes = new Map(slices.map(one =>
        [one, window.cornerstone.metaData.get('imagePlaneModule', one.referencedImageId)]));
      const normal = normalOf(planes.get(slices[0]));
      const height = one => dot(planes.get(one).imagePositionPatient, normal);
      return [...slices].sort((one, other) => height(other) - height(one));
    },

    // Models that read the kind of image that is open.
    fitting,

    // Whether what is drawn belongs to the series that is open; connecting once more must not wipe it out.
    hasLabels: panel => seriesOfLabels() === panel.getActiveViewportInfo().displaySet.SeriesInstanceUID,

    // Makes ready for a model's answer; false if another series was opened meanwhile.
    takes: async (panel, response) => {
      const series = new URL(response.config.url).searchParams.get('image');
      if (panel.getActiveViewportInfo().displaySet.SeriesInstanceUID !== series) {
        tell(panel, 'Another series was opened meanwhile; run the model on it.', 'error');
        return false;
      }
      if (seriesOfLabels() !== series) {
        await startSegmentation(panel);
      }
      return true;
    },

    // The labels as one array in the order of a model's answer, whose header says where its slices lie; pictures that
    // are shown one by one keep their labels apart.
    asVolume: header => {
      const step = header.spaceDirections && header.spaceDirections[2];
      const volume = volumeOfLabels();
      const slices = volume ? slicesOfVolume(volume) : slicesOfLabels();
      const ordered = [];
      slices.forEach(({ voxels, corner, modality }, position) => {
        if (slices.length === 1 || modality === 'US' || !corner || !step) {
          ordered[position] = voxels;
          return;
        }
        const along = dot(minus(corner, header.spaceOrigin), step) / dot(step, step);
        ordered[Math.round(along)] = voxels;
      });
      const whole = () => Uint8Array.from(ordered.flatMap(one => Array.from(one)));
      const setWhole = data => {
        let at = 0;
        for (const one of ordered) {
          one.set(data.subarray(at, at + one.length));
          at += one.length;
        }
        if (volume) {
          const all = new Uint8Array(data.length);
          slices.forEach(({ voxels }, position) => all.set(voxels, position * voxels.length));
          volume.voxelManager.setCompleteScalarDataArray(all);
        }
      };
      return { voxelManager: { getCompleteScalarDataArray: whole, setCompleteScalarDataArray: setWhole } };
    },
  };
  window.breastkit = breastkit;
})();
