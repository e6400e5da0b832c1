/** Bytes that grow at one end, where they are taken off again. */
export class Stack {
  private bytes: Uint8Array<ArrayBuffer>;
  private size = 0;

  /** `room`: bytes to begin with. */
  constructor(room: number) {
    this.bytes = new Uint8Array(room);
  }

  push(byte: number): void {
    if (this.size === this.bytes.length) {
      const larger = new Uint8Array(2 * this.bytes.length);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.bytes[this.size++] = byte;
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.size);
  }
}
