// Pages that show implementations beside each other: two of them, as chosen, on every page alike.
document.addEventListener("DOMContentLoaded", () => {
  const selects = [...document.querySelectorAll(".choice select")];
  if (!selects.length) return;
  const has = (select, name) => [...select.options].some((option) => option.value === name);
  const show = () => {
    const chosen = selects.map((select) => select.value);
    for (const panel of document.querySelectorAll(".beside > *")) {
      const place = chosen.findIndex((name) => panel.classList.contains(name));
      panel.hidden = place < 0;
      panel.style.order = place;
    }
  };
  const kept = JSON.parse(localStorage.getItem("fourfold.beside") ?? "[]");
  selects.forEach((select, place) => {
    if (has(select, kept[place])) select.value = kept[place];
    select.addEventListener("change", () => {
      localStorage.setItem("fourfold.beside", JSON.stringify(selects.map((one) => one.value)));
      show();
    });
  });
  show();
});

// What the theme leaves out: the level of the sidebar's headings, and the keyboard's way to what
// scrolls by itself.
document.addEventListener("DOMContentLoaded", () => {
  for (const one of document.querySelectorAll("p.caption[role=heading]")) one.ariaLevel = "2";
  for (const one of document.querySelectorAll("pre, .table-wrapper, .formula")) one.tabIndex = 0;
});
