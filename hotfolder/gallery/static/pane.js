// One picture, large: at first the preview that fits, beyond that the original in a viewer that zooms and pans.
/* global OpenSeadragon */

const PREVIEW = 1600, SAME = 1e-9;

export class Pane {
  constructor(store, moved) {
    this.store = store;
    this.moved = moved;
    this.id = null;
    this.box = document.createElement("div");
    this.box.className = "pane";
    this.picture = document.createElement("img");
    this.picture.className = "large";
    this.picture.draggable = false;
    this.picture.alt = "";
    this.note = document.createElement("p");
    this.note.className = "note";
    this.stage = document.createElement("div");
    this.stage.className = "stage";
    this.stage.hidden = true;
    this.box.append(this.picture, this.stage, this.note);
    this.viewer = null;
    this.offset = {x: 0, y: 0};
    this.led = null;  // where it was moved in step with another one
    this.picture.addEventListener("error", () => { this.note.textContent = "This picture cannot be shown."; });
    this.picture.addEventListener("load", () => { this.note.textContent = ""; });
  }

  show(id, caption) {
    if (id !== this.id) this.fit();
    this.id = id;
    this.picture.alt = caption;
    this.note.textContent = "";
    const address = this.store.address(id, PREVIEW);
    if (this.picture.getAttribute("src") !== address) this.picture.src = address;
  }

  get isZoomed() { return this.viewer !== null; }

  fit() {
    if (this.viewer) {
      this.viewer.destroy();
      this.viewer = null;
    }
    this.offset = {x: 0, y: 0};
    this.stage.hidden = true;
    this.picture.hidden = false;
  }

  // `at`: where in the picture, 0 to 1 in both directions; one pixel of the screen for one of the picture.
  zoom(at) {
    if (this.viewer || this.id === null) return;
    this.stage.hidden = false;
    this.led = null;
    this.viewer = OpenSeadragon({
      element: this.stage, tileSources: {type: "image", url: this.store.original(this.id)}, drawer: "canvas",
      showNavigationControl: false, animationTime: 0.15, maxZoomPixelRatio: 16, minZoomImageRatio: 0.5, visibilityRatio: 0.4,
      gestureSettingsMouse: {clickToZoom: false, dblClickToZoom: false}, gestureSettingsTouch: {dblTapToZoom: false},
      keyboardNavEnabled: false, imageSmoothingEnabled: true, crossOriginPolicy: false,
    });
    const viewer = this.viewer;
    viewer.addOnceHandler("open", () => {
      if (this.viewer !== viewer) return;
      this.picture.hidden = true;
      const size = viewer.world.getItemAt(0).getContentSize();
      this.aspect = size.y / size.x;
      viewer.viewport.zoomTo(viewer.viewport.imageToViewportZoom(1 / devicePixelRatio), undefined, true);
      viewer.viewport.panTo(new OpenSeadragon.Point(at.x, at.y * this.aspect), true);
      // It is told of in the next frame, when the other one may be somewhere else already: that is no move of its own.
      viewer.addHandler("viewport-change", () => {
        if (this.led && ["x", "y", "zoom"].every((name) => Math.abs(this.led[name] - this.where()[name]) < SAME)) return;
        this.led = null;
        this.moved(this);
      });
    });
    viewer.addOnceHandler("open-failed", () => { this.note.textContent = "The original cannot be shown."; this.fit(); });
  }

  // Where the pointer is in the picture, 0 to 1; the middle where it is elsewhere.
  pointed(x, y) {
    const box = this.picture.getBoundingClientRect();
    const scale = Math.min(box.width / this.picture.naturalWidth, box.height / this.picture.naturalHeight) || 1;
    const width = this.picture.naturalWidth * scale, height = this.picture.naturalHeight * scale;
    const at = {x: (x - box.left - (box.width - width) / 2) / width, y: (y - box.top - (box.height - height) / 2) / height};
    return at.x >= 0 && at.x <= 1 && at.y >= 0 && at.y <= 1 ? at : {x: 0.5, y: 0.5};
  }

  // In step with another one: relative to the picture's width, so that an enlarged one shows the same part.
  follow(other) {
    if (!this.viewer || !other.viewer || !this.viewer.isOpen() || !other.viewer.isOpen()) return;
    const theirs = other.viewer.viewport, mine = this.viewer.viewport, centre = theirs.getCenter(true);
    mine.zoomTo(theirs.getZoom(true), undefined, true);
    mine.panTo(new OpenSeadragon.Point(centre.x + this.offset.x - other.offset.x, centre.y + this.offset.y - other.offset.y), true);
    this.led = this.where();
  }

  where() {
    const {viewport} = this.viewer, {x, y} = viewport.getCenter(true);
    return {x, y, zoom: viewport.getZoom(true)};
  }

  // After it was moved alone: how far it is off the other one from now on.
  keepOffset(other) {
    if (!this.viewer?.isOpen() || !other.viewer?.isOpen()) return;
    const mine = this.viewer.viewport.getCenter(true), theirs = other.viewer.viewport.getCenter(true);
    this.offset = {x: mine.x - theirs.x + other.offset.x, y: mine.y - theirs.y + other.offset.y};
  }
}
