// Off the page's thread: grey levels through a look-up table to what the screen shows.

let pixels = null;
let size = { width: 0, height: 0 };
let levels = 256;

/** Return the levels below and above which one in two hundred pixels lies. */
function findRange() {
  const counts = new Uint32Array(levels);
  for (let i = 0; i < pixels.length; i += 1) counts[pixels[i]] += 1;
  const tail = pixels.length / 200;
  let low = 0;
  let high = levels - 1;
  for (let seen = counts[low]; seen <= tail && low < high; seen += counts[low]) low += 1;
  for (let seen = counts[high]; seen <= tail && high > low; seen += counts[high]) high -= 1;
  return { low, high };
}

/** Return the screen's RGBA for every grey level (linear, as DICOM PS3.3 C.11.2.1.3.2). */
function makeTable({ level, width, invert }) {
  const table = new Uint32Array(levels);
  const low = level - width / 2;
  for (let value = 0; value < levels; value += 1) {
    let share = Math.min(1, Math.max(0, (value - low) / width));
    if (invert) share = 1 - share;
    const grey = Math.round(255 * share);
    table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

async function show(window) {
  const table = makeTable(window);
  const image = new ImageData(size.width, size.height);
  const out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < out.length; i += 1) out[i] = table[pixels[i]];
  return createImageBitmap(image);
}

addEventListener("message", async ({ data }) => {
  if (data.buffer) {
    size = { width: data.width, height: data.height };
    levels = 2 ** data.bits;
    const deep = data.buffer.byteLength > data.width * data.height;
    pixels = deep ? new Uint16Array(data.buffer) : new Uint8Array(data.buffer);
    postMessage({ range: findRange() });
    return;
  }
  const bitmap = await show(data);
  postMessage({ bitmap }, [bitmap]);
});
