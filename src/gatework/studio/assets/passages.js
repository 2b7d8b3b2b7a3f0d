// The places of held-out data where a unit fires: characters, or curves, on the colours of its values.
import { COLOURS, line } from "./curves.js";
import { colour, context, shade } from "./maps.js";
import { element } from "./page.js";

const HEIGHT = 44;

export function passages(told, value) {
  const titles = value.scale === "open" ? ["most open", "most closed"] : ["highest", "lowest"];
  const drawn = [];
  const sections = [told.high, told.low].map((places, k) => element("section", {},
    element("h3", { textContent: `Where its ${value.name} is ${titles[k]} in held-out data` }),
    element("ol", {}, ...places.map(place => passage(place, value.scale, drawn)))));
  return { sections, draw: () => drawn.forEach(draw => draw()) };
}

function passage(place, scale, drawn) {
  if (place.characters.length) return element("li", { dir: "auto" }, ...marks(place, scale));
  const canvas = element("canvas", { role: "img" }), step = place.first + place.at + 1;
  const names = Object.keys(place.curves).join(", ");
  const where = [place.name, `step ${step.toLocaleString("en")}`].filter(Boolean).join(", ");
  canvas.setAttribute("aria-label", `${names} around ${where}, where the unit is ${place.values[place.at].toFixed(2)}`);
  drawn.push(() => drawCurves(canvas, place, scale));
  return element("li", { className: "curves" }, canvas,
    element("small", { textContent: `${where}: ${place.values[place.at].toFixed(2)}` }));
}

// Curves of some steps, each on a scale of its own; behind them the unit's values, a stripe a step.
function drawCurves(canvas, { curves, values, at }, scale) {
  const { drawing, width } = context(canvas, HEIGHT), wide = width / values.length;
  values.forEach((v, t) => {
    drawing.fillStyle = shade(v, scale);
    drawing.fillRect(t * wide, HEIGHT - 8, wide + 0.5, 8);
  });
  drawing.strokeStyle = colour("--ink");
  drawing.strokeRect(at * wide + 0.5, 0.5, Math.max(2, wide - 1), HEIGHT - 1);
  drawing.lineWidth = 1.4;
  Object.values(curves).forEach((row, k) => {
    const known = row.filter(v => v !== null), [low, high] = [Math.min(...known), Math.max(...known)];
    const y = v => HEIGHT - 12 - (HEIGHT - 16) * (v - low) / (high - low || 1);
    drawing.strokeStyle = COLOURS[k % COLOURS.length];
    let part = [];
    for (let t = 0; t <= row.length; t++) {
      if (t < row.length && row[t] !== null) part.push((t + 0.5) * wide, y(row[t]));
      else if (part.length) { line(drawing, part[0] - 1, part[1], ...part); part = []; }
    }
  });
}

// The characters of a passage, each step of them on the colour of its value.
function marks(place, scale) {
  let first = 0;
  return place.characters.map(({ label, width, leftward }) => {
    const values = place.values.slice(first, first + width), last = (first += width);
    const shades = values.map(v => shade(v, scale));
    const stops = shades.map((c, k) => `${c} ${100 * k / width}% ${100 * (k + 1) / width}%`);
    const paint = `background:linear-gradient(to ${leftward ? "left" : "right"},${stops.join()})`;
    return element("mark", { textContent: label, style: `${paint};color:${ink(shades[0])}`,
      className: last - width <= place.at && place.at < last ? "peak" : "",
      title: values.map(v => v.toFixed(2)).join("  ") });
  });
}

// Black or white, whichever is read more easily on a colour.
function ink(background) {
  const [r, g, b] = background.match(/\d+/g).map(Number);
  return 0.3 * r + 0.59 * g + 0.11 * b > 130 ? "#111" : "#fff";
}
