// Sorting, searching and filtering of tables; every page can be read without it.
"use strict";
(() => {
  const value = (cell) => {
    const given = cell.dataset.value;
    return given === undefined ? cell.textContent.trim() : Number(given);
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        // Numbers are read from the top: the largest first, then the other way round.
        const before = head.getAttribute("aria-sort");
        const first = head.classList.contains("number") ? "descending" : "ascending";
        const order = before === null ? first : before === "ascending" ? "descending" : "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const body = table.tBodies[0];
        const keyed = [...body.rows].map((row) => [value(row.cells[column]), row]);
        keyed.sort((a, b) => sign * compare(a[0], b[0]));
        body.append(...keyed.map((pair) => pair[1]));
      });
    });
  }

  const controls = document.querySelector("form.controls");
  if (!controls) return;
  const search = document.getElementById("search");
  const show = document.getElementById("show");
  const shown = document.getElementById("shown");
  const none = document.getElementById("none");
  const rows = [...document.getElementById("table").tBodies[0].rows];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const tags = row.dataset.tags.split(" ");
      const fits = (show.value === "all" || tags.includes(show.value)) && words.every((w) => texts.get(row).includes(w));
      row.hidden = !fits;
      count += fits ? 1 : 0;
    }
    shown.textContent = `${count} of ${rows.length} shown`;
    none.hidden = count > 0;
  };
  const remember = () => {
    const state = new URLSearchParams();
    if (show.value !== "all") state.set("show", show.value);
    if (search.value) state.set("search", search.value);
    history.replaceState(null, "", `#${state}`);
    apply();
  };
  const recall = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    const wanted = state.get("show") ?? "all";
    show.value = [...show.options].some((option) => option.value === wanted) ? wanted : "all";
    search.value = state.get("search") ?? "";
    apply();
  };
  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", remember);
  show.addEventListener("change", remember);
  document.getElementById("reset").addEventListener("click", () => {
    search.value = "";
    show.value = "all";
    remember();
    search.focus();
  });
  addEventListener("hashchange", recall);
  recall();
})();
