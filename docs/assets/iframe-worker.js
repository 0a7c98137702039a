/* Search runs in a worker, which a page opened from disk may not start: there, an invisible frame does its work. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.appendChild(this.frame)
      const inside = this.frame.contentWindow
      window.addEventListener("message", event => {
        if (event.source !== inside) return
        this.dispatchEvent(new MessageEvent("message", { data: event.data }))
        if (this.onmessage) this.onmessage(event)
      })
      inside.postMessage = (data) => window.dispatchEvent(new MessageEvent("message", { data, source: inside }))
      inside.importScripts = (...urls) => Promise.all(urls.map(u => this.load(u)))
      this.ready = this.load(url)
    }
    load(url) {
      return new Promise((resolve, reject) => {
        const page = this.frame.contentDocument, script = page.createElement("script")
        Object.assign(script, { src: url, onload: resolve, onerror: reject })
        page.body.appendChild(script)
      })
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() { this.frame.remove() }
  }
}
