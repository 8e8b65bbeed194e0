// The focus stays where it was when a part of the page is drawn again.

/** Calls `draw`, which draws `element` again; what had the focus has it again, by its attribute `data-focus`. */
export function keepFocus(element, draw) {
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const name = active?.closest("[data-focus]")?.dataset.focus;
  draw();
  if (name !== undefined) element.querySelector(`[data-focus="${CSS.escape(name)}"]`)?.focus({ preventScroll: true });
}
