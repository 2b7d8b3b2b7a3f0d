// A text as the server divides it: characters, each over the columns of its bytes.
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
