// Drawing: maps of values, the cost of each step.

const OPEN = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74",
  "#c3b369", "#e1cc55", "#fee838"]; // cividis: told apart by those who see no red or green
const SIGNED = {
  light: ["#0b4f93", "#4f97cf", "#f7f7f5", "#dd6d5c", "#94122a"],
  dark: ["#7cc0ff", "#2f74b5", "#15181c", "#bb4a3e", "#ff9c86"],
};
const dark = window.matchMedia("(prefers-color-scheme: dark)");
let tables = {};

function table(colours, curve) {
  const rgb = colours.map(c => [1, 3, 5].map(k => parseInt(c.slice(k, k + 2), 16)));
  const found = new Uint32Array(256);
  for (let code = 0; code < 256; code++) {
    const place = curve(code / 255) * (rgb.length - 1);
    const k = Math.min(rgb.length - 2, Math.floor(place));
    const [r, g, b] = [0, 1, 2].map(i => rgb[k][i] + (place - k) * (rgb[k + 1][i] - rgb[k][i]));
    found[code] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return found;
}

function lookup(scale) {
  const mode = dark.matches ? "dark" : "light";
  const spread = x => 0.5 + Math.sign(x - 0.5) * Math.abs(2 * x - 1) ** 0.6 / 2;
  tables[scale + mode] ??= scale === "open" ? table(OPEN, x => x) : table(SIGNED[mode], spread);
  return tables[scale + mode];
}

export const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const onTheme = react => dark.addEventListener("change", react);

// What a byte of a tile stands for; the same as `decode` of gatework.studio.reading.
export function decode(code, scale) {
  if (scale === "open") return code / 255;
  const u = 2 * code / 255 - 1;
  return u / Math.max(1 - Math.abs(u), 1e-6);
}

// The colour of a number on the scale of a map.
export function shade(value, scale) {
  const u = scale === "open" ? value : (1 + value / (1 + Math.abs(value))) / 2;
  const c = lookup(scale)[Math.max(0, Math.min(255, Math.round(255 * u)))];
  return `rgb(${c & 255} ${c >> 8 & 255} ${c >> 16 & 255})`;
}

function image(tile, scale, order) {
  const mode = scale + dark.matches;
  if (tile.mode === mode) return tile.canvas;
  const canvas = document.createElement("canvas");
  canvas.width = tile.columns;
  canvas.height = tile.units;
  const picture = new ImageData(tile.columns, tile.units);
  const pixels = new Uint32Array(picture.data.buffer), colours = lookup(scale);
  for (let row = 0; row < tile.units; row++) {
    const from = order[row] * tile.columns, to = row * tile.columns;
    for (let k = 0; k < tile.columns; k++) pixels[to + k] = colours[tile.codes[from + k]];
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
  Object.assign(tile, { canvas, mode });
  return canvas;
}

// A canvas fitted to its place on the page; drawn in pixels of the page.
export function context(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.parentElement === null
    ? 0 : canvas.clientWidth;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.round(height * ratio)];
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  canvas.style.height = `${height}px`;
  const drawing = canvas.getContext("2d");
  drawing.setTransform(ratio, 0, 0, ratio, 0, 0);
  drawing.clearRect(0, 0, width, height);
  return { drawing, width };
}

// The coarsest level of which a column is no wider than a pixel.
export function levelFor(view, levels) {
  let level = 0;
  while (level + 1 < levels.length && levels[level + 1] * view.scale <= 1) level++;
  return level;
}

export function drawMap(canvas, height, reading, layer, value, view, marks) {
  const { drawing, width } = context(canvas, height);
  if (!reading) return; // no text, an empty map
  const { levels, tile: columns } = reading.plan;
  const wanted = levelFor(view, levels), last = view.first + width / view.scale;
  for (let level = levels.length - 1; level >= wanted; level--) {
    if (level > wanted && wanted + 1 < level) continue; // one coarser, to bridge the wait
    const span = columns * levels[level];
    for (let k = Math.max(0, Math.floor(view.first / span)); k * span < Math.min(last, reading.done); k++) {
      const tile = level === wanted ? reading.tile(layer, value.name, level, k)
        : reading.tiles.get(`/${layer}/${value.name}/${level}/${k}`);
      if (!tile) continue;
      const x = (k * span - view.first) * view.scale;
      const end = Math.min(reading.length, k * span + tile.columns * levels[level]);
      drawing.imageSmoothingEnabled = height < tile.units || levels[level] * view.scale < 1;
      drawing.imageSmoothingQuality = "medium";
      drawing.drawImage(image(tile, value.scale, marks.order), x, 0, (end - k * span) * view.scale, height);
    }
  }
  drawHeads(drawing, width, height, value);
  drawCursor(drawing, height, view, marks);
  if (marks.row !== null) {
    const thick = height / value.units, y = (marks.row + 0.5) * thick;
    drawing.strokeStyle = colour("--warm");
    drawing.lineWidth = 1;
    drawing.strokeRect(0.5, Math.max(0.5, y - Math.max(thick / 2, 2)), width - 1, Math.max(thick, 4));
  }
}

// Lines between heads, or other places on the first of several axes, where there is room for them.
function drawHeads(drawing, width, height, { axes }) {
  if (axes.length < 2 || height / axes[0][1] < 8) return;
  drawing.strokeStyle = colour("--paper");
  drawing.lineWidth = 1;
  for (let k = 1; k < axes[0][1]; k++) {
    const y = Math.round(k * height / axes[0][1]) + 0.5;
    drawing.beginPath(); drawing.moveTo(0, y); drawing.lineTo(width, y); drawing.stroke();
  }
}

export function drawCursor(drawing, height, view, marks) {
  const x = (marks.at - view.first) * view.scale;
  drawing.strokeStyle = colour("--accent");
  drawing.lineWidth = 1.5;
  drawing.strokeRect(x, -2, Math.max(2, view.scale), height + 4);
}

// Bars for the cost of each step, full at `most`; a line for what it was without any gate held.
export function drawCost(canvas, height, reading, base, view, marks, most) {
  const { drawing, width } = context(canvas, height);
  if (!reading) return; // no text, an empty map
  const tall = cost => Math.min(1, cost / (most || 1)) * (height - 2);
  const step = Math.max(1, 1 / view.scale); // steps a pixel
  drawing.fillStyle = colour("--quiet");
  each(reading, view, width, step, (x, w, cost) =>
    drawing.fillRect(x, height - tall(cost), Math.max(1, w - (w > 3)), tall(cost)));
  if (base !== reading && base) {
    drawing.strokeStyle = colour("--warm");
    drawing.lineWidth = 1.5;
    drawing.beginPath();
    each(base, view, width, step, (x, w, cost) => {
      const y = height - tall(cost);
      drawing.moveTo(x, y);
      drawing.lineTo(x + Math.max(1, w), y);
    });
    drawing.stroke();
  }
  drawCursor(drawing, height, view, marks);
}

function each(reading, view, width, step, draw) {
  const last = Math.min(reading.known, Math.ceil(view.first + width / view.scale));
  for (let t = Math.max(0, Math.floor(view.first / step) * step); t < last; t += step) {
    let sum = 0, count = 0;
    for (let k = Math.floor(t); k < Math.min(last, Math.floor(t + step)) || k === Math.floor(t); k++) {
      if (!Number.isNaN(reading.costs[k])) { sum += reading.costs[k]; count++; }
    }
    if (count) draw((t - view.first) * view.scale, step * view.scale, sum / count);
  }
}
