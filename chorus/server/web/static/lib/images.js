// Images that a question brings, as data URLs.

const MOST_BYTES = 8 * 1024 * 1024;
export const MOST_IMAGES = 4;

/** Returns a file as {name, url}. Raises an Error whose message is the name of a text. */
export function readImage(file) {
  if (!file.type.startsWith("image/")) return Promise.reject(new Error("ask.image.kind"));
  if (file.size > MOST_BYTES) return Promise.reject(new Error("ask.image.large"));
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve({ name: file.name || "image", url: reader.result }));
    reader.addEventListener("error", () => reject(new Error("ask.image.kind")));
    reader.readAsDataURL(file);
  });
}
