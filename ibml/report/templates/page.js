"use strict";
(() => {
  const words = new Intl.Collator("en", { numeric: true });
  const absent = (cell) => cell === undefined || ["", "–"].includes(cell.textContent.trim());

  // Numbers before words, what is missing last whichever way the others go.
  function compare(a, b, direction) {
    if (absent(a) || absent(b)) return Number(absent(a)) - Number(absent(b));
    const [x, y] = [a, b].map((cell) => cell.dataset.value);
    if (x !== undefined && y !== undefined) return direction * (Number(x) - Number(y));
    if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1;
    return direction * words.compare(a.textContent.trim(), b.textContent.trim());
  }

  function sort(table, column, direction, order) {
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("heading"));
      rows.sort((a, b) => order.get(a) - order.get(b));
      if (direction) rows.sort((a, b) => compare(a.cells[column], b.cells[column], direction));
      body.append(...rows);
    }
  }

  function sortable(table) {
    const headers = [...table.tHead.rows[0].cells];
    const order = new Map([...table.rows].map((row, place) => [row, place]));
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      header.setAttribute("aria-sort", "none");
      header.addEventListener("click", () => {
        const way = next[header.getAttribute("aria-sort")];
        headers.forEach((other) => other.setAttribute("aria-sort", other === header ? way : "none"));
        sort(table, column, { none: 0, ascending: 1, descending: -1 }[way], order);
      });
    });
  }

  document.querySelectorAll("main table").forEach(sortable);

  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => (details.open = true));
  });
  window.addEventListener("afterprint", () => folded.forEach((details) => (details.open = false)));
})();
