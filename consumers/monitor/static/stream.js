// The state, each second. When the monitor itself falls silent the page says so and tries again, ever more slowly.

const SILENCE_MS = 10_000;
const WAITS_MS = [1000, 2000, 4000, 8000];

export class Stream {
  constructor(url, onState, onLink) {
    this.url = url;
    this.onState = onState;
    this.onLink = onLink;
    this.failures = 0;
    this.open();
  }

  open() {
    clearTimeout(this.again);
    this.source?.close();
    const source = (this.source = new EventSource(this.url));
    this.listen();
    source.addEventListener("state", (event) => {
      this.listen();
      this.failures = 0;
      this.onLink({ lost: false });
      this.onState(JSON.parse(event.data));
    });
    source.addEventListener("error", () => source === this.source && this.lost());
  }

  listen() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.lost(), SILENCE_MS);
  }

  lost() {
    clearTimeout(this.silence);
    this.source?.close();
    this.source = null;
    const wait_ms = WAITS_MS[Math.min(this.failures, WAITS_MS.length - 1)];
    this.failures += 1;
    this.onLink({ lost: true, failures: this.failures, next_ms: Date.now() + wait_ms });
    clearTimeout(this.again);
    this.again = setTimeout(() => this.open(), wait_ms);
  }
}
