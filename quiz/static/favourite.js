// The star without a page load. Without this module, or when anything fails, the same form goes its usual way.

const announcements = document.getElementById("announcements");

function show(form, favourite) {
  const number = form.querySelector(".likes");
  form.elements._method.value = favourite ? "DELETE" : "PUT";
  form.querySelector("button").setAttribute("aria-pressed", String(favourite));
  number.textContent = String(Number(number.textContent) + (favourite ? 1 : -1));
  announcements.textContent = favourite ? form.dataset.added : form.dataset.removed;
}

async function send(form) {
  const favourite = form.elements._method.value === "PUT";
  const reply = await fetch(form.action, {
    method: "POST",
    body: new URLSearchParams(new FormData(form)),
    headers: { "X-Requested-With": "XMLHttpRequest" },
    redirect: "manual",
  });
  if (!reply.ok) {
    throw new Error(`the reply is ${reply.status}`);
  }
  show(form, favourite);
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form.favourite")) {
    return;
  }
  event.preventDefault();
  if (form.hasAttribute("aria-busy")) {
    return;
  }
  form.setAttribute("aria-busy", "true");
  try {
    await send(form);
  } catch {
    form.submit();
  } finally {
    form.removeAttribute("aria-busy");
  }
});
