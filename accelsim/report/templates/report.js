"use strict";
(() => {
  const tip = document.getElementById("tip");
  const show = (event) => {
    const mark = event.target.closest("[data-t]");
    if (!mark) { tip.hidden = true; return; }
    tip.textContent = mark.dataset.t;
    tip.hidden = false;
    const gap = 14;
    const left = Math.min(event.clientX + gap, window.innerWidth - tip.offsetWidth - 6);
    const below = event.clientY + gap;
    const above = event.clientY - gap - tip.offsetHeight;
    tip.style.left = Math.max(6, left) + "px";
    tip.style.top = (below + tip.offsetHeight > window.innerHeight && above > 0 ? above : below) + "px";
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", () => { tip.hidden = true; }, true);

  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const body = head.closest("table").tBodies[0];
      const column = head.cellIndex;
      const falling = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[column];
        return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
      };
      const compare = (a, b) => {
        const one = key(a), two = key(b);
        if (typeof one === "number" && typeof two === "number") return one - two;
        if (typeof one === "number") return -1;
        if (typeof two === "number") return 1;
        return one.localeCompare(two, "en", { numeric: true });
      };
      const rows = [...body.rows].sort((a, b) => (falling ? compare(b, a) : compare(a, b)));
      body.append(...rows);
    });
  }

  for (const select of document.querySelectorAll("select[data-for]")) {
    const views = document.getElementById(select.dataset.for).children;
    const choose = () => { [...views].forEach((view, index) => { view.hidden = index !== Number(select.value); }); };
    select.addEventListener("change", choose);
    choose();
  }

  // Where a phone would have to scroll sideways, or a row would be taller than TALL pixels (five lines), a row becomes
  // a list of names and values.
  const TALL = 100;
  const tables = [...document.querySelectorAll(".scroll > table")];
  const stack = () => {
    for (const table of tables) {
      table.classList.remove("stacked");
      if (window.innerWidth > 520) continue;
      const isWide = table.parentElement.scrollWidth > table.parentElement.clientWidth;
      const isTall = [...table.tBodies[0].rows].some((row) => row.cells.length > 2 && row.offsetHeight > TALL);
      if (!isWide && !isTall) continue;
      const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
      const rows = [...table.tBodies[0].rows];
      names.forEach((name, column) => {
        const cells = rows.map((row) => row.cells[column]);
        const wide = name.length + Math.max(...cells.map((cell) => cell.textContent.length)) > 24;
        for (const cell of cells) {
          cell.dataset.l = name;
          cell.toggleAttribute("data-w", wide);
        }
      });
      table.classList.add("stacked");
    }
  };
  window.addEventListener("resize", stack);
  document.addEventListener("toggle", stack, true);
  document.addEventListener("change", stack);
  stack();

  window.addEventListener("beforeprint", () => { for (const table of tables) table.classList.remove("stacked"); });
  window.addEventListener("afterprint", stack);
})();
