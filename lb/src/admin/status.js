// Renews what changes, in place. Not while somebody is at a form: it would be taken away under his hands.
const main = document.querySelector("main");

async function renew() {
  if (document.hidden || main.querySelector("form:focus-within, button:active")) return;
  try {
    const reply = await fetch("/?part", { cache: "no-store" });
    if (!reply.ok) throw new Error(reply.status);
    const html = await reply.text();
    if (!main.querySelector("form:focus-within, button:active")) main.innerHTML = html;
    document.body.classList.remove("stale");
  } catch {
    document.body.classList.add("stale");
  }
}

setInterval(renew, 2000);
document.addEventListener("visibilitychange", renew);
