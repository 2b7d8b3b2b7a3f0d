// A sequence of numbers as curves over the maps: one row each, on a scale of its own, gaps where
// values are missing; under them the labels of steps, where they have some, and an axis of time.
import { colour, context, drawCursor } from "./maps.js";

export const COLOURS = ["#d1603d", "#2f7fc1", "#3c9a6a", "#a56cc1", "#b58900", "#6b7480"];
const AXIS = 20, LABELS = 16, ROOM = 190, MOST_ROW = 64, LEAST_ROW = 14;
const COARSER = 8; // steps of a level that one step of the next stands for, as of the maps

// Least and greatest value of some steps, level by level, so that long curves are drawn as fast.
function levelsOf(values) {
  const levels = [{ low: values, high: values }];
  while (levels.at(-1).low.length > 64) {
    const { low, high } = levels.at(-1), count = Math.ceil(low.length / COARSER);
    const next = { low: new Float32Array(count).fill(NaN), high: new Float32Array(count).fill(NaN) };
    for (let t = 0; t < low.length; t++) {
      const k = Math.floor(t / COARSER);
      if (Number.isNaN(low[t])) continue;
      if (!(next.low[k] <= low[t])) next.low[k] = low[t];
      if (!(next.high[k] >= high[t])) next.high[k] = high[t];
    }
    levels.push(next);
  }
  return levels;
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
  return low > high ? [0, 1] : low === high ? [low - 1, high + 1] : [low, high];
}

export class Curves {
  // told: what the server says of the sequence; values: all curves, one after the other
  constructor(told, values) {
    Object.assign(this, told);
    this.rows = told.curves.map((name, k) => {
      const own = values.subarray(k * told.length, (k + 1) * told.length);
      return { name, values: own, levels: levelsOf(own), extent: extent(own) };
    });
    this.runs = [];
    let first = 0;
    for (const [label, width] of told.labels) this.runs.push({ label, first, last: first += width });
    this.classes = [...new Set(told.labels.map(([label]) => label))].sort();
    this.row = Math.max(LEAST_ROW, Math.min(MOST_ROW, ROOM / Math.max(1, this.rows.length)));
  }

  get height() {
    return this.rows.length * this.row + (this.runs.length ? LABELS : 0) + AXIS;
  }

  // The step that is looked at first: where what is held out begins, else the end.
  get where() { return this.begin ? this.begin - 1 : this.length - 1; }

  get what() { return "The curves of the sequence over the maps, a row for each"; }

  labelOf(step) { return this.runs.find(run => run.first <= step && step < run.last)?.label ?? ""; }

  labelAt(step) {
    if (!this.length) return "";
    return [this.times ? this.stamp(this.times[step]) : "", this.labelOf(step)].filter(Boolean).join(" ");
  }

  spokenAt(step) { return this.labelAt(step); }

  valuesAt(step) {
    return this.rows.slice(0, 4).map(({ name, values }) => `${name} ${number(values[step])}`).join(", ");
  }

  stamp(time) {
    if (!this.dated) return number(time);
    const written = new Date(time * 1000).toISOString().slice(0, 19).replace("T", " ");
    return written.replace(/:00$/, "").replace(/ 00:00$/, "");
  }

  // What a step is called on an axis: its time, or its number in the sequence.
  tick(step) {
    return this.times ? this.stamp(this.times[step]) : (this.first + step + 1).toLocaleString("en");
  }

  draw(canvas, view, at) {
    const { drawing, width } = context(canvas, this.height);
    this.drawLearned(drawing, view, width);
    this.rows.forEach((row, k) => this.drawRow(drawing, row, k, view, width));
    const top = this.rows.length * this.row;
    if (this.runs.length) this.drawLabels(drawing, top, view, width);
    this.drawAxis(drawing, this.height - AXIS, view, width);
    if (this.length) drawCursor(drawing, this.height, view, { at });
  }

  // What was learned from is shaded, up to where what is held out begins.
  drawLearned(drawing, view, width) {
    const x = Math.min(width, (this.begin - view.first) * view.scale);
    if (!this.begin || x <= 0) return;
    drawing.fillStyle = colour("--tint");
    drawing.fillRect(0, 0, x, this.rows.length * this.row);
    drawing.fillStyle = colour("--quiet");
    if (x > 150) write(drawing, "learned from", x - 6, 11, "right");
    if (width - x > 150) write(drawing, "held out", x + 6, 11, "left");
  }

  drawRow(drawing, { name, levels, extent: [low, high] }, k, view, width) {
    const top = k * this.row, room = this.row - 4;
    const y = v => top + 2 + room * (1 - (v - low) / (high - low));
    drawing.strokeStyle = colour("--line");
    drawing.lineWidth = 1;
    line(drawing, 0, top + this.row - 0.5, width, top + this.row - 0.5);
    drawing.strokeStyle = drawing.fillStyle = COLOURS[k % COLOURS.length];
    drawing.lineWidth = 1.4;
    let level = 0;
    while (level + 1 < levels.length && COARSER ** (level + 1) * view.scale <= 1) level++;
    const steps = COARSER ** level, values = levels[level], count = values.low.length;
    const first = Math.max(0, Math.floor(view.first / steps) - 1);
    const last = Math.min(count, Math.ceil((view.first + width / view.scale) / steps) + 1);
    const x = t => ((t + 0.5) * steps - view.first) * view.scale;
    let gap = true;
    drawing.beginPath();
    for (let t = first; t < last; t++) {
      if (Number.isNaN(values.low[t])) { gap = true; continue; }
      if (gap && (t + 1 >= last || Number.isNaN(values.low[t + 1]))) drawing.fillRect(x(t) - 1, y(values.low[t]) - 1, 2.5, 2.5);
      if (gap) drawing.moveTo(x(t), y(values.low[t]));
      else drawing.lineTo(x(t), y(values.low[t]));
      if (level) drawing.lineTo(x(t), y(values.high[t]));
      gap = false;
    }
    drawing.stroke();
    if (this.row >= 12) halo(drawing, `${name}   ${number(low)} … ${number(high)}`, 4, top + this.row - 6);
  }

  drawLabels(drawing, top, view, width) {
    for (const { label, first, last } of this.runs) {
      const x = (first - view.first) * view.scale, end = (last - view.first) * view.scale;
      if (end < 0 || x > width || !label) continue;
      drawing.fillStyle = COLOURS[this.classes.indexOf(label) % COLOURS.length];
      drawing.globalAlpha = 0.3;
      drawing.fillRect(x, top + 1, Math.max(1, end - x - (end - x > 3)), LABELS - 2);
      drawing.globalAlpha = 1;
      const [left, right] = [Math.max(0, x), Math.min(width, end)];
      drawing.font = "11px system-ui, sans-serif";
      if (drawing.measureText(label).width + 4 > right - left) continue;
      drawing.fillStyle = colour("--ink");
      write(drawing, label, (left + right) / 2, top + LABELS / 2, "center");
    }
  }

  drawAxis(drawing, top, view, width) {
    drawing.fillStyle = colour("--quiet");
    const room = this.times && this.dated ? 130 : 70;
    const every = Math.max(1, nice(room / view.scale)), begin = this.times ? 0 : this.first + 1;
    const last = Math.min(this.length, view.first + width / view.scale);
    for (let t = Math.ceil((view.first + begin) / every) * every - begin; t < last; t += every) {
      const x = (t + 0.5 - view.first) * view.scale;
      if (t >= 0) write(drawing, this.tick(t), Math.max(x, 20), top + AXIS / 2, x < 40 ? "left" : "center");
    }
  }
}

export const NOTHING = new Curves({ curves: [], labels: [], times: null, length: 0, first: 0, begin: 0 }, new Float32Array());

// 1, 2 or 5 times a power of ten, not less than a number.
function nice(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map(k => k * power).find(v => v >= least);
}

export const number = v => v == null || Number.isNaN(v) ? "missing" : `${Number(v.toPrecision(4))}`;

export function line(drawing, ...points) {
  drawing.beginPath();
  for (let k = 0; k < points.length; k += 2) drawing.lineTo(points[k], points[k + 1]);
  drawing.stroke();
}

function write(drawing, text, x, y, align) {
  drawing.font = "11px system-ui, sans-serif";
  drawing.textAlign = align;
  drawing.textBaseline = "middle";
  drawing.fillText(text, x, y);
}

// Words that can be read on top of a curve.
function halo(drawing, text, x, y) {
  drawing.font = "11px system-ui, sans-serif";
  drawing.textAlign = "left";
  drawing.textBaseline = "middle";
  drawing.strokeStyle = colour("--paper");
  drawing.lineWidth = 3;
  drawing.lineJoin = "round";
  drawing.strokeText(text, x, y);
  drawing.fillStyle = colour("--quiet");
  drawing.fillText(text, x, y);
}
