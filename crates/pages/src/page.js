"use strict";
for (const table of document.querySelectorAll("table[data-sorts]")) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const form = document.getElementById(table.dataset.sorts);
  const words = form.querySelector("input");
  const kind = form.querySelector("select");
  const count = form.querySelector("output");
  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = wanted.every((word) => text.includes(word)) &&
        (kind.value === "" || row.dataset.kinds.split(" ").includes(kind.value));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    count.textContent = shown + " of " + rows.length + " shown";
  };
  words.addEventListener("input", show);
  kind.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
  const heads = Array.from(table.tHead.rows[0].cells);
  const key = (row, at) => row.cells[at].dataset.key ?? row.cells[at].textContent;
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    // On paper a head that is repeated on the next page has its text, but no button.
    head.dataset.name = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      rows.sort((one, other) => compare(key(one, at), key(other, at)) * (up ? 1 : -1));
      body.append(...rows);
    });
  });
}
