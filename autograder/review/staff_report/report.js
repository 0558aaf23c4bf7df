// Sorting, searching and filtering of tables and lists, kept in the address; every page can be read without it.
"use strict";
(() => {
  const table = document.getElementById("table");
  const controls = document.querySelector("form.controls");
  const fields = controls ? [...controls.elements].filter((field) => field.name) : [];
  const rows = controls ? [...document.querySelectorAll("[data-tags]")] : [];
  const kinds = [...new Set(rows.map((row) => row.dataset.what ?? ""))];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  // Sorting: numbers from the largest first, then the other way round.
  const value = (cell) => (cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value));
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  const sort = (head, order) => {
    const owner = head.closest("table");
    for (const other of owner.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const keyed = [...owner.tBodies[0].rows].map((row) => [value(row.cells[head.cellIndex]), row]);
    keyed.sort((a, b) => sign * compare(a[0], b[0]));
    owner.tBodies[0].append(...keyed.map((pair) => pair[1]));
  };
  const next = (head) => {
    const before = head.getAttribute("aria-sort");
    if (before) return before === "ascending" ? "descending" : "ascending";
    return head.classList.contains("number") ? "descending" : "ascending";
  };
  for (const head of document.querySelectorAll("table.sortable thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      sort(head, next(head));
      if (head.closest("table") === table) remember(head);
    });
  }

  // Searching and filtering: a row fits where it has all words and all chosen tags.
  const apply = () => {
    if (!controls) return;
    const words = controls.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const tags = fields.filter((field) => field.tagName === "SELECT" && field.value).map((field) => field.value);
    for (const row of rows) {
      const own = row.dataset.tags.split(" ");
      row.hidden = !(tags.every((tag) => own.includes(tag)) && words.every((word) => texts.get(row).includes(word)));
    }
    const counts = kinds.map((kind) => {
      const own = rows.filter((row) => (row.dataset.what ?? "") === kind);
      return `${own.filter((row) => !row.hidden).length} of ${own.length} ${kind}`.trim();
    });
    document.getElementById("shown").textContent = `${counts.join(", ")} shown`;
    document.getElementById("none").hidden = rows.some((row) => !row.hidden);
    for (const part of document.querySelectorAll("details[data-holds]")) {
      part.hidden = !part.querySelector("[data-tags]:not([hidden])");
      if (words.length || tags.length) part.open = true; // what is found is seen
    }
  };

  // The address: #status=waiting&search=ada&sort=total&order=descending
  const remember = (head) => {
    const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    for (const field of fields) field.value ? state.set(field.name, field.value) : state.delete(field.name);
    if (head) {
      state.set("sort", head.dataset.key);
      state.set("order", head.getAttribute("aria-sort"));
    }
    history.replaceState(null, "", `#${state}`);
    apply();
  };
  const recall = () => {
    if (location.hash && !location.hash.includes("=")) return; // a place on the page
    const state = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) {
      field.value = state.get(field.name) ?? "";
      if (field.tagName === "SELECT" && field.selectedIndex < 0) field.value = "";
    }
    const head = [...(table?.tHead.rows[0].cells ?? [])].find((each) => each.dataset.key === state.get("sort"));
    if (head) sort(head, state.get("order") === "ascending" ? "ascending" : "descending");
    apply();
  };
  if (controls) {
    controls.hidden = false;
    controls.addEventListener("submit", (event) => event.preventDefault());
    controls.addEventListener("input", () => remember());
    document.getElementById("reset").addEventListener("click", () => {
      for (const field of fields) field.value = "";
      remember();
      controls.elements.search.focus();
    });
  }
  addEventListener("hashchange", recall);
  recall();
})();
