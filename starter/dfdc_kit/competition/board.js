"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], original = [...body.rows];
  table.querySelectorAll("thead th[data-sort]").forEach((head) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending", column = head.cellIndex;
      table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const compare = head.dataset.sort === "number"
        ? (a, b) => (key(a) === "") - (key(b) === "") || (up ? key(a) - key(b) : key(b) - key(a))
        : (a, b) => (up ? 1 : -1) * key(a).localeCompare(key(b), "en");
      body.append(...[...original].sort(compare));
    });
  });
}
