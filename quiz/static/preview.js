// Shows a picture that has been chosen before it is sent. Drawn on a canvas: the policy of the site lets no page show what
// does not come from the site.

const MOST = { width: 480, height: 360 };

async function show(field) {
  field.parentElement.querySelector("canvas.preview")?.remove();
  const file = field.files[0];
  if (!file) {
    return;
  }
  const picture = await createImageBitmap(file);
  // Another one may have been chosen while this one was decoded.
  if (field.files[0] === file) {
    const scale = Math.min(1, MOST.width / picture.width, MOST.height / picture.height);
    const canvas = document.createElement("canvas");
    canvas.className = "preview";
    canvas.width = Math.max(1, picture.width * scale);
    canvas.height = Math.max(1, picture.height * scale);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", file.name);
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    field.after(canvas);
  }
  picture.close();
}

document.addEventListener("change", (event) => {
  if (event.target.matches("input[type=file]")) {
    // What the browser cannot decode has no preview; the server says whether it takes it.
    show(event.target).catch(() => {});
  }
});
