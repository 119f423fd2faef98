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
