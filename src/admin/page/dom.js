// Builds the page. Whatever comes from the gateway becomes text, never markup.

/** An element: attributes by name, handlers as `onclick`, children as nodes or text. Nothing is made of `null` and `false`. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...present(children));
  return node;
}

function present(children) {
  return children.flat(Infinity).filter((child) => child != null && child !== false);
}

/** Puts other children in the place of all that a node has. */
export function put(node, ...children) {
  node.replaceChildren(...present(children));
}

/** Text in which `backticks` are code. */
export function rich(text) {
  return text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

/** A part of a view with a heading of its own. */
export function card(title, ...children) {
  return el("section", { class: "card" }, el("h2", {}, title), ...children);
}

/** A table that lays its rows out as blocks on a phone; the roles keep it a table there. The last column has no name. */
export function table(label, columns, body, look) {
  const heads = columns.map((name) => el("th", { scope: "col", role: "columnheader" }, name));
  return el("table", { role: "table", "aria-label": label, class: look },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads, el("td", { role: "cell" }))), body);
}

/** A row: what it is about, then a cell for each other column. */
export function tableRow(columns, title, cells) {
  return el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, title),
    cells.map((cell, index) => el("td", { role: "cell", "data-label": columns[index + 1] }, cell)));
}

/** A label beside its control. */
export function field(label, control, ...hints) {
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control, ...hints);
}

export function button(label, onclick, more = {}) {
  return el("button", { type: "button", onclick, ...more }, label);
}

/** Asks in a dialog, which has focus until it is closed. `submit` gets its form; what it throws leaves it open. */
export function ask(title, confirm, cancel, body, submit) {
  const failed = el("p", { class: "bad", role: "alert" });
  const form = el("form", { method: "dialog" },
    el("h2", { id: "dialog-title" }, title), body, failed,
    el("div", { class: "actions" },
      button(cancel, () => dialog.close()),
      el("button", { type: "submit", class: "primary" }, confirm)));
  const dialog = el("dialog", { "aria-labelledby": "dialog-title", onclose: () => dialog.remove() }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await submit(form);
      dialog.close();
    } catch (error) {
      failed.textContent = [error.message, ...(error.problems ?? [])].join("\n");
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
