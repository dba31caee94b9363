// Keeps what is marked `data-live` up to date. Every page is whole without this.
const EVERY = 2000;
const lost = document.getElementById("lost");
let tag = "";

async function look() {
  if (document.visibilityState !== "visible" || !document.querySelector("[data-live]")) return;
  try {
    const answer = await fetch(location.pathname, { headers: tag ? { "If-None-Match": tag } : {}, credentials: "same-origin" });
    lost.hidden = true;
    if (answer.status !== 200) return;
    tag = answer.headers.get("etag") || "";
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (other && !part.contains(document.activeElement) && !other.isEqualNode(part)) part.replaceWith(document.adoptNode(other));
    }
  } catch {
    lost.hidden = false;
  }
}

setInterval(look, EVERY);
document.addEventListener("visibilitychange", look);

// A form is sent once: a second click on a slow machine must not do a thing twice.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.sent; });
