// Elements of the page.
export function element(tag, properties = {}, ...children) {
  const { dataset, style, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset);
  for (const [name, value] of Object.entries(rest)) {
    if (name.startsWith("aria-") || name === "role") made.setAttribute(name, value);
  }
  if (style) made.style.cssText = style;
  made.append(...children);
  return made;
}
