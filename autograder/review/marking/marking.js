// Keys, and the sum of the chosen items; every form works without it.
"use strict";
(() => {
  const form = document.getElementById("mark");
  const byId = (id) => document.getElementById(id);
  const press = (id) => byId(id)?.click();
  const go = (step) => {
    const links = [...document.querySelectorAll("[data-group]")];
    const at = links.findIndex((link) => link.hasAttribute("aria-current"));
    links[at + step]?.click();
  };
  const shown = document.querySelector("[data-group][aria-current]");
  if (shown) shown.closest("ol").scrollTop = shown.offsetTop - shown.closest("ol").offsetTop - 60;

  if (form) {
    const points = byId("points");
    const words = byId("words");
    const items = [...form.querySelectorAll("input[name=item]")];
    const show = () => {
      const chosen = items.filter((item) => item.checked);
      const sum = chosen.reduce((total, item) => total + Number(item.dataset.points), Number(form.dataset.start));
      const counted = Math.round(Math.min(Math.max(sum, 0), Number(form.dataset.maximum)) * 1e6) / 1e6;
      points.placeholder = chosen.length ? String(counted) : "";
      byId("sum").textContent = chosen.length ? (points.value ? `(items: ${counted})` : "by the items") : "";
    };
    for (const item of items) {
      item.addEventListener("change", () => {
        points.value = "";
        show();
      });
    }
    points.addEventListener("input", show);
    for (const button of form.querySelectorAll("button[data-points]")) {
      button.addEventListener("click", () => {
        points.value = button.dataset.points;
        show();
      });
    }
    for (const button of form.querySelectorAll("button.reuse")) {
      button.addEventListener("click", () => {
        const text = button.dataset.comment;
        if (!words.value.includes(text)) words.value = words.value ? `${words.value}\n\n${text}` : text;
      });
    }
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault(); // a second Enter before the next page is there
      form.dataset.sent = "1";
    });
    addEventListener("pageshow", () => delete form.dataset.sent);
    show();
  }

  const keys = {
    j: () => go(1), k: () => go(-1), u: () => press("undo"), h: () => press("names"), f: () => press("full"), 0: () => press("zero"),
    p: () => byId("points")?.focus(), c: () => byId("words")?.focus(),
    r: () => { if (byId("edit")) { byId("edit").open = true; byId("new-points").focus(); } },
    "?": () => { if (byId("keys")) { byId("keys").open = true; byId("keys").scrollIntoView(); } },
  };
  const choose = (key) => {
    const field = form?.querySelector(`input[data-key="${key}"]`);
    field?.click();
    return Boolean(field);
  };
  addEventListener("keydown", (event) => {
    const field = event.target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select");
    if (event.key === "Escape") field?.blur();
    if (event.isComposing || event.altKey || event.metaKey) return;
    if (event.key === "Enter" && form && (event.ctrlKey || !event.target.closest("textarea, button, a, summary, select, .rubric"))) {
      event.preventDefault();
      press("save");
      return;
    }
    if (field || event.ctrlKey) return;
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
    if (digit && event.shiftKey) {
      const button = form?.querySelectorAll("button.reuse")[Number(digit) - 1];
      if (button) { event.preventDefault(); button.click(); }
    } else if (choose(digit ?? event.key)) {
      event.preventDefault();
    } else if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
})();
