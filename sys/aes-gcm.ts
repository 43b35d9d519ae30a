/**
 * AES-256-GCM by the OpenSSL inside Node, without an object for each packet: one context for
 * sealing and one for opening, given a new key only when the key changes (EVP_EncryptInit(3)).
 * node:crypto makes a cipher per message, which takes five times as long for a datagram.
 */
import { assert } from "../lib/assert.ts";
import { SmfsError } from "../lib/errors.ts";
import { declareLoaded } from "./libc.ts";

const TAG_BYTES = 16;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
/** EVP_CTRL_AEAD_GET_TAG and _SET_TAG of include/openssl/evp.h. */
const GET_TAG = 0x10;
const SET_TAG = 0x11;

const newContext = declareLoaded("void *EVP_CIPHER_CTX_new()");
const cipherOf = declareLoaded("void *EVP_aes_256_gcm()");
const control = declareLoaded(
  "int EVP_CIPHER_CTX_ctrl(void *context, int type, int argument, void *pointer)",
);

const INIT_ARGUMENTS = "(void *context, void *cipher, void *engine, void *key, void *nonce)";
const UPDATE_ARGUMENTS = "(void *context, void *out, void *outBytes, void *in, int inBytes)";
const FINAL_ARGUMENTS = "(void *context, void *out, void *outBytes)";

/** One direction's context. Keys are told apart by identity: nobody may change a key's bytes. */
class Context {
  readonly context: bigint;
  private readonly cipher: bigint;
  private readonly init: (...args: Parameters<typeof control>) => unknown;
  private readonly updateRaw: (...args: Parameters<typeof control>) => unknown;
  private readonly finalRaw: (...args: Parameters<typeof control>) => unknown;
  private readonly outBytes = new Uint8Array(4);
  private readonly nothing = new Uint8Array(TAG_BYTES);
  private key: Uint8Array | null = null;

  /** `direction` is Encrypt or Decrypt. Throws `SmfsError` UNSUPPORTED. */
  constructor(direction: "Encrypt" | "Decrypt") {
    this.init = declareLoaded(`int EVP_${direction}Init_ex${INIT_ARGUMENTS}`);
    this.updateRaw = declareLoaded(`int EVP_${direction}Update${UPDATE_ARGUMENTS}`);
    this.finalRaw = declareLoaded(`int EVP_${direction}Final_ex${FINAL_ARGUMENTS}`);
    this.context = pointer(newContext());
    this.cipher = pointer(cipherOf());
  }

  start(key: Uint8Array, nonce: Uint8Array, associated: Uint8Array): void {
    assert(key.length === KEY_BYTES && nonce.length === NONCE_BYTES, "AES-256-GCM, 12-byte nonces");
    const isNew = key !== this.key;
    this.key = key;
    must(this.init(this.context, isNew ? this.cipher : null, null, isNew ? key : null, nonce));
    must(this.updateRaw(this.context, null, this.outBytes, associated, associated.length));
  }

  update(out: Uint8Array, input: Uint8Array, inputBytes: number): void {
    assert(out.length >= inputBytes && input.length >= inputBytes, "the buffers are too small");
    must(this.updateRaw(this.context, out, this.outBytes, input, inputBytes));
  }

  /** False when the tag does not verify. */
  final(): boolean {
    return this.finalRaw(this.context, this.nothing, this.outBytes) === 1;
  }
}

function pointer(result: unknown): bigint {
  if (typeof result === "bigint" && result !== 0n) return result;
  throw new SmfsError("UNSUPPORTED", "OpenSSL gives no cipher context");
}

/** OpenSSL's 1; anything else here is a misuse. */
function must(result: unknown): void {
  assert(result === 1, "OpenSSL refused a call that is always legal");
}

/** `seal` and `open` as in `CryptoPort`. */
export class AesGcm {
  private readonly sealing = new Context("Encrypt");
  private readonly opening = new Context("Decrypt");

  /** Ciphertext and tag into `out`; their length. */
  seal(
    key: Uint8Array,
    nonce: Uint8Array,
    associated: Uint8Array,
    plain: Uint8Array,
    out: Uint8Array,
  ): number {
    const { length } = plain;
    assert(out.length >= length + TAG_BYTES, "no room for the tag");
    this.sealing.start(key, nonce, associated);
    if (length > 0) this.sealing.update(out, plain, length);
    assert(this.sealing.final(), "sealing cannot fail");
    must(control(this.sealing.context, GET_TAG, TAG_BYTES, out.subarray(length)));
    return length + TAG_BYTES;
  }

  /** The plain text's length, or −1 when the tag does not verify; then `out` holds nothing of use. */
  open(
    key: Uint8Array,
    nonce: Uint8Array,
    associated: Uint8Array,
    sealed: Uint8Array,
    out: Uint8Array,
  ): number {
    const length = sealed.length - TAG_BYTES;
    if (length < 0) return -1;
    this.opening.start(key, nonce, associated);
    if (length > 0) this.opening.update(out, sealed, length);
    must(control(this.opening.context, SET_TAG, TAG_BYTES, sealed.subarray(length)));
    return this.opening.final() ? length : -1;
  }
}
