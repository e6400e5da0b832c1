/** Where a bundle's files come from: a folder, a cloud service, memory. Reads bytes, checks nothing. */
export interface FileSource {
  /** For messages: a path or an address. */
  readonly origin: string;
  /** @throws BundleError `file-missing` */
  read(file: string): Promise<Uint8Array<ArrayBuffer>>;
}
