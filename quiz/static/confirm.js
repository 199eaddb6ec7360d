// Asks before something is deleted without leaving the page: shows the page that a link leads to in a dialog. Without this
// module, or when anything fails, the link goes its usual way.

async function ask(url) {
  const reply = await fetch(url, { redirect: "error" });
  if (!reply.ok) {
    throw new Error(`the reply is ${reply.status}`);
  }
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  const question = page.querySelector("main .card");
  const heading = question.querySelector("h1");
  heading.id = "dialog-heading";
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.append(document.adoptNode(question));
  dialog.addEventListener("click", (event) => {
    // The link that cancels, or the backdrop.
    if (event.target === dialog || event.target.closest("a")) {
      event.preventDefault();
      dialog.close();
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-dialog]");
  const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (link && plain) {
    event.preventDefault();
    ask(link.href).catch(() => location.assign(link.href));
  }
});
