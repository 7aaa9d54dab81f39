/** What mouse, pen and fingers do on the picture: drag to move, wheel and pinch to zoom, click to choose a cell. */

/** CSS pixels that a press may move and still be a click. */
const CLICK_PX = 4;

/** What one step of a wheel zooms by. */
const WHEEL_FACTOR = 1.0018;

/**
 * @param {{view: View}} page
 * @param {HTMLElement} heat the element over the cells
 * @param {HTMLElement} scroller what scrolls the rows
 */
function startGestures({ view }, heat, scroller) {
  /** Fingers and buttons that are down, by their ids. @type {Map<number, {x: number, y: number}>} */
  const down = new Map();
  let isDrag = false;
  let began = { x: 0, y: 0 };

  heat.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    down.set(event.pointerId, pointIn(event, heat));
    if (down.size === 1) {
      isDrag = false;
      began = pointIn(event, heat);
    }
  });

  heat.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return;
    const now = pointIn(event, heat);
    if (!isDrag && Math.hypot(now.x - began.x, now.y - began.y) < CLICK_PX) return;
    if (!isDrag) {
      isDrag = true;
      heat.setPointerCapture(event.pointerId);
      heat.classList.add("dragged");
    }
    down.set(event.pointerId, now);
    if (down.size === 2) pinch(view, down, event.pointerId, before, now);
    else {
      const { x, y } = view;
      view.set({ x: { start: x.start - (now.x - before.x) * x.perPixel } });
      // A finger scrolls rows by the scroller itself, with its own momentum.
      if (event.pointerType !== "touch") view.set({ y: { start: y.start - (now.y - before.y) / y.height } });
    }
  });

  const end = (event) => {
    down.delete(event.pointerId);
    if (!down.size) heat.classList.remove("dragged");
  };
  heat.addEventListener("pointercancel", end);
  heat.addEventListener("pointerup", (event) => {
    const isClick = down.has(event.pointerId) && !isDrag;
    end(event);
    if (!isClick) return;
    const { x, y } = pointIn(event, heat);
    const place = view.placeAt(x, y);
    if (place) view.set({ cursor: place, anchor: event.shiftKey ? view.anchor ?? view.cursor : null });
  });

  heat.addEventListener("dblclick", (event) => view.zoomBy(3, pointIn(event, heat).x));
  scroller.addEventListener("wheel", (event) => turn(view, event, pointIn(event, heat)), { passive: false });
}

/** Return where an event is, in CSS pixels of an element. */
function pointIn(event, element) {
  const box = element.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

/** Two fingers hold two days; both stay below them. */
function pinch(view, down, moved, before, now) {
  const [other] = [...down].filter(([id]) => id !== moved).map(([, point]) => point);
  const factor = Math.max(24, Math.abs(now.x - other.x)) / Math.max(24, Math.abs(before.x - other.x));
  view.zoomBy(factor, other.x);
}

/** Turn a wheel: rows by the page's own scrolling, days sideways, and the zoom with Ctrl or a pinch on a touch pad. */
function turn(view, event, { x, y }) {
  const line = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : 16;
  const [across, along] = [event.deltaX * line, event.deltaY * line];
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    // A pinch on a touch pad comes in small steps.
    const factor = WHEEL_FACTOR ** (-along * (Math.abs(along) < 20 ? 5 : 1));
    if (event.shiftKey) view.zoomRowsBy(factor, y);
    else view.zoomBy(factor, x);
    return;
  }
  const sideways = event.shiftKey && !across ? along : across;
  if (Math.abs(sideways) <= Math.abs(along) && !event.shiftKey) return;
  event.preventDefault();
  view.set({ x: { start: view.x.start + sideways * view.x.perPixel } });
}
