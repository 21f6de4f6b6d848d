"use strict";
(() => {
  const collator = new Intl.Collator("en", { numeric: true });
  const isMissing = (cell) => cell === undefined || ["", "–"].includes(cell.textContent.trim());

  // Numbers come before words, and missing values last in both directions.
  function compare(a, b, direction) {
    if (isMissing(a) || isMissing(b)) return Number(isMissing(a)) - Number(isMissing(b));
    const [x, y] = [a, b].map((cell) => cell.dataset.value);
    if (x !== undefined && y !== undefined) return direction * (Number(x) - Number(y));
    if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1;
    return direction * collator.compare(a.textContent.trim(), b.textContent.trim());
  }

  function sortTable(table, column, direction, order) {
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("heading"));
      rows.sort((a, b) => order.get(a) - order.get(b));
      if (direction) rows.sort((a, b) => compare(a.cells[column], b.cells[column], direction));
      body.append(...rows);
    }
  }

  function makeSortable(table) {
    const headers = [...table.tHead.rows[0].cells];
    const order = new Map([...table.rows].map((row, index) => [row, index]));
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      header.setAttribute("aria-sort", "none");
      header.addEventListener("click", () => {
        const state = next[header.getAttribute("aria-sort")];
        headers.forEach((other) => other.setAttribute("aria-sort", other === header ? state : "none"));
        sortTable(table, column, { none: 0, ascending: 1, descending: -1 }[state], order);
      });
    });
  }

  document.querySelectorAll("main table").forEach(makeSortable);

  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => (details.open = true));
  });
  window.addEventListener("afterprint", () => folded.forEach((details) => (details.open = false)));
})();
