// Elements of the panel. Text is only ever text: what stands in DICOM headers or comes from the server is no markup.

// Makes an element: properties are set, listeners are those that begin with "on", the rest are attributes.
export const element = (tag, properties = {}, ...content) => {
  const made = document.createElement(tag);
  Object.entries(properties).forEach(([name, value]) => {
    if (name.startsWith('on') || name in made) {
      made[name] = value;
    } else {
      made.setAttribute(name, value);
    }
  });
  made.append(...content);
  return made;
};

export const button = (name, onclick, properties = {}) =>
  element('button', { type: 'button', onclick, ...properties }, name);

// A choice with its name beside it.
export const choice = (name, onchange) => {
  const select = element('select', { onchange: () => onchange(select.value), 'aria-label': name });
  return { select, row: element('label', { className: 'breastkit-row' }, element('span', {}, name), select) };
};

// Fills a choice with pairs of value and text, and keeps what was chosen where it is still there.
export const offer = (select, options, chosen = select.value) => {
  const wanted = options.map(option => option.join('\n')).join('\n');
  if (select.dataset.offered !== wanted) {
    select.replaceChildren(...options.map(([value, text]) => element('option', { value }, text)));
    select.dataset.offered = wanted;
  }
  if (options.some(([value]) => String(value) === String(chosen))) {
    select.value = chosen;
  }
};

// A place for what happens, read out by screen readers.
export class Status {
  constructor() {
    this.place = element('p', { className: 'breastkit-status', role: 'status' });
  }

  say(text, kind = 'note') {
    this.place.textContent = text;
    this.place.dataset.kind = kind;
  }

  // Says what is done while it is done, and in one sentence why it failed.
  async during(text, work) {
    this.say(text, 'busy');
    try {
      this.say(await work(), 'done');
    } catch (error) {
      this.say(error.message, 'error');
    }
  }
}

// A panel of OHIF's that shows elements of ours; `fill` gets the place for them. The viewer's React is not ours to
// import; what it calls an element is an object like this one.
export const panelOf = fill => {
  const ref = place => place && fill(place);
  const props = { className: 'breastkit-place' };
  const shown = { $$typeof: Symbol.for('react.element'), type: 'div', key: null, ref, props, _owner: null };
  return () => shown;
};
