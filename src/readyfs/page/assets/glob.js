/** Globs as the filters of a mount: the exact text, or `*`, `?`, `[a-z]` and `[!a-z]`, and case counts. */

/** Return a function that says whether a text passes; an empty pattern lets all pass. */
function globMatcher(pattern) {
  if (pattern === "") return () => true;
  if (!/[*?[]/.test(pattern)) return (text) => text === pattern;
  const expression = new RegExp(`^(?:${globSource(pattern)})$`, "su");
  return (text) => text === pattern || expression.test(text);
}

/**
 * Return the source of an expression. What follows a star is looked for once, from the left, and its place is never
 * given up: an earlier place leaves more room for the rest. Else some patterns would take for ever.
 */
function globSource(pattern) {
  const [first, ...others] = globPieces(pattern);
  const last = others.pop();
  const middle = others.map((piece, place) => `(?=(.*?${piece}))\\${place + 1}`);
  return first + middle.join("") + (last === undefined ? "" : `.*${last}`);
}

/** Return the sources of what stands before, between and after the stars. */
function globPieces(pattern) {
  const characters = Array.from(pattern);
  const pieces = [""];
  for (let place = 0; place < characters.length; place++) {
    const character = characters[place];
    if (character === "*") {
      if (characters[place + 1] !== "*") pieces.push("");
      continue;
    }
    let source = character === "?" ? "." : escaped(character);
    const end = character === "[" ? endOfSet(characters, place) : -1;
    if (end > 0) {
      source = setSource(characters.slice(place + 1, end));
      place = end;
    }
    pieces[pieces.length - 1] += source;
  }
  return pieces;
}

/** Return where a set ends that begins at a place, -1 if it does not. A bracket at its begin belongs to it. */
function endOfSet(characters, start) {
  let place = start + 1;
  if (characters[place] === "!") place++;
  return characters.indexOf("]", place + 1);
}

function setSource(characters) {
  const isNegated = characters[0] === "!";
  const members = isNegated ? characters.slice(1) : characters;
  const parts = [];
  for (let place = 0; place < members.length; place++) {
    if (members[place + 1] === "-" && place + 2 < members.length) {
      const [low, high] = [members[place], members[place + 2]];
      place += 2;
      // A range that runs backwards holds nothing.
      if (low.codePointAt(0) <= high.codePointAt(0)) parts.push(`${escaped(low)}-${escaped(high)}`);
    } else parts.push(escaped(members[place]));
  }
  if (!parts.length) return isNegated ? "." : "(?!)";
  return `[${isNegated ? "^" : ""}${parts.join("")}]`;
}

function escaped(character) {
  return `\\u{${character.codePointAt(0).toString(16)}}`;
}
