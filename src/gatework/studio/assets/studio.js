// The studio: a text or a sequence, a place in it, and a panel for each network.
import * as api from "./api.js";
import { COLOURS } from "./curves.js";
import { colour, context, onTheme } from "./maps.js";
import { element } from "./page.js";
import { Panel } from "./panel.js";
import { passages } from "./passages.js";
import { Sequences, TypedText } from "./source.js";
import { rowAt, rowName } from "./text.js";

const $ = id => document.getElementById(id);
const BEGIN_SCALE = 10, FINEST = 40, STEPS_A_SECOND = 10, SLIDING = 40, SEEN = 400;

class Studio {
  constructor(told) {
    this.plan = { levels: told.levels, tile: told.tile };
    this.single = told.models.length === 1;
    this.view = { first: 0, scale: BEGIN_SCALE };
    this.at = 0;
    this.step = told.reads.step;
    this.chosen = null;
    this.panels = told.models.map((info, number) => new Panel(number, info, this));
    $("models").replaceChildren(...this.panels.map(p => p.root));
    $("origin").textContent = `trained on: ${[...new Set(told.models.map(m => m.source))].join("; ")}`;
    const source = told.reads.sequences ? Sequences : TypedText;
    this.source = new source(told.reads, () => this.read().catch(error => this.fault(error)));
    this.track = this.source.nothing;
    $("whole").textContent = `Whole ${this.source.words}`;
    this.listen();
    if (source === TypedText) this.read();
  }

  // ---- what is read ----------------------------------------------------------------------------

  async read() {
    const asked = this.asked = this.source.asked, refusal = this.source.refusal(asked);
    if (refusal !== "") {
      this.empty();
      if (refusal) this.fault(new Error(refusal));
      return;
    }
    try {
      const track = await this.source.track(asked);
      if (asked !== this.asked) return; // something else is to be read
      this.track = track;
      $("position").max = track.length - 1;
      $("strip").setAttribute("aria-label", track.what);
      this.clamp();
      await Promise.all(this.panels.map(panel => panel.read(asked)));
      if (asked !== this.asked) return;
      const key = JSON.stringify(asked), stays = this.source.keeps || key === this.last;
      if (!stays) this.view.scale = this.width / Math.min(track.length, SEEN);
      this.last = key;
      this.goTo(Math.min(stays && this.at || track.where, track.length - 1));
      this.panels.forEach(panel => panel.drawCell());
      if (this.chosen) this.plotUnit();
    } catch (error) { this.fault(error); }
  }

  // Nothing to read: nothing is shown.
  empty() {
    this.track = this.source.nothing;
    this.play(false);
    this.panels.forEach(panel => panel.empty());
    $("position").max = 0;
    $("readout").textContent = $("live").textContent = "";
    context($("unit-plot"), 130);
    $("unit-legend").replaceChildren();
    this.clamp();
    this.redraw();
  }

  held(panel) {
    clearTimeout(panel.waiting);
    panel.waiting = setTimeout(() => {
      panel.drawCell().catch(error => this.fault(error));
      if (!this.track.length) return;
      panel.readHeld(this.asked).then(() => this.changed(panel, panel.reading))
        .catch(error => this.fault(error));
    }, SLIDING);
  }

  changed(panel, reading, error) {
    if (error) {
      if (error.status === 404) this.read(); // the server has let go of it
      else this.fault(error);
      return;
    }
    this.redraw();
    if (this.at < (reading?.done ?? 0)) this.predict();
    if (this.chosen?.panel === panel && reading === panel.reading) this.plotUnit();
  }

  // ---- the place in it -------------------------------------------------------------------------

  get width() { return Math.max(1, $("strip").clientWidth); }

  stepAt(x) {
    return Math.max(0, Math.min(this.track.length - 1, Math.floor(this.view.first + x / this.view.scale)));
  }

  clamp() {
    const length = Math.max(1, this.track.length);
    const least = Math.min(BEGIN_SCALE, this.width / length);
    this.view.scale = Math.max(least, Math.min(Math.max(FINEST, this.width / length), this.view.scale));
    const room = length - this.width / this.view.scale;
    this.view.first = Math.max(0, Math.min(room, this.view.first));
    this.at = Math.max(0, Math.min(length - 1, this.at));
  }

  moveTo(first) {
    this.view.first = first;
    this.clamp();
    this.redraw();
  }

  zoom(factor, x = (this.at + 0.5 - this.view.first) * this.view.scale) {
    const step = this.view.first + x / this.view.scale;
    this.view.scale *= factor;
    this.clamp();
    this.moveTo(step - x / this.view.scale);
  }

  goTo(at) {
    if (!this.track.length) return;
    this.at = at;
    this.clamp();
    const seen = this.width / this.view.scale, { first } = this.view;
    if (this.at < first || this.at + 1 > first + seen) this.view.first = this.at - seen / 3;
    this.clamp();
    $("position").value = this.at;
    $("position").setAttribute("aria-valuetext", `step ${this.at}, ${this.track.spokenAt(this.at)}`);
    this.redraw();
    this.predict();
  }

  predict() {
    if (this.predicting) { this.again = true; return; }
    this.predicting = true;
    Promise.all(this.panels.map(p => p.predict(this.at)))
      .catch(error => { if (error.status !== 404 && error.status !== 400) this.fault(error); })
      .finally(() => {
        this.predicting = false;
        this.tell();
        if (this.again) { this.again = false; this.predict(); }
      });
  }

  // For those who listen: where we are and what is expected, once things have settled.
  tell() {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      if (this.timer || !this.panels.every(p => p.expected)) return;
      const expected = this.panels.filter(p => p.expected).map(p => `${p.info.name} ${p.expected}`);
      $("live").textContent =
        `Step ${this.at}, ${this.track.spokenAt(this.at)}. ${expected.join("; ")}.`;
    }, 500);
  }

  readOut(panel, map, { at, unit }) {
    const parts = [`step ${at} ${this.track.labelAt(at)}`, this.track.valuesAt(at)].filter(Boolean);
    if (map) {
      const value = panel.valueAt(map, at, unit);
      parts.push(`${map.value.name}[${rowName(map.value, unit)}]${value === null ? "" : ` = ${value.toFixed(2)}`}`);
    } else if (panel?.reading && !Number.isNaN(panel.reading.costs[at])) {
      parts.push(`${panel.reading.costs[at].toFixed(2)} ${panel.info.unit}`);
    }
    $("readout").textContent = parts.join("  ·  ");
  }

  play(on = !this.timer) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => {
      if (this.at + 1 >= this.track.length) this.play(false);
      else this.goTo(this.at + 1);
    }, 1000 / STEPS_A_SECOND) : null;
    $("play").textContent = on ? "❚❚ Pause" : "▶ Play";
    $("play").setAttribute("aria-pressed", on);
  }

  // ---- one unit --------------------------------------------------------------------------------

  chosenIn(panel, value) {
    const { chosen } = this;
    return chosen && chosen.panel === panel ? rowAt(value, chosen.value, chosen.unit) : null;
  }

  choose(panel, value, unit, lookUp) {
    this.chosen = { panel, value, unit };
    this.redraw();
    if (!lookUp) return;
    $("unit").hidden = false;
    $("unit-title").textContent = `${value.axes.length ? "" : "Unit "}${rowName(value, unit)} of ${panel.info.name}, chosen in ${value.name}`;
    this.plotUnit();
    this.lookUp();
  }

  async plotUnit() {
    const { panel, value, unit } = this.chosen, { reading } = panel;
    if ($("unit").hidden || !reading?.done) return;
    const from = Math.max(0, Math.floor(this.view.first));
    const to = Math.min(reading.done, Math.ceil(from + this.width / this.view.scale), from + 4096);
    if (from >= to) return;
    const told = await api.unit(reading.key, panel.layer, value.name, unit, from, to)
      .catch(error => { if (error.status !== 404) this.fault(error); });
    if (told && this.chosen.panel === panel && this.chosen.value === value && this.chosen.unit === unit) this.drawUnit(told.values, from, to);
  }

  drawUnit(values, from, to) {
    const { drawing, width } = context($("unit-plot"), 130);
    const all = Object.values(values).flat();
    const [low, high] = [Math.min(0, ...all), Math.max(1, ...all)];
    const y = v => 125 - 120 * (v - low) / (high - low);
    drawing.strokeStyle = colour("--line");
    for (const v of [low, 0, 1, high]) {
      drawing.beginPath(); drawing.moveTo(0, y(v)); drawing.lineTo(width, y(v)); drawing.stroke();
    }
    drawing.lineWidth = 1.8;
    const legend = Object.entries(values).map(([name, row], k) => {
      drawing.strokeStyle = COLOURS[k % COLOURS.length];
      drawing.beginPath();
      row.forEach((v, t) => drawing.lineTo((t + 0.5) / (to - from) * width, y(v)));
      drawing.stroke();
      return element("span", {}, element("b", { textContent: `— ${name}`, style: `color:${COLOURS[k % COLOURS.length]}` }));
    });
    $("unit-legend").replaceChildren(...legend,
      `steps ${from} to ${to - 1}; from ${low.toFixed(1)} to ${high.toFixed(1)}, lines at 0 and 1`);
    $("unit-plot").setAttribute("aria-label", `Values of the unit over steps ${from} to ${to - 1}: ` +
      Object.entries(values).map(([n, row]) => `${n} at the cursor ${row[this.at - from] ?? "not shown"}`).join(", "));
  }

  async lookUp() {
    const { panel, value, unit } = this.chosen, asked = this.chosen;
    $("passages").textContent = "Looking through held-out data …";
    try {
      const told = await api.passages(panel.number, panel.layer, value.name, unit);
      if (this.chosen !== asked) return;
      if (told.missing) {
        $("passages").textContent = `What it learned from is not here: ${told.missing}.`;
        return;
      }
      const { sections, draw } = passages(told, value);
      $("passages").replaceChildren(...sections);
      this.drawPassages = draw;
      draw();
    } catch (error) { this.fault(error); }
  }

  // ---- the page --------------------------------------------------------------------------------

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.track.draw($("strip"), this.view, this.at);
      this.panels.forEach(panel => panel.draw());
    });
  }

  fault(error) {
    $("fault").textContent = error.message;
    $("fault").hidden = false;
    clearTimeout(this.faulty);
    this.faulty = setTimeout(() => { $("fault").hidden = true; }, 8000);
  }

  listen() {
    $("play").addEventListener("click", () => this.play());
    $("back").addEventListener("click", () => this.goTo(this.at - 1));
    $("forward").addEventListener("click", () => this.goTo(this.at + 1));
    $("position").addEventListener("input", () => this.goTo(Number($("position").value)));
    $("in").addEventListener("click", () => this.zoom(1.5));
    $("out").addEventListener("click", () => this.zoom(1 / 1.5));
    $("whole").addEventListener("click", () => { this.view.scale = 0; this.clamp(); this.redraw(); });
    $("unit-close").addEventListener("click", () => {
      $("unit").hidden = true;
      this.chosen = null;
      this.redraw();
    });
    $("strip").addEventListener("click", event =>
      this.goTo(this.stepAt(event.clientX - $("strip").getBoundingClientRect().left)));
    document.addEventListener("keydown", event => this.key(event));
    const again = () => {
      this.clamp();
      this.redraw();
      this.panels.forEach(panel => panel.said.drawFan());
      this.drawPassages?.();
    };
    new ResizeObserver(again).observe($("models"));
    onTheme(again);
  }

  key(event) {
    const field = event.target.closest("textarea, input, select, button, summary");
    if (field || event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowLeft: () => this.goTo(this.at - 1), ArrowRight: () => this.goTo(this.at + 1),
      Home: () => this.goTo(0), End: () => this.goTo(this.track.length - 1),
      "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5),
      " ": () => this.play(),
    };
    if (!(event.key in acts)) return;
    acts[event.key]();
    event.preventDefault();
  }
}

api.models().then(told => { window.studio = new Studio(told); })
  .catch(error => { $("fault").textContent = error.message; $("fault").hidden = false; });
