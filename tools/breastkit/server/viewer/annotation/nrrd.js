// Label maps as NRRD: the one format in which they go to the server and come back.

const through = async (data, stream) =>
  new Uint8Array(await new Response(new Blob([data]).stream().pipeThrough(stream)).arrayBuffer());

const vector = text => text.replace(/[()\s]/g, '').split(',').map(Number);

// Reads a label map: its sizes, where its voxels lie (LPS, millimetres), and the voxels, columns first.
export const readNrrd = async buffer => {
  const bytes = new Uint8Array(buffer);
  const end = bytes.findIndex((byte, at) => byte === 10 && bytes[at + 1] === 10);
  const lines = new TextDecoder('latin1').decode(bytes.subarray(0, end)).split('\n');
  const fields = Object.fromEntries(lines.filter(line => line.includes(': ')).map(line => line.split(': ', 2)));
  const data = bytes.subarray(end + 2);
  const packed = fields.encoding !== 'raw';
  return {
    sizes: fields.sizes.split(' ').map(Number),
    origin: vector(fields['space origin']),
    directions: fields['space directions'].match(/\([^)]*\)/g).map(vector),
    voxels: packed ? await through(data, new DecompressionStream('gzip')) : data,
  };
};

// Writes a label map as `readNrrd` returns it.
export const writeNrrd = async ({ sizes, origin, directions, voxels }) => {
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
  return new Blob([`${header.join('\n')}\n\n`, await through(voxels, new CompressionStream('gzip'))]);
};
