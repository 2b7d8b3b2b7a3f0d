// A text as the server divides it: characters, each over the columns of its bytes.
import { colour, context, drawCursor } from "./maps.js";

const HEIGHT = 22;

// A row of a map by its place on each axis of the value, "head 2, key 5"; its number without axes.
export function rowName(value, row) {
  if (!value.axes.length) return `${row}`;
  return placesOf(value, row).map(([axis, place]) => `${axis} ${place}`).join(", ");
}

function placesOf({ axes }, row) {
  const places = [];
  for (const [axis, length] of axes.toReversed()) {
    places.unshift([axis, row % length]);
    row = Math.floor(row / length);
  }
  return places;
}

// The row of a value that stands where one of another does; null if there is none, or several.
export function rowAt(value, other, row) {
  if (!value.axes.length && !other.axes.length) return row < value.units ? row : null;
  const places = new Map(placesOf(other, row));
  if (!value.axes.length || !value.axes.every(([axis]) => places.has(axis))) return null;
  return value.axes.reduce((at, [axis, length]) => at * length + places.get(axis), 0);
}

export class Text {
  constructor({ labels, widths }) {
    Object.assign(this, { labels, widths });
    this.firsts = new Uint32Array(labels.length);
    for (let k = 1; k < labels.length; k++) this.firsts[k] = this.firsts[k - 1] + widths[k - 1];
    this.length = labels.length ? this.firsts.at(-1) + widths.at(-1) : 0;
  }

  // The number of the character over a byte.
  indexAt(byte) {
    let low = 0, high = this.labels.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.firsts[middle] <= byte) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  labelAt(byte) { return this.length ? this.labels[this.indexAt(byte)] : ""; }

  spokenAt(byte) { return spoken(this.labelAt(byte)); }

  valuesAt() { return ""; }

  get where() { return 40; } // the step that is looked at first

  get what() { return "The text over the maps, a character over the columns of its bytes"; }

  // Each character in the middle of the columns of its bytes.
  draw(canvas, view, at) {
    const { drawing, width } = context(canvas, HEIGHT);
    const last = Math.min(this.length, view.first + width / view.scale);
    const ink = colour("--ink"), quiet = colour("--quiet");
    drawing.font = `${Math.min(15, Math.max(9, view.scale * 1.5))}px ui-monospace, monospace`;
    drawing.textAlign = "center";
    drawing.textBaseline = "middle";
    if (view.scale >= 5.5) {
      for (let k = this.indexAt(Math.max(0, Math.floor(view.first))); this.firsts[k] < last; k++) {
        const sign = this.labels[k], first = this.firsts[k], room = this.widths[k] * view.scale;
        const x = (first - view.first) * view.scale, here = first <= at && at < first + this.widths[k];
        drawing.fillStyle = here ? colour("--accent") : "·↵→".includes(sign) ? quiet : ink;
        drawing.fillText(sign, x + room / 2, 10, Math.max(room, 9));
        if (this.widths[k] > 1) drawing.fillRect(x + 1.5, 20, room - 3, 1);
      }
    } else {
      drawing.fillStyle = quiet;
      const every = 10 ** Math.ceil(Math.log10(70 / view.scale));
      for (let t = Math.ceil(view.first / every) * every; t < last; t += every) {
        drawing.fillText(t.toLocaleString("en"), (t + 0.5 - view.first) * view.scale, 11);
      }
    }
    if (this.length) drawCursor(drawing, HEIGHT, view, { at });
  }
}

export const EMPTY = new Text({ labels: [], widths: [] });

// What a sign is called when it is read aloud.
export function spoken(label) {
  const names = { "·": "space", "↵": "line end", "→": "tab" };
  return names[label] || (/^[0-9A-F]{2}$/.test(label) ? `byte ${label}` : label);
}
