// Elements from data. Text goes in as text, never as markup: there is no other way in here.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [kind, f] of Object.entries(value)) node.addEventListener(kind, f);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false).map(childOf));
  return node;
}

const childOf = (c) => (c instanceof Node ? c : document.createTextNode(String(c)));

export const el = (tag, props = {}, ...children) => filled(document.createElement(tag), props, children);
export const svg = (tag, props = {}, ...children) => filled(document.createElementNS(SVG, tag), props, children);
export const byId = (id) => document.getElementById(id);
export const body = (section) => byId(section).querySelector(".body");

// Text with `code` in it, as our own messages have it.
export const coded = (text) => text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));

// Set only what differs, so that a quiet second costs nothing and moves no focus or selection.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
  return node;
}

export function setAttr(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export const show = (node, on) => {
  if (node.hidden === Boolean(on)) node.hidden = !on;
};

// One child per item, in order. A child whose key stays is kept, so focus in it stays too.
export function keyed(parent, items, keyOf, make, update) {
  const old = new Map([...parent.children].map((node) => [node.headwaterKey, node]));
  const wanted = new Set(items.map(keyOf));
  for (const [key, node] of old) if (!wanted.has(key)) node.remove();
  let cursor = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let node = old.get(key);
    if (!node) {
      node = make(item);
      node.headwaterKey = key;
      old.set(key, node);
    }
    if (node === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(node, cursor);
    update?.(node, item);
  }
}
