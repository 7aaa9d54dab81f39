/**
 * Names of the state table as text, as bytes, and as parts of an address.
 *
 * A name is a string. A byte of it that is no UTF-8 stands as a lone surrogate, from U+DC80 to U+DCFF.
 */

const LONE_BYTE = /[\uDC80-\uDCFF]/u;
const KEPT_IN_ADDRESS = /[A-Za-z0-9_.~*-]/;

/**
 * Return the bytes that a name has in the table.
 * @param {string} name
 * @returns {number[]}
 */
function bytesOfName(name) {
  const bytes = [];
  const encoder = new TextEncoder();
  for (const character of name) {
    if (LONE_BYTE.test(character)) bytes.push(character.charCodeAt(0) - 0xdc00);
    else bytes.push(...encoder.encode(character));
  }
  return bytes;
}

/**
 * Return the name that has these bytes in the table.
 * @param {number[]} bytes
 * @returns {string}
 */
function nameOfBytes(bytes) {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let name = "";
  for (let at = 0; at < bytes.length;) {
    const length = lengthOfCharacter(bytes[at]);
    let character = "";
    try {
      character = decoder.decode(Uint8Array.from(bytes.slice(at, at + length)));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    // What is no whole character is told byte by byte.
    name += character || String.fromCharCode(0xdc00 + bytes[at]);
    at += character ? length : 1;
  }
  return name;
}

/**
 * Return how many bytes a character of UTF-8 has that begins with this one.
 * @param {number} byte
 * @returns {number}
 */
function lengthOfCharacter(byte) {
  return byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/**
 * Return a name with all but plain characters as percent escapes of its bytes.
 * @param {string} name
 * @returns {string}
 */
function escapeName(name) {
  return bytesOfName(name)
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return KEPT_IN_ADDRESS.test(character) ? character : escapeByte(byte);
    })
    .join("");
}

/** Return a byte as a percent escape. */
function escapeByte(byte) {
  return `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
}

/**
 * Return the name that was escaped so; null if it is none.
 * @param {string} escaped
 * @returns {?string}
 */
function unescapeName(escaped) {
  if (!/^(?:[A-Za-z0-9_.~*-]|%[0-9A-Fa-f]{2})*$/.test(escaped)) return null;
  const bytes = [];
  for (const [part] of escaped.matchAll(/%..|./g)) {
    bytes.push(part.length === 3 ? parseInt(part.slice(1), 16) : part.charCodeAt(0));
  }
  return nameOfBytes(bytes);
}
