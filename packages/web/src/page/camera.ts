import { find } from './dom.ts';

/** The camera's frames, one at a time: the next is taken when the last was answered. */
export class Camera {
  readonly #button = find('camera', HTMLButtonElement);
  readonly #video = find('video', HTMLVideoElement);
  readonly #take: (frame: ImageBitmap) => void;
  readonly #ended: (message?: string) => void;
  #stream: MediaStream | undefined;

  /** @param ended the camera is off; why, if nobody turned it off */
  constructor(take: (frame: ImageBitmap) => void, ended: (message?: string) => void) {
    this.#take = take;
    this.#ended = ended;
    this.#button.addEventListener('click', () => {
      if (this.isOn) {
        this.stop();
        ended();
      } else void this.#start();
    });
  }

  get isOn(): boolean {
    return this.#stream !== undefined;
  }

  /** The next frame, when the screen shows it. */
  next(): void {
    this.#video.requestVideoFrameCallback(() => void this.#frame());
  }

  stop(): void {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = undefined;
    this.#video.srcObject = null;
    this.#video.hidden = true;
    this.#button.ariaPressed = 'false';
  }

  async #start(): Promise<void> {
    try {
      const wanted = { video: { facingMode: 'environment', width: { ideal: 640 } } };
      // absent where the page came neither over https nor from this machine
      if (!('mediaDevices' in navigator)) throw new Error('a browser gives it to pages over https only');
      this.#stream = await navigator.mediaDevices.getUserMedia(wanted);
    } catch (error) {
      this.#ended(`No camera: ${(error as Error).message}`);
      return;
    }
    this.#stream.getVideoTracks()[0]!.addEventListener('ended', () => {
      this.stop();
      this.#ended('The camera is gone');
    });
    this.#button.ariaPressed = 'true';
    this.#video.srcObject = this.#stream;
    this.#video.hidden = false;
    await this.#video.play();
    this.next();
  }

  async #frame(): Promise<void> {
    if (this.isOn) this.#take(await createImageBitmap(this.#video));
  }
}
