// What the networks are given: a text that is typed, or one of the held-out sequences.
import * as api from "./api.js";
import { Curves, NOTHING } from "./curves.js";
import { EMPTY, Text } from "./text.js";

const $ = id => document.getElementById(id);
const TYPING = 250, SHOWS_FIRST = 512;
const count = n => n.toLocaleString("en");

// A text: `asked` is what a reading of it is asked for by, `track` what stands over the maps.
export class TypedText {
  constructor({ step, limit, example }, changed) {
    Object.assign(this, { step, limit, changed, nothing: EMPTY });
    this.keeps = true; // what is typed changes little: one stays where one is
    $("text-part").hidden = false;
    $("text").value = example || "The quick brown fox jumps over the lazy dog.\n";
    let typing;
    $("text").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(changed, TYPING);
    });
  }

  get asked() { return { text: $("text").value }; }

  get words() { return "text"; }

  // Why nothing can be read: "" where something can, null where there is nothing.
  refusal({ text }) {
    const length = this.step === "byte" ? new TextEncoder().encode(text).length : [...text].length;
    $("count").textContent = `${count(length)} ${this.step}s of at most ${count(this.limit)}`;
    if (!length) return null;
    return length > this.limit ? `The text has ${count(length)} ${this.step}s, which is too long` : "";
  }

  async track({ text }) { return new Text(await api.characters(text)); }
}

// Held-out sequences, of which one is chosen.
export class Sequences {
  constructor({ step, limit, sequences, begin }, changed) {
    Object.assign(this, { step, limit, count: sequences, changed, nothing: NOTHING });
    $("sequence-part").hidden = false;
    $("find").hidden = $("find-label").hidden = sequences <= 100;
    $("choose").hidden = sequences < 2;
    let typing;
    $("find").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.find(), TYPING);
    });
    $("sequence").addEventListener("change", () => this.chosen());
    $("first").addEventListener("change", changed);
    this.find(begin);
  }

  // The sequences whose names have what is looked for; the first one is read.
  async find(begin) {
    const told = await api.sequences($("find").value).catch(() => ({ found: [], count: 0 }));
    this.found = told.found;
    $("sequence").replaceChildren(...told.found.map(({ number, name, length }) =>
      new Option(`${name}  (${count(length)} ${this.step}${length === 1 ? "" : "s"})`, number)));
    const more = told.count - told.found.length;
    this.many = (this.count === 1 ? "The one held-out sequence"
      : `${count(told.count)} of ${count(this.count)} held-out sequences`) + (more ? `; the first ${told.found.length} are listed` : "");
    if (told.found.some(({ number }) => number === begin)) $("sequence").value = begin;
    this.chosen();
  }

  chosen() {
    const { length } = this.found.find(({ number }) => `${number}` === $("sequence").value) || { length: 0 };
    $("begin").hidden = length <= SHOWS_FIRST;
    $("first").max = Math.max(1, length);
    $("first").value = 1;
    this.changed();
  }

  get asked() {
    const first = Math.round(Number($("first").value)) - 1;
    const last = Math.max(0, Number($("first").max) - 1);
    return { sequence: Number($("sequence").value), first: Math.max(0, Math.min(last, first || 0)) };
  }

  get words() { return "sequence"; }

  refusal() {
    $("sequence-count").textContent = this.many ?? "";
    return this.found?.length ? "" : null;
  }

  async track({ sequence, first }) {
    const [told, values] = await Promise.all([api.sequence(sequence, first), api.curves(sequence, first)]);
    const left = told.left ? `; the first ${told.curves.length} of ${told.curves.length + told.left} columns are drawn` : "";
    $("sequence-count").textContent = `${this.many}. ${count(told.length)} ${this.step}s are read${left}.`;
    return new Curves(told, values);
  }
}
