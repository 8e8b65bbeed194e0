// Focus and scrolling stay as they were when a part of the page is drawn again.

/**
 * Calls `draw`, which draws `element` again. What had the focus has it again, by its attribute `data-
 * focus`; what scrolls sideways stays where it was.
 */
export function keepFocus(element, draw) {
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const name = active?.closest("[data-focus]")?.dataset.focus;
  const left = element.querySelector(".scroll")?.scrollLeft ?? 0;
  draw();
  if (left > 0) element.querySelector(".scroll")?.scrollTo({ left });
  if (name !== undefined)
    element.querySelector(`[data-focus="${CSS.escape(name)}"]`)?.focus({ preventScroll: true });
}
