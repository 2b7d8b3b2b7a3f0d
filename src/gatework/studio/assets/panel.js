// One network on the page: its gates with their sliders, its maps, its prediction, its cell.
import * as api from "./api.js";
import { drawCost, drawMap, decode, levelFor } from "./maps.js";
import { element } from "./page.js";
import { Reading } from "./reading.js";
import { Said } from "./said.js";
import { rowName } from "./text.js";

const COST_HEIGHT = 34, LEAST_HEIGHT = 44, MOST_HEIGHT = 84, ROW = 5;

export class Panel {
  constructor(number, info, studio) {
    Object.assign(this, { number, info, studio, layer: 0, hold: {}, base: null, held: null });
    this.maps = info.values.map(value => this.makeMap(value));
    this.build();
  }

  get reading() { return this.held || this.base; }

  // ---- building --------------------------------------------------------------------------------

  build() {
    const { info, number } = this;
    this.mean = element("span", { className: "mean" });
    this.becomes = element("span", { className: "becomes", role: "status" });
    const head = element("header", {}, element("h2", { textContent: info.name, id: `name-${number}` }),
      element("span", { className: "quiet", textContent: `${info.doc} ${info.units} units.` }),
      ...this.presets(), this.becomes, this.mean);
    this.cost = element("canvas", { role: "img",
      "aria-label": `Cost of each ${this.studio.step} for ${info.name}, ${info.unit}` });
    this.listenTo(this.cost, null);
    const costRow = element("div", { className: "control" }, element("b", { textContent: "cost" }),
      element("span", { className: "quiet", title: info.meaning,
        textContent: info.meaning.length > 40 ? info.unit : `${info.unit}: ${info.meaning}` }));
    this.said = new Said(number, this.maps.length + 2);
    const rows = `grid-template-rows: repeat(${this.maps.length + 1}, min-content) 1fr`;
    const grid = element("div", { className: "model", style: rows }, costRow,
      element("div", { className: "map" }, this.cost));
    for (const map of this.maps) grid.append(map.control, map.frame);
    grid.append(this.said.root);
    this.picture = element("div", { className: "picture" });
    this.equations = element("pre");
    this.details = element("details", { className: "cell", open: this.studio.single },
      element("summary", { textContent: "The cell: what a step computes" }), this.picture, this.equations);
    this.details.addEventListener("toggle", () => this.drawCell());
    this.root = element("article", { "aria-labelledby": `name-${number}` }, head,
      ...this.tries(), grid, this.details);
  }

  presets() {
    const gates = this.info.values.filter(v => v.kind === "gate").map(v => v.name);
    const made = [];
    if (this.info.layers.length > 1) {
      const select = element("select", { "aria-label": "Layer" });
      this.info.layers.forEach((name, k) => select.append(new Option(name, k)));
      select.addEventListener("change", () => { this.layer = Number(select.value); this.studio.redraw(); });
      made.push(select);
    }
    if (this.info.cell === "gru") {
      made.push(this.button("Hold r = 1, z = 0: the vanilla RNN", () => {
        this.details.open = true;
        this.setHold({ r: 1, z: 0 });
      }));
    }
    if (gates.length) {
      this.release = this.button("Let go of all gates", () => this.setHold({}));
      this.release.hidden = true;
      made.push(this.release);
    }
    return made;
  }

  // What to try first, in words of what it does; nothing for a cell without gates.
  tries() {
    const { tries } = this.info;
    if (!tries.length) return [];
    return [element("div", { className: "tries" }, element("span", { className: "quiet", textContent: "Try first" }),
      ...tries.map(({ words, hold }) => this.button(words, () => this.setHold(hold))))];
  }

  button(words, act) {
    const made = element("button", { type: "button", textContent: words });
    made.addEventListener("click", act);
    return made;
  }

  makeMap(value) {
    const canvas = element("canvas", {
      tabIndex: 0, role: "slider", "aria-orientation": "vertical", "aria-valuemin": 0,
      "aria-valuemax": value.units - 1, "aria-valuenow": 0,
      "aria-label": `${this.info.name}: ${value.name}, ${value.words}. Unit`,
    });
    const map = { value, canvas, tall: false };
    const expand = element("button", { type: "button", className: "expand", textContent: "↕",
      "aria-label": `Show ${value.name} taller`, "aria-pressed": "false" });
    expand.addEventListener("click", () => {
      map.tall = !map.tall;
      expand.setAttribute("aria-pressed", map.tall);
      this.studio.redraw();
    });
    map.frame = element("div", { className: "map" }, canvas, expand);
    map.control = element("div", { className: "control", dataset: { value: value.name } },
      element("span", {}, element("b", { textContent: value.name }), ` ${value.words}`));
    if (value.kind === "gate") map.control.append(this.makeHold(map));
    this.listenTo(canvas, map);
    return map;
  }

  makeHold(map) {
    const name = `${map.value.name} of ${this.info.name}`;
    map.tick = element("input", { type: "checkbox", "aria-label": `Hold ${name}` });
    map.slider = element("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0.5,
      "aria-label": `Value at which ${name} is held` });
    map.output = element("output", { textContent: "" });
    const changed = () => {
      const hold = { ...this.hold };
      if (map.tick.checked) hold[map.value.name] = Number(map.slider.value);
      else delete hold[map.value.name];
      this.setHold(hold);
    };
    map.tick.addEventListener("change", changed);
    map.slider.addEventListener("input", () => { map.tick.checked = true; changed(); });
    return element("span", { className: "hold" },
      element("label", {}, map.tick, " hold"), map.slider, map.output);
  }

  height(map) {
    const { units } = map.value;
    return map.tall ? Math.max(MOST_HEIGHT, units * ROW)
      : Math.max(LEAST_HEIGHT, Math.min(MOST_HEIGHT, Math.max(units, 4 * Math.min(units, 12))));
  }

  // ---- pointing and choosing -------------------------------------------------------------------

  listenTo(canvas, map) {
    const place = event => {
      const box = canvas.getBoundingClientRect();
      const at = this.studio.stepAt(event.clientX - box.left);
      const row = map && Math.max(0, Math.min(map.value.units - 1,
        Math.floor((event.clientY - box.top) / box.height * map.value.units)));
      return { at, unit: map && this.order(map.value)[row] };
    };
    let from = null;
    canvas.addEventListener("pointerdown", event => {
      from = { x: event.clientX, first: this.studio.view.first, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", event => {
      if (from && Math.abs(event.clientX - from.x) > 3) from.moved = true;
      if (from?.moved) this.studio.moveTo(from.first - (event.clientX - from.x) / this.studio.view.scale);
      else this.studio.readOut(this, map, place(event));
    });
    canvas.addEventListener("pointerup", event => {
      const { at, unit } = place(event);
      if (from && !from.moved) {
        this.studio.goTo(at);
        if (map) this.studio.choose(this, map.value, unit, true);
      }
      from = null;
    });
    canvas.addEventListener("pointercancel", () => { from = null; });
    canvas.addEventListener("wheel", event => {
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        this.studio.moveTo(this.studio.view.first + event.deltaX / this.studio.view.scale);
      } else if (event.ctrlKey || event.altKey || !event.shiftKey) {
        const box = canvas.getBoundingClientRect();
        this.studio.zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left);
      }
      event.preventDefault();
    }, { passive: false });
    if (map) canvas.addEventListener("keydown", event => this.key(event, map));
  }

  key(event, map) {
    const chosen = this.studio.chosenIn(this, map.value) ?? 0;
    const moves = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10 };
    if (event.key in moves) {
      const order = this.order(map.value), row = order.indexOf(chosen) + moves[event.key];
      this.studio.choose(this, map.value, order[Math.max(0, Math.min(order.length - 1, row))], false);
    } else if (event.key === "Enter") {
      this.studio.choose(this, map.value, chosen, true);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  // The units of a value from the top row to the bottom: those that act alike stand together.
  order(value) {
    const order = this.info.order[this.layer];
    if (order.length === value.units && !value.axes.length) return order;
    return Array.from({ length: value.units }, (_, unit) => unit);
  }

  // The value of a unit at a step, as near as a tile tells it; null where it is not here.
  valueAt(map, at, unit) {
    const reading = this.reading;
    if (!reading) return null;
    const level = levelFor(this.studio.view, reading.plan.levels);
    const column = Math.floor(at / reading.plan.levels[level]);
    const number = Math.floor(column / reading.plan.tile);
    const tile = reading.tiles.get(`/${this.layer}/${map.value.name}/${level}/${number}`);
    const k = column - number * reading.plan.tile;
    return tile && k < tile.columns ? decode(tile.codes[unit * tile.columns + k], map.value.scale) : null;
  }

  // ---- reading ---------------------------------------------------------------------------------

  async read(asked) {
    this.base?.stop();
    const fresh = await this.begin(asked, {});
    if (asked !== this.studio.asked) { fresh.stop(); return; } // something else is to be read
    this.base?.stop();
    this.base = fresh;
    await this.readHeld(asked);
  }

  async begin(asked, hold) {
    const told = await api.begin(this.number, asked, hold);
    return new Reading(told.reading, told.length, this.studio.plan,
      (reading, error) => this.studio.changed(this, reading, error));
  }

  setHold(hold) {
    this.hold = hold;
    for (const map of this.maps) {
      if (!map.tick) continue;
      const value = hold[map.value.name];
      map.tick.checked = value !== undefined;
      if (value !== undefined) map.slider.value = value;
      map.output.textContent = value === undefined ? "" : value.toFixed(2);
      map.control.classList.toggle("held", value !== undefined);
    }
    this.release.hidden = !Object.keys(hold).length;
    this.studio.held(this);
  }

  async readHeld(asked) {
    const slid = this.slid = Symbol("the last slider position that was asked for");
    const old = this.held;
    if (!Object.keys(this.hold).length) {
      this.held = null;
    } else {
      const fresh = await this.begin(asked, this.hold);
      if (this.slid !== slid) { fresh.stop(); return; } // the slider has moved on
      this.held = fresh;
    }
    old?.stop();
  }

  // Where nothing is read there is nothing to show.
  empty() {
    this.base?.stop();
    this.held?.stop();
    this.slid = this.expected = this.base = this.held = null;
    this.said.empty();
    this.picture.querySelectorAll("[data-name]").forEach(node => node.style.removeProperty("--open"));
  }

  // ---- drawing ---------------------------------------------------------------------------------

  draw() {
    const { view, at } = this.studio;
    const most = this.info.most ?? Math.max(this.base?.most ?? 0, this.held?.most ?? 0);
    drawCost(this.cost, COST_HEIGHT, this.reading, this.base, view, { at }, most);
    for (const map of this.maps) {
      const unit = this.studio.chosenIn(this, map.value);
      const order = this.order(map.value), row = unit === null ? null : order.indexOf(unit);
      drawMap(map.canvas, this.height(map), this.reading, this.layer, map.value, view, { at, row, order });
      map.canvas.setAttribute("aria-valuenow", unit ?? 0);
      const value = this.valueAt(map, at, unit ?? 0);
      const told = value === null ? "" : `, ${value.toFixed(2)}`;
      map.canvas.setAttribute("aria-valuetext", `unit ${rowName(map.value, unit ?? 0)}${told} at step ${at}`);
    }
    const [base, held] = [this.base?.cost, this.held?.cost];
    const show = cost => `${cost < 0.1 ? cost.toPrecision(2) : cost.toFixed(2)} ${this.info.unit}`;
    this.mean.textContent = base == null ? "" : held == null ? show(base)
      : `${show(held)} with gates held, ${show(base)} before`;
  }

  // What the network expects after a step: with gates held, and (a mark) as it was.
  async predict(at) {
    const reading = this.reading, base = this.base;
    if (!reading || at >= reading.done) return;
    const [now, before] = await Promise.all([api.step(reading.key, at),
      base !== reading && at < base.done ? api.step(base.key, at) : null]);
    if (at !== this.studio.at || reading !== this.reading) return;
    this.expected = this.said.show(now, before, this.studio.track, this.studio.step);
    this.openGates(now.means);
  }

  openGates(means) {
    for (const node of this.picture.querySelectorAll("[data-name]")) {
      const mean = means[node.dataset.name]?.[this.layer];
      if (mean !== undefined) node.style.setProperty("--open", mean);
    }
  }

  async drawCell() {
    const whole = Object.values(this.hold).every(v => v === 0 || v === 1);
    const hold = whole ? this.hold : {};
    const name = JSON.stringify(hold);
    if (this.shown !== name && (this.details.open || whole)) {
      this.shown = name;
      const told = await api.cell(this.number, hold);
      if (this.shown !== name) return;
      // the picture is drawn by the server from the cell's equations, escaped there
      const drawn = new DOMParser().parseFromString(told.svg, "image/svg+xml").documentElement;
      this.picture.replaceChildren(document.importNode(drawn, true));
      this.equations.textContent = told.equations.join("\n");
      this.becomes.textContent = told.becomes
        ? `= ${told.becomes.name}. With these gates held, it is that cell exactly: ${told.becomes.doc}` : "";
      this.predict(this.studio.at).catch(() => {});
    }
  }
}
