// One reading of a text or a sequence, as far as this page has it: costs, and tiles of every value.
import * as api from "./api.js";

const KEPT = 400; // tiles of all readings together
const kept = new Map(); // from a tile's name to the reading that has it, oldest first

export class Reading {
  constructor(key, length, plan, changed) {
    Object.assign(this, { key, length, plan, changed, done: 0, cost: null, most: 0, stopped: false });
    this.costs = new Float32Array(length).fill(NaN);
    this.tiles = new Map();
    this.wanted = new Set();
    this.known = 0;
    this.follow();
  }

  get finished() { return this.done >= this.length; }

  stop() {
    this.stopped = true;
    for (const name of this.tiles.keys()) kept.delete(this.key + name);
  }

  // Ask how far it has come until it has come to the end.
  async follow() {
    for (let pause = 25; !this.stopped; pause = Math.min(250, pause * 1.5)) {
      try {
        const told = await api.progress(this.key);
        if (told.error) throw new Error(told.error);
        if (told.done > this.done) await this.advance(told);
      } catch (error) {
        if (!this.stopped) this.changed(this, error);
        return;
      }
      if (this.finished) return;
      await new Promise(resolve => setTimeout(resolve, pause));
    }
  }

  async advance(told) {
    while (this.known < told.done && !this.stopped) {
      const part = await api.costs(this.key, this.known);
      if (!part.length) break;
      this.costs.set(part, this.known);
      for (const cost of part) if (cost > this.most) this.most = cost;
      this.known += part.length;
    }
    // of a text, the cost of a chunk's first symbol comes with the chunk before
    this.done = told.done;
    this.cost = told.cost;
    this.changed(this);
  }

  // A tile if it is here; else ask for it, and tell when it has come.
  tile(layer, value, level, number) {
    const name = `/${layer}/${value}/${level}/${number}`;
    const span = this.plan.tile * this.plan.levels[level];
    const read = Math.min(this.done, (number + 1) * span) - number * span;
    if (read <= 0) return null;
    const found = this.tiles.get(name);
    const columns = Math.ceil(read / this.plan.levels[level]);
    if ((!found || found.columns < columns) && !this.wanted.has(name)) {
      this.wanted.add(name);
      this.fetch(name, layer, value, level, number);
    }
    return found || null;
  }

  async fetch(name, layer, value, level, number) {
    try {
      const tile = await api.tile(this.key, layer, value, level, number);
      if (this.stopped) return;
      this.tiles.set(name, tile);
      kept.delete(this.key + name);
      kept.set(this.key + name, [this, name]);
      if (kept.size > KEPT) {
        const [oldest, [owner, other]] = kept.entries().next().value;
        owner.tiles.delete(other);
        kept.delete(oldest);
      }
      this.changed(this);
    } catch (error) {
      if (!this.stopped) this.changed(this, error);
    } finally {
      this.wanted.delete(name);
    }
  }
}
