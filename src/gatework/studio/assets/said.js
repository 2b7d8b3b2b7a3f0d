// What a network predicts from a step: with gates held and, beside it, as it was.
import { COLOURS, line, number } from "./curves.js";
import { colour, context } from "./maps.js";
import { element } from "./page.js";

const FAN = 150;
const percent = chance => `${(100 * chance).toFixed(1)} %`;
// A byte that comes, in words.
const named = ({ label, begins }) => begins ? `${label}, the beginning of one like ${begins}` : label;

// How each kind is told: its title, what goes into the list, a sentence, and words to be spoken.
const KINDS = {
  symbols: {
    title: "What comes next?",
    items: (now, before) => {
      const was = new Map(before?.next.map(({ number: n, chance }) => [n, chance]));
      return now.next.map(({ number: n, label, begins, chance }) => {
        const sign = element("code", { textContent: label });
        if (begins) sign.append(element("small", { textContent: ` ${begins}…`, title: `the beginning of ${[...begins].join(" ")} …` }));
        return bar(sign, chance, was.get(n), n === now.coming?.number);
      });
    },
    sentence: (now, before, step) => now.coming === null ? "The text ends here."
      : `The next ${step} is ${named(now.coming)}: ${percent(now.coming.chance)}`
        + (before?.coming ? `, before ${percent(before.coming.chance)}.` : "."),
    spoken: now => `expects ${now.next[0].label}, ${Math.round(100 * now.next[0].chance)} percent`,
  },
  chances: {
    title: "Which class?",
    items: (now, before) => {
      const was = new Map(before?.names.map((name, k) => [name, before.chances[k]]));
      return now.names.map((name, k) => bar(element("span", { textContent: name, className: "class" }),
        now.chances[k], was.get(name), name === now.truth));
    },
    sentence: (now, before) => now.truth === "" ? "What it is, is not known."
      : `It is ${now.truth}: ${percent(now.chance)}` + (before ? `, before ${percent(before.chance)}.` : "."),
    spoken: now => `expects ${now.names[0]}, ${Math.round(100 * now.chances[0])} percent`,
  },
  number: {
    title: "Which number?",
    items: (now, before) => [["predicted", now.value], ...(before ? [["before", before.value]] : []), ["truth", now.truth]]
      .map(([name, value]) => element("li", { className: name === "truth" ? "right" : "" },
        element("span", { textContent: name }), element("span", {}),
        element("span", { className: "share", textContent: number(value) }))),
    sentence: now => now.truth == null ? "What it is, is not known." : `It is off by ${number(Math.abs(now.value - now.truth))}.`,
    spoken: now => `predicts ${number(now.value)}`,
  },
  forecast: {
    title: "What comes next?",
    items: () => [],
    sentence: (now, before) => {
      const middle = medianOf(now.targets[0], now.levels), first = number(middle[0]), last = number(middle.at(-1));
      const steps = middle.length === 1 ? first : `${first} at first, ${last} after ${middle.length} steps`;
      const was = before && medianOf(before.targets[0], before.levels);
      return `The median: ${steps}` + (was ? `; before, ${number(was[0])} and ${number(was.at(-1))}.` : ".");
    },
    spoken: now => `predicts ${number(medianOf(now.targets[0], now.levels)[0])}`,
  },
};

function bar(name, chance, was, right) {
  const made = element("span", { className: "bar" }, element("i", { style: `width:${100 * chance}%` }));
  if (was !== undefined) made.append(element("u", { style: `left:${100 * was}%` }));
  return element("li", { className: right ? "right" : "" }, name, made,
    element("span", { className: "share", textContent: percent(chance) }));
}

const medianOf = ({ quantiles }, levels) =>
  quantiles[levels.reduce((best, level, k) => Math.abs(level - 0.5) < Math.abs(levels[best] - 0.5) ? k : best, 0)];

// The place on the page where predictions of one network are shown.
export class Said {
  constructor(number, rows) {
    this.title = element("h3", { id: `next-${number}` });
    this.context = element("div", { className: "context" });
    this.fan = element("canvas", { role: "img", hidden: true });
    this.target = element("select", { "aria-label": "Which curve is forecast", hidden: true });
    this.target.addEventListener("change", () => this.drawFan());
    this.list = element("ol", { "aria-labelledby": `next-${number}` });
    this.sentence = element("p", { className: "quiet" });
    this.root = element("section", { className: "next", style: `grid-row: 1 / span ${rows}` },
      this.title, this.context, this.target, this.fan, this.list, this.sentence);
  }

  // now, before: the server's answers of one step, `before` null where no gate is held.
  show(now, before, track, step) {
    const kind = KINDS[now.said.kind];
    Object.assign(this, { now, before, track });
    this.title.textContent = kind.title;
    this.context.textContent = now.said.read === undefined ? "" : `\u2068${now.said.read}\u2069`;
    this.context.hidden = now.said.read === undefined;
    this.list.replaceChildren(...kind.items(now.said, before?.said));
    const of = now.said.kind === "symbols" ? "" : ` ${now.of}`;
    this.sentence.textContent = kind.sentence(now.said, before?.said, step) + of;
    this.drawFan();
    return kind.spoken(now.said);
  }

  empty() {
    this.now = null;
    this.list.replaceChildren();
    this.context.textContent = this.sentence.textContent = "";
    this.fan.hidden = this.target.hidden = true;
  }

  // A forecast as a fan: what was read, what came, the median and the outermost quantiles.
  drawFan() {
    const targets = this.now?.said.targets;
    this.fan.hidden = !targets;
    this.target.hidden = !targets || targets.length < 2;
    if (!targets) return;
    if (this.target.length !== targets.length) this.target.replaceChildren(...targets.map(({ name }) => new Option(name, name)));
    const k = Math.max(0, this.target.selectedIndex), fan = targets[k], { levels } = this.now.said;
    const was = this.before?.said.targets[k], horizon = fan.truth.length;
    const past = [...this.track.rows.find(({ name }) => name === fan.name)?.values
      .slice(Math.max(0, this.now.at + 1 - horizon), this.now.at + 1) ?? []];
    const { drawing, width } = context(this.fan, FAN);
    const known = [past, fan.truth, ...fan.quantiles, ...(was?.quantiles ?? [])].flat()
      .filter(v => v !== null && !Number.isNaN(v));
    const [low, high] = [Math.min(...known), Math.max(...known)], all = past.length + horizon;
    const x = t => 3 + (t + 0.5) / all * (width - 6);
    const y = v => FAN - 6 - (FAN - 20) * (v - low) / (high - low || 1);
    const from = past.length, ends = own => [own.quantiles[0], own.quantiles.at(-1)];
    band(drawing, ...ends(fan), x, y, from, colour("--accent"));
    drawing.strokeStyle = colour("--line");
    line(drawing, x(from - 0.5), 14, x(from - 0.5), FAN);
    if (was) {
      drawing.setLineDash([2, 3]);
      for (const own of ends(was)) curve(drawing, own, x, y, from, colour("--warm"), 1);
      drawing.setLineDash([5, 3]);
      curve(drawing, medianOf(was, levels), x, y, from, colour("--warm"), 1.6);
      drawing.setLineDash([]);
    }
    curve(drawing, past, x, y, 0, colour("--quiet"), 1.4);
    curve(drawing, fan.truth, x, y, from, colour("--ink"), 1.6);
    curve(drawing, medianOf(fan, levels), x, y, from, colour("--accent"), 2);
    this.legend(drawing, was);
    this.fan.setAttribute("aria-label", `Forecast of ${fan.name}: the next ${horizon} steps, `
      + `median ${medianOf(fan, levels).slice(0, 12).map(number).join(" ")}`
      + `; what came ${fan.truth.slice(0, 12).map(number).join(" ")}`);
  }

  legend(drawing, was) {
    let x = 2;
    const words = [["came", "--ink"], ["forecast", "--accent"], ...(was ? [["before", "--warm"]] : [])];
    drawing.font = "11px system-ui, sans-serif";
    drawing.textAlign = "left";
    for (const [word, name] of words) {
      drawing.fillStyle = colour(name);
      drawing.fillText(`— ${word}`, x, 9);
      x += drawing.measureText(`— ${word}`).width + 10;
    }
  }
}

function curve(drawing, values, x, y, from, paint, thick) {
  drawing.strokeStyle = drawing.fillStyle = paint;
  drawing.lineWidth = thick;
  drawing.beginPath();
  let gap = true;
  values.forEach((v, k) => {
    if (v === null || Number.isNaN(v)) { gap = true; return; }
    if (gap) drawing.moveTo(x(from + k), y(v));
    drawing.lineTo(x(from + k), y(v));
    if (values.length === 1) drawing.fillRect(x(from + k) - 2, y(v) - 2, 4, 4);
    gap = false;
  });
  drawing.stroke();
}

function band(drawing, low, high, x, y, from, paint) {
  drawing.fillStyle = paint;
  drawing.globalAlpha = 0.18;
  drawing.beginPath();
  low.forEach((v, k) => drawing.lineTo(x(from + k), y(v)));
  high.toReversed().forEach((v, k) => drawing.lineTo(x(from + high.length - 1 - k), y(v)));
  drawing.fill();
  drawing.globalAlpha = 1;
}
