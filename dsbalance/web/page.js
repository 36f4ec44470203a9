// Keeps the numbers of the page as they are now, and asks before something is changed.
// Without it the page works, too: it is loaded anew, and the question is a page of its own.
"use strict";
(() => {
  const PAUSE = 2000;
  const body = document.body;
  const parse = (text) => new DOMParser().parseFromString(text, "text/html");

  // Where the values go, in their order: as text, or as the attribute that data-l names.
  let holes = [];
  const find = () => { holes = [...document.querySelectorAll("[data-l]")]; };

  const fill = (values) => values.forEach((value, place) => {
    const hole = holes[place];
    const name = hole.dataset.l;
    if (name) {
      if (hole.getAttribute(name) !== value) hole.setAttribute(name, value);
    } else if (hole.textContent !== value) {
      hole.textContent = value;
    }
  });

  const show = (told) => {
    if (document.title !== told.title) document.title = told.title;
    const icon = document.querySelector("link[rel=icon]");
    if (icon.getAttribute("href") !== told.icon) icon.setAttribute("href", told.icon);
  };

  const shapeOf = (part) => {
    const copy = part.cloneNode(true);
    for (const hole of copy.querySelectorAll("[data-l]")) {
      if (hole.dataset.l) hole.removeAttribute(hole.dataset.l);
      else hole.textContent = "";
    }
    return copy.outerHTML;
  };

  // The page has another shape, for a server came, or went, or is in trouble: what is another part
  // now is taken anew, and the rest stays, with whatever is marked or has the focus there.
  const renew = async () => {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const page = parse(await answer.text());
    const old = document.querySelector("main");
    const parts = [...page.querySelector("main").children];
    if (parts.length === old.children.length) {
      parts.forEach((part, place) => {
        const shown = old.children[place];
        if (shapeOf(part) === shapeOf(shown)) return;
        shown.replaceChildren(...part.childNodes);
        shown.className = part.className;
        shown.id = part.id;
      });
    } else {
      old.replaceChildren(...parts);
    }
    body.dataset.shape = page.body.dataset.shape;
    find();
  };

  const look = async () => {
    const answer = await fetch(body.dataset.live, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const told = await answer.json();
    if (told.shape !== body.dataset.shape && !document.querySelector("dialog[open]")) await renew();
    if (told.shape === body.dataset.shape && told.values.length === holes.length) fill(told.values);
    show(told);
  };

  let timer = 0;
  const turn = async () => {
    timer = 0;
    if (document.hidden) return;
    try {
      await look();
      body.classList.remove("stale");
    } catch {
      body.classList.add("stale");
    }
    if (!timer) timer = setTimeout(turn, PAUSE);
  };

  if (body.dataset.live) {
    find();
    timer = setTimeout(turn, PAUSE);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !timer) turn();
    });
  }

  // The question comes to the button instead of the other way round.
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-ask]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    try {
      const answer = await fetch(link.href, { cache: "no-store" });
      const form = answer.ok && parse(await answer.text()).querySelector("#ask");
      if (!form) throw new Error(answer.status);
      const dialog = document.createElement("dialog");
      dialog.append(form);
      dialog.setAttribute("aria-label", form.querySelector("h1").textContent);
      dialog.addEventListener("close", () => dialog.remove());
      form.querySelector("a").addEventListener("click", (leave) => {
        leave.preventDefault();
        dialog.close();
      });
      body.append(dialog);
      dialog.showModal();
    } catch {
      location.href = link.href;
    }
  });
})();
