// A text as the server divides it: characters, each over the columns of its bytes.
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
}

export const EMPTY = new Text({ labels: [], widths: [] });
